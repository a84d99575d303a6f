//! Externs of an object: what it wants from the kernel by name.

use alloc::string::String;

/// A variable or function that the object leaves to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternSpec {
    /// Name.
    pub name: String,
    /// `__weak`: may be missing.
    pub weak: bool,
    /// BTF_KIND_VAR or BTF_KIND_FUNC in `Spec::btf`.
    pub btf_id: u32,
    /// What it is.
    pub kind: ExternKind,
}

/// What an extern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternKind {
    /// `__kconfig`: a value in the `.kconfig` map.
    Kconfig(KconfigVar),
    /// `extern T var __ksym`: a kernel variable that has BTF; `type_id` is `T` without modifiers and typedefs.
    KsymVar {
        /// Local type, 0 never.
        type_id: u32,
    },
    /// `extern const void sym __ksym`: an address from kallsyms.
    KsymTypeless,
    /// `extern T func(...) __ksym`: a kfunc; `proto_id` is its local BTF_KIND_FUNC_PROTO.
    KsymFunc {
        /// Local prototype.
        proto_id: u32,
    },
}

/// A `__kconfig` extern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KconfigVar {
    /// How its value is written.
    pub ty: KconfigType,
    /// Byte offset in the `.kconfig` map.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Alignment in bytes.
    pub align: u32,
    /// Whether an integer is signed.
    pub signed: bool,
}

/// Type of a `__kconfig` extern (`enum kcfg_type` of libbpf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KconfigType {
    /// One-byte integer: a number, or `y`, `n`, `m`.
    Char,
    /// `bool`.
    Bool,
    /// Integer of 2, 4 or 8 bytes.
    Int,
    /// `enum libbpf_tristate`.
    Tristate,
    /// Array of characters: a string.
    CharArray,
}
