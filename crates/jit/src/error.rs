use crate::Sym;

/// Why a program could not be compiled or its code not be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A valid instruction that this compiler does not carry out.
    #[error("instruction {insn_idx}: {what} is not supported yet")]
    Unsupported {
        /// Slot.
        insn_idx: u32,
        /// What the instruction is about.
        what: &'static str,
    },
    /// Not an instruction of a verified program.
    #[error("instruction {insn_idx}: opcode {code:#04x} with these operands is not an instruction")]
    InvalidInsn {
        /// Slot.
        insn_idx: u32,
        /// Opcode byte.
        code: u8,
    },
    /// A jump or call whose target is outside of the function, or no function's start.
    #[error(
        "instruction {insn_idx}: target {target} is not in this function or no function's start"
    )]
    BadTarget {
        /// Slot.
        insn_idx: u32,
        /// Slot it goes to.
        target: i64,
    },
    /// Control runs over the end of a function.
    #[error("instruction {insn_idx}: control runs past the end of the function")]
    FallsOffEnd {
        /// Last slot that is reached.
        insn_idx: u32,
    },
    /// The code does not fit 32-bit displacements.
    #[error("code of {bytes} bytes is too large")]
    TooLarge {
        /// Bytes of code.
        bytes: u64,
    },
    /// The code refers to something that has no address.
    #[error("no address for {sym:?}")]
    NoAddress {
        /// What it refers to.
        sym: Sym,
    },
    /// The code cannot reach what it refers to with a 32-bit displacement.
    #[error("{sym:?} is too far from the code")]
    OutOfReach {
        /// What it refers to.
        sym: Sym,
    },
    /// The operating system did not give executable memory.
    #[error("executable memory: errno {errno}")]
    Memory {
        /// Error number.
        errno: i32,
    },
}
