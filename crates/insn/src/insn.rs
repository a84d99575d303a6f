//! One instruction slot.

use crate::opcode;

/// One 8-byte slot: opcode, two registers, offset, immediate (`struct bpf_insn`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Insn {
    /// Opcode byte.
    pub code: u8,
    /// Destination register, 0 to 15.
    pub dst: u8,
    /// Source register or pseudo kind, 0 to 15.
    pub src: u8,
    /// Signed offset.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

impl Insn {
    /// Size of a slot in bytes.
    pub const SIZE: usize = 8;

    /// Builds a slot from its fields.
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
        Insn { code, dst, src, off, imm }
    }

    /// Decodes a little-endian slot.
    pub fn from_bytes(bytes: [u8; 8]) -> Insn {
        Insn {
            code: bytes[0],
            dst: bytes[1] & 0xf,
            src: bytes[1] >> 4,
            off: i16::from_le_bytes([bytes[2], bytes[3]]),
            imm: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// Encodes as a little-endian slot.
    pub fn to_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        let regs = (self.dst & 0xf) | (self.src << 4);
        [self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// Instruction class: the low three bits (`BPF_CLASS`).
    pub const fn class(self) -> u8 {
        self.code & opcode::CLASS_MASK
    }

    /// Operation of an arithmetic or jump instruction (`BPF_OP`).
    pub const fn op(self) -> u8 {
        self.code & opcode::OP_MASK
    }

    /// Mode of a load or store (`BPF_MODE`).
    pub const fn mode(self) -> u8 {
        self.code & opcode::MODE_MASK
    }

    /// Whether the source operand is a register (`BPF_SRC == BPF_X`).
    pub const fn is_src_reg(self) -> bool {
        self.code & opcode::X != 0
    }

    /// Access size in bytes of a load or store.
    pub const fn access_size(self) -> u32 {
        match self.code & opcode::SIZE_MASK {
            opcode::W => 4,
            opcode::H => 2,
            opcode::B => 1,
            _ => 8,
        }
    }

    /// Whether this is the first slot of a 64-bit immediate load.
    pub const fn is_lddw(self) -> bool {
        self.code == opcode::LDDW
    }

    /// Whether this is a call of a helper, by number.
    pub const fn is_helper_call(self) -> bool {
        self.code == (opcode::JMP | opcode::CALL) && self.src == 0
    }

    /// Whether this is a call of another function of the program (`bpf_pseudo_call`).
    pub const fn is_pseudo_call(self) -> bool {
        self.code == (opcode::JMP | opcode::CALL) && self.src == opcode::PSEUDO_CALL
    }

    /// Whether this is a call of a kernel function by BTF id (`bpf_pseudo_kfunc_call`).
    pub const fn is_kfunc_call(self) -> bool {
        self.code == (opcode::JMP | opcode::CALL) && self.src == opcode::PSEUDO_KFUNC_CALL
    }
}
