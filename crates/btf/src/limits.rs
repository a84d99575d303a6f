//! Limits and layout constants, under the kernel's names.

/// First two bytes of BTF and of `.BTF.ext` (`BTF_MAGIC`).
pub const BTF_MAGIC: u16 = 0xeb9f;
/// The only version.
pub const BTF_VERSION: u8 = 1;
/// Longest chain of types that refer to each other by value (kernel/bpf/btf.c).
pub const MAX_RESOLVE_DEPTH: u32 = 32;
/// Longest such chain in whatever order its types come; the kernel has no such bound, real BTF stays far below it.
pub const MAX_NESTING: u32 = 256;
/// Largest `vlen` of a type (`BTF_MAX_VLEN`; 0xffff before Linux 7.2).
pub const BTF_MAX_VLEN: u32 = 0x00ff_ffff;
/// Longest name with its NUL (`KSYM_NAME_LEN`, which btf.c applies).
pub const KSYM_NAME_LEN: usize = 512;
/// Longest access string of a CO-RE relocation (`BPF_CORE_SPEC_MAX_LEN`).
pub const BPF_CORE_SPEC_MAX_LEN: usize = 64;
/// Pointers of BPF objects and of 64-bit kernels.
pub const DEFAULT_POINTER_SIZE: u32 = 8;
/// Size of `struct btf_header` before the kind layout section was added.
pub const BTF_HEADER_LEN: u32 = 24;
