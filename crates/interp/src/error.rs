/// Why a run ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An access outside of all regions.
    #[error("no memory of {size} bytes at {addr:#x}")]
    NoMemory {
        /// Address in the program's terms.
        addr: u64,
        /// Bytes accessed.
        size: u64,
    },
    /// A write to memory that may only be read.
    #[error("memory at {addr:#x} is read-only")]
    ReadOnly {
        /// Address in the program's terms.
        addr: u64,
    },
    /// Not an instruction of a verified program.
    #[error("instruction {insn_idx}: opcode {code:#04x} with these operands is not an instruction")]
    InvalidInsn {
        /// Slot.
        insn_idx: u32,
        /// Opcode byte.
        code: u8,
    },
    /// A valid instruction that the interpreter does not carry out.
    #[error("instruction {insn_idx}: {what} is not supported yet")]
    Unsupported {
        /// Slot.
        insn_idx: u32,
        /// What the instruction is about.
        what: &'static str,
    },
    /// Control left the program.
    #[error("no instruction {insn_idx}")]
    NoInsn {
        /// Slot.
        insn_idx: i64,
    },
    /// An address called back that is no function of the program.
    #[error("no function at {addr:#x}")]
    NoFunc {
        /// Address in the program's terms.
        addr: u64,
    },
    /// [`crate::Limits::insns`] is used up.
    #[error("more than {limit} instructions")]
    TooManyInsns {
        /// The limit.
        limit: u64,
    },
    /// [`crate::Limits::frames`] is used up.
    #[error("more than {limit} nested calls")]
    TooManyFrames {
        /// The limit.
        limit: u32,
    },
    /// The host has no such helper.
    #[error("no helper {id}")]
    NoHelper {
        /// Number of the helper.
        id: u32,
    },
    /// The host has no such kfunc.
    #[error("no kfunc with BTF id {btf_id}")]
    NoKfunc {
        /// BTF id in the target's BTF.
        btf_id: u32,
    },
    /// The host has no such map.
    #[error("no map {index}")]
    NoMap {
        /// Index in the program's object.
        index: u32,
    },
}
