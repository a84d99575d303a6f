//! x86-64 registers and the fixed mapping of BPF registers onto them (that of the kernel's JIT).

/// A general register by its hardware number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reg(pub u8);

impl Reg {
    pub const RAX: Reg = Reg(0);
    pub const RCX: Reg = Reg(1);
    pub const RDX: Reg = Reg(2);
    pub const RBX: Reg = Reg(3);
    pub const RSP: Reg = Reg(4);
    pub const RBP: Reg = Reg(5);
    pub const RSI: Reg = Reg(6);
    pub const RDI: Reg = Reg(7);
    pub const R8: Reg = Reg(8);
    pub const R9: Reg = Reg(9);
    /// Scratch, never holds a BPF register.
    pub const R10: Reg = Reg(10);
    /// Scratch, never holds a BPF register.
    pub const R11: Reg = Reg(11);
    pub const R12: Reg = Reg(12);
    pub const R13: Reg = Reg(13);
    pub const R14: Reg = Reg(14);
    pub const R15: Reg = Reg(15);

    /// The three bits that go into ModRM or SIB.
    pub const fn low(self) -> u8 {
        self.0 & 7
    }

    /// Whether the fourth bit, in REX, is set.
    pub const fn high(self) -> bool {
        self.0 >= 8
    }
}

/// Number of BPF registers, R0 to R10.
pub(crate) const COUNT: usize = 11;
/// The frame pointer.
pub(crate) const FP: u8 = 10;

const MAP: [Reg; COUNT] = [
    Reg::RAX,
    Reg::RDI,
    Reg::RSI,
    Reg::RDX,
    Reg::RCX,
    Reg::R8,
    Reg::RBX,
    Reg::R13,
    Reg::R14,
    Reg::R15,
    Reg::RBP,
];

/// The machine register of BPF register `r`, below [`COUNT`] (checked for the whole program by `scan`).
pub(crate) fn x86(r: u8) -> Reg {
    MAP[r as usize % COUNT]
}
