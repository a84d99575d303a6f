//! What can be wrong with BTF, its extensions, a lookup or a relocation.

use alloc::string::String;

use crate::{Kind, TypeId};

/// Error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The header of `.BTF` or `.BTF.ext` is malformed.
    #[error("{section} header: {fault}")]
    Header {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// The string section is empty, or does not begin and end with NUL.
    #[error("BTF string section of {len} bytes does not begin and end with NUL")]
    Strings {
        /// Its size in bytes.
        len: usize,
    },
    /// A type description is malformed.
    #[error("BTF type [{id}] {kind}: {fault}")]
    Type {
        /// The type.
        id: TypeId,
        /// Its kind, as far as it is known.
        kind: Kind,
        /// What is wrong.
        fault: Fault,
    },
    /// No type has this id.
    #[error("BTF has no type [{id}]")]
    NoSuchType {
        /// The id asked for.
        id: TypeId,
    },
    /// A section of `.BTF.ext` is malformed.
    #[error(".BTF.ext {part} at byte {offset}: {fault}")]
    Ext {
        /// `func_info`, `line_info` or `core_relo`.
        part: &'static str,
        /// Where, from the start of that part.
        offset: usize,
        /// What is wrong.
        fault: ExtFault,
    },
    /// The writer was asked for something BTF cannot express.
    #[error("BTF writer: {what} {value} exceeds {max}")]
    Limit {
        /// Which quantity.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest that fits.
        max: u64,
    },
    /// A CO-RE relocation failed.
    #[error("relo #{index}: {relo}: {fault}")]
    Relo {
        /// Position in the list of relocations.
        index: usize,
        /// The relocation as libbpf prints it, `<byte_off> [12] struct s.f (0:1 @ offset 4)`.
        relo: String,
        /// What is wrong.
        fault: ReloFault,
    },
}

/// Faults of a section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum HeaderFault {
    #[error("{len} bytes are too few")]
    Truncated { len: usize },
    #[error("Invalid magic {magic:#06x}")]
    Magic { magic: u16 },
    #[error("Unsupported version {version}")]
    Version { version: u8 },
    #[error("Unsupported flags {flags:#x}")]
    Flags { flags: u8 },
    #[error("Invalid hdr_len {hdr_len}")]
    HdrLen { hdr_len: u32 },
    #[error("{part} at {offset}, {len} bytes, lies outside of the {total} bytes of data")]
    Section { part: &'static str, offset: u32, len: u32, total: usize },
    #[error("{part} is not aligned to 4 bytes")]
    Unaligned { part: &'static str },
    #[error("more types or string bytes than 32-bit ids can name")]
    TooLarge,
    #[error("byte order differs from the base BTF's")]
    Endianness,
}

/// Faults of one type; the texts are close to those of kernel/bpf/btf.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Fault {
    #[error("meta_left:{left} meta_needed:{needed}")]
    Truncated { left: usize, needed: usize },
    #[error("Invalid btf_info:{info:#x}")]
    Info { info: u32 },
    #[error("Invalid kind:{kind}")]
    Kind { kind: u8 },
    #[error("Invalid name_offset:{offset}")]
    NameOffset { offset: u32 },
    #[error("Invalid name")]
    Name,
    #[error("Invalid type_id {type_id}")]
    TypeId { type_id: TypeId },
    #[error("Loop detected")]
    Loop,
    #[error("Exceeded max resolving depth:{depth}")]
    Depth { depth: u32 },
    #[error("vlen != 0")]
    Vlen,
    #[error("Invalid btf_info kind_flag")]
    KindFlag,
    #[error("size != 0")]
    Size,
    #[error("Invalid type_size {size}")]
    TypeSize { size: u32 },
    #[error("Array size overflows u32")]
    Overflow,
    #[error("has no size")]
    NoSize,
    #[error("Invalid int_data:{data:#x}")]
    IntData { data: u32 },
    #[error("nr_bits exceeds {max}")]
    NrBits { max: u32 },
    #[error("Unsupported encoding {encoding}")]
    Encoding { encoding: u8 },
    #[error("Invalid elem type [{type_id}]")]
    Elem { type_id: TypeId },
    #[error("Invalid index type [{type_id}]")]
    Index { type_id: TypeId },
    #[error("member {member}: Invalid name")]
    MemberName { member: u32 },
    #[error("member {member}: Invalid type_id {type_id}")]
    MemberType { member: u32, type_id: TypeId },
    #[error("member {member}: Invalid member bits_offset {bits}")]
    MemberOffset { member: u32, bits: u32 },
    #[error("member {member}: Member bits_offset exceeds its struct size")]
    MemberEnd { member: u32 },
    #[error("member {member}: Invalid member bitfield_size {bits}")]
    MemberBits { member: u32, bits: u32 },
    #[error("enumerator {index}: Invalid name")]
    EnumName { index: u32 },
    #[error("Invalid arg#{}", arg + 1)]
    Arg { arg: u32 },
    #[error("Linkage {linkage} not supported")]
    Linkage { linkage: u32 },
    #[error("variable {var}: Invalid type")]
    SecVar { var: u32 },
    #[error("variable {var}: Invalid offset")]
    SecOffset { var: u32 },
    #[error("variable {var}: Invalid size")]
    SecSize { var: u32 },
    #[error("Invalid component_idx {index}")]
    Component { index: i32 },
    #[error("Type tags don't precede modifiers")]
    TagOrder,
}

/// Faults of `.BTF.ext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ExtFault {
    #[error("truncated: {left} bytes left, {needed} needed")]
    Truncated { left: usize, needed: usize },
    #[error("Invalid record size {size}")]
    RecordSize { size: u32 },
    #[error("No records for a section")]
    NoRecords,
    #[error("Invalid string offset {offset}")]
    Name { offset: u32 },
}

/// Why a CO-RE relocation cannot be applied (tools/lib/bpf/relo_core.c).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ReloFault {
    #[error("unknown relocation kind")]
    UnknownKind,
    #[error("instruction offset {insn_off} is not that of a slot")]
    Unaligned { insn_off: u32 },
    #[error("no type [{type_id}]")]
    BadType { type_id: TypeId },
    #[error("anonymous type [{type_id}] cannot be relocated")]
    Anonymous { type_id: TypeId },
    #[error("failed to parse access string '{spec}'")]
    BadSpec { spec: String },
    #[error("type [{type_id}] has no member or element {idx}")]
    BadIndex { type_id: TypeId, idx: u32 },
    #[error("access into [{type_id}], of unexpected kind {kind}")]
    NotComposite { type_id: TypeId, kind: Kind },
    #[error("size or offset of a field of [{type_id}] cannot be computed")]
    BadField { type_id: TypeId },
    #[error("cannot be applied to an array element")]
    ArrayAccess,
    #[error("{bits} bits at bit {offset} cannot be read with one 64-bit load")]
    Bitfield { bits: u32, offset: u32 },
    #[error("field offset ambiguity: {first} != {second}")]
    OffsetAmbiguity { first: u32, second: u32 },
    #[error("relocation decision ambiguity: {first} != {second}")]
    ValueAmbiguity { first: String, second: String },
    #[error("unexpected insn #{slot} ({class}) value: got {}, exp {expected} -> {new}", got.cast_signed())]
    Unexpected { slot: usize, class: &'static str, got: u64, expected: u64, new: u64 },
    #[error("insn #{slot} ({class}) value too big: {new}")]
    TooBig { slot: usize, class: &'static str, new: u64 },
    #[error("insn #{slot} (LDX/ST/STX) unexpected mem size: got {got}, exp {expected}")]
    UnexpectedMemSize { slot: usize, got: u32, expected: u32 },
    #[error("insn #{slot} (LDX/ST/STX) invalid new mem size: {size}")]
    BadMemSize { slot: usize, size: u32 },
    #[error("insn #{slot} (LDIMM64) has unexpected form")]
    BadLddw { slot: usize },
    #[error(
        "trying to relocate unrecognized insn #{slot}, code:{code:#x}, src:{src:#x}, dst:{dst:#x}, off:{off:#x}, imm:{imm:#x}"
    )]
    Unrecognized { slot: usize, code: u8, src: u8, dst: u8, off: i16, imm: i32 },
    #[error("types are nested too deeply to compare")]
    Depth,
}
