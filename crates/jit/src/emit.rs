//! The encoder: one x86-64 instruction a method.

use crate::Sym;
use crate::layout::{Asm, Label};
use crate::regs::Reg;

/// Condition codes as in the low bits of `jcc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Cond {
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Cond {
    /// The condition that holds when this does not.
    pub fn not(self) -> Cond {
        match self {
            Cond::B => Cond::Ae,
            Cond::Ae => Cond::B,
            Cond::E => Cond::Ne,
            Cond::Ne => Cond::E,
            Cond::Be => Cond::A,
            Cond::A => Cond::Be,
            Cond::L => Cond::Ge,
            Cond::Ge => Cond::L,
            Cond::Le => Cond::G,
            Cond::G => Cond::Le,
        }
    }
}

/// Two-operand arithmetic, by the digit in its opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotations, by the digit in their opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Shift {
    Rol = 0,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// One-operand instructions of opcode f7, by digit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Unary {
    Neg = 3,
    Mul = 4,
    Div = 6,
    Idiv = 7,
}

/// Size of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    B,
    H,
    W,
    Dw,
}

/// What an address starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// Nothing: index and displacement only.
    None,
    Reg(Reg),
    /// RIP-relative; an index is not possible.
    Sym(Sym),
}

/// A memory operand. The index is never `rsp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    pub base: Base,
    /// Register and the shift (0 to 3) applied to it.
    pub index: Option<(Reg, u8)>,
    pub disp: i32,
}

impl Mem {
    pub fn base(base: Reg, disp: i32) -> Mem {
        Mem { base: Base::Reg(base), index: None, disp }
    }
}

/// A ModRM operand.
#[derive(Clone, Copy)]
pub(crate) enum Rm {
    Reg(Reg),
    Mem(Mem),
}

impl From<Reg> for Rm {
    fn from(reg: Reg) -> Rm {
        Rm::Reg(reg)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Rm {
        Rm::Mem(mem)
    }
}

/// Flag of [`Asm::ins`]: 64-bit operands.
const W: u8 = 1;
/// Flag: 16-bit operands.
const P66: u8 = 2;
/// Flag: `lock`.
const LOCK: u8 = 4;
/// Flag: register operands are bytes (`sil`, not `dh`).
const BYTE: u8 = 8;

fn width(w: bool) -> u8 {
    if w { W } else { 0 }
}

impl Asm {
    /// Prefixes, opcode, ModRM (with `reg` or a digit), SIB, displacement, immediate.
    fn ins(&mut self, flags: u8, op: &[u8], reg: u8, rm: Rm, imm: &[u8]) {
        if flags & LOCK != 0 {
            self.buf.push(0xf0);
        }
        if flags & P66 != 0 {
            self.buf.push(0x66);
        }
        let (b, x) = match rm {
            Rm::Reg(r) => (r.high(), false),
            Rm::Mem(m) => {
                (matches!(m.base, Base::Reg(r) if r.high()), m.index.is_some_and(|(r, _)| r.high()))
            }
        };
        let byte_rex = |r: u8| flags & BYTE != 0 && (4..8).contains(&r);
        let force = byte_rex(reg) || matches!(rm, Rm::Reg(r) if byte_rex(r.0));
        let rex =
            0x40 | (flags & W) << 3 | u8::from(reg >= 8) << 2 | u8::from(x) << 1 | u8::from(b);
        if rex != 0x40 || force {
            self.buf.push(rex);
        }
        self.buf.extend_from_slice(op);
        self.modrm(reg & 7, rm, imm.len() as i32);
        self.buf.extend_from_slice(imm);
    }

    /// `after`: bytes of the instruction behind the displacement, which RIP-relative addresses count from.
    fn modrm(&mut self, reg: u8, rm: Rm, after: i32) {
        let reg = reg << 3;
        let mem = match rm {
            Rm::Reg(r) => return self.buf.push(0xc0 | reg | r.low()),
            Rm::Mem(mem) => mem,
        };
        let base = match mem.base {
            Base::Sym(sym) => {
                self.buf.push(0x05 | reg);
                return self.rel32_sym(sym, mem.disp.wrapping_sub(after));
            }
            Base::None => {
                let (index, shift) = mem.index.unwrap_or((Reg::RSP, 0));
                self.buf.extend([0x04 | reg, shift << 6 | index.low() << 3 | 5]);
                return self.buf.extend(mem.disp.to_le_bytes());
            }
            Base::Reg(base) => base,
        };
        let mode = match mem.disp {
            0 if base.low() != 5 => 0x00,
            -128..=127 => 0x40,
            _ => 0x80,
        };
        match mem.index {
            Some((index, shift)) => {
                self.buf.extend([mode | reg | 4, shift << 6 | index.low() << 3 | base.low()]);
            }
            None if base.low() == 4 => self.buf.extend([mode | reg | 4, 0x24]),
            None => self.buf.push(mode | reg | base.low()),
        }
        match mode {
            0x00 => {}
            0x40 => self.buf.push(mem.disp as u8),
            _ => self.buf.extend(mem.disp.to_le_bytes()),
        }
    }

    pub fn mov_rr(&mut self, w: bool, dst: Reg, src: Reg) {
        self.ins(width(w), &[0x89], src.0, dst.into(), &[]);
    }

    /// Loads a constant in the fewest bytes. Changes the flags for 0.
    pub fn mov_ri(&mut self, dst: Reg, value: i64) {
        if value == 0 {
            self.alu_rr(false, Alu::Xor, dst, dst);
        } else if let Ok(v) = u32::try_from(value) {
            if dst.high() {
                self.buf.push(0x41);
            }
            self.buf.push(0xb8 | dst.low());
            self.buf.extend(v.to_le_bytes());
        } else if let Ok(v) = i32::try_from(value) {
            self.ins(W, &[0xc7], 0, dst.into(), &v.to_le_bytes());
        } else {
            self.buf.extend([0x48 | u8::from(dst.high()), 0xb8 | dst.low()]);
            self.buf.extend(value.to_le_bytes());
        }
    }

    pub fn alu_rr(&mut self, w: bool, op: Alu, dst: Reg, src: Reg) {
        self.ins(width(w), &[(op as u8) << 3 | 1], src.0, dst.into(), &[]);
    }

    /// `op dst, imm` with a register or (for `cmp` and read-modify-write) memory.
    pub fn alu_ri(&mut self, w: bool, op: Alu, dst: impl Into<Rm>, imm: i32) {
        match i8::try_from(imm) {
            Ok(imm8) => self.ins(width(w), &[0x83], op as u8, dst.into(), &[imm8 as u8]),
            Err(_) => self.ins(width(w), &[0x81], op as u8, dst.into(), &imm.to_le_bytes()),
        }
    }

    /// `op dst, [mem]`.
    pub fn alu_rm(&mut self, w: bool, op: Alu, dst: Reg, mem: Mem) {
        self.ins(width(w), &[(op as u8) << 3 | 3], dst.0, mem.into(), &[]);
    }

    /// `lock op [mem], src`.
    pub fn lock_alu(&mut self, w: bool, op: Alu, mem: Mem, src: Reg) {
        self.ins(LOCK | width(w), &[(op as u8) << 3 | 1], src.0, mem.into(), &[]);
    }

    /// `lock xadd [mem], src`.
    pub fn lock_xadd(&mut self, w: bool, mem: Mem, src: Reg) {
        self.ins(LOCK | width(w), &[0x0f, 0xc1], src.0, mem.into(), &[]);
    }

    /// `lock cmpxchg [mem], src`: compares with and loads into `rax`.
    pub fn lock_cmpxchg(&mut self, w: bool, mem: Mem, src: Reg) {
        self.ins(LOCK | width(w), &[0x0f, 0xb1], src.0, mem.into(), &[]);
    }

    /// `xchg [mem], src`, locked by nature.
    pub fn xchg(&mut self, w: bool, mem: Mem, src: Reg) {
        self.ins(width(w), &[0x87], src.0, mem.into(), &[]);
    }

    pub fn test_rr(&mut self, w: bool, a: Reg, b: Reg) {
        self.ins(width(w), &[0x85], b.0, a.into(), &[]);
    }

    /// Sets ZF by `a & imm`; other flags are those of the narrowest form.
    pub fn test_ri(&mut self, w: bool, a: Reg, imm: i32) {
        if let Ok(imm8) = u8::try_from(imm) {
            self.ins(BYTE, &[0xf6], 0, a.into(), &[imm8]);
        } else {
            self.ins(width(w && imm < 0), &[0xf7], 0, a.into(), &imm.to_le_bytes());
        }
    }

    /// `bt a, bit`: CF is the bit.
    pub fn bt(&mut self, a: Reg, bit: u8) {
        self.ins(width(bit >= 32), &[0x0f, 0xba], 4, a.into(), &[bit]);
    }

    pub fn shift_ri(&mut self, w: bool, op: Shift, dst: Reg, by: u8) {
        match by {
            1 => self.ins(width(w), &[0xd1], op as u8, dst.into(), &[]),
            _ => self.ins(width(w), &[0xc1], op as u8, dst.into(), &[by]),
        }
    }

    pub fn shift_cl(&mut self, w: bool, op: Shift, dst: Reg) {
        self.ins(width(w), &[0xd3], op as u8, dst.into(), &[]);
    }

    /// `ror`/`rol` of the low 16 bits by 8.
    pub fn rol16_8(&mut self, dst: Reg) {
        self.ins(P66, &[0xc1], Shift::Rol as u8, dst.into(), &[8]);
    }

    /// BMI2 `shlx`, `shrx`, `sarx`.
    pub fn shift_x(&mut self, w: bool, op: Shift, dst: Reg, src: Reg, count: Reg) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        let rxb = u8::from(!dst.high()) << 7 | 0x40 | u8::from(!src.high()) << 5 | 2;
        let wvl = u8::from(w) << 7 | (!count.0 & 15) << 3 | pp;
        self.buf.extend([0xc4, rxb, wvl, 0xf7, 0xc0 | dst.low() << 3 | src.low()]);
    }

    pub fn unary(&mut self, w: bool, op: Unary, dst: Reg) {
        self.ins(width(w), &[0xf7], op as u8, dst.into(), &[]);
    }

    /// 64-bit conditional move.
    pub fn cmov(&mut self, cond: Cond, dst: Reg, src: Reg) {
        self.ins(W, &[0x0f, 0x40 | cond as u8], dst.0, src.into(), &[]);
    }

    pub fn imul_rr(&mut self, w: bool, dst: Reg, src: Reg) {
        self.ins(width(w), &[0x0f, 0xaf], dst.0, src.into(), &[]);
    }

    pub fn imul_rri(&mut self, w: bool, dst: Reg, src: Reg, imm: i32) {
        match i8::try_from(imm) {
            Ok(imm8) => self.ins(width(w), &[0x6b], dst.0, src.into(), &[imm8 as u8]),
            Err(_) => self.ins(width(w), &[0x69], dst.0, src.into(), &imm.to_le_bytes()),
        }
    }

    pub fn bswap(&mut self, w: bool, dst: Reg) {
        let rex = 0x40 | width(w) << 3 | u8::from(dst.high());
        if rex != 0x40 {
            self.buf.push(rex);
        }
        self.buf.extend([0x0f, 0xc8 | dst.low()]);
    }

    /// `cqo` or `cdq`: the sign of `rax` into `rdx`.
    pub fn cqo(&mut self, w: bool) {
        if w {
            self.buf.push(0x48);
        }
        self.buf.push(0x99);
    }

    pub fn lea(&mut self, w: bool, dst: Reg, mem: Mem) {
        self.ins(width(w), &[0x8d], dst.0, mem.into(), &[]);
    }

    /// `lea dst, [rip + label]`.
    pub fn lea_label(&mut self, dst: Reg, label: Label) {
        self.buf.extend([0x48 | u8::from(dst.high()) << 2, 0x8d, 0x05 | dst.low() << 3]);
        self.rel32_label(label);
    }

    /// Zero-extending load or register move.
    pub fn movzx(&mut self, size: Size, dst: Reg, src: impl Into<Rm>) {
        match size {
            Size::B => self.ins(BYTE, &[0x0f, 0xb6], dst.0, src.into(), &[]),
            Size::H => self.ins(0, &[0x0f, 0xb7], dst.0, src.into(), &[]),
            Size::W => self.ins(0, &[0x8b], dst.0, src.into(), &[]),
            Size::Dw => self.ins(W, &[0x8b], dst.0, src.into(), &[]),
        }
    }

    /// Sign-extending load or register move, to 64 bits (`w`) or to 32 with the upper half zeroed.
    pub fn movsx(&mut self, w: bool, size: Size, dst: Reg, src: impl Into<Rm>) {
        match size {
            Size::B => self.ins(width(w) | BYTE, &[0x0f, 0xbe], dst.0, src.into(), &[]),
            Size::H => self.ins(width(w), &[0x0f, 0xbf], dst.0, src.into(), &[]),
            Size::W if w => self.ins(W, &[0x63], dst.0, src.into(), &[]),
            _ => self.movzx(size, dst, src),
        }
    }

    pub fn store(&mut self, size: Size, mem: Mem, src: Reg) {
        match size {
            Size::B => self.ins(BYTE, &[0x88], src.0, mem.into(), &[]),
            Size::H => self.ins(P66, &[0x89], src.0, mem.into(), &[]),
            Size::W => self.ins(0, &[0x89], src.0, mem.into(), &[]),
            Size::Dw => self.ins(W, &[0x89], src.0, mem.into(), &[]),
        }
    }

    /// Stores the sign-extended immediate.
    pub fn store_imm(&mut self, size: Size, mem: Mem, imm: i32) {
        let bytes = imm.to_le_bytes();
        match size {
            Size::B => self.ins(0, &[0xc6], 0, mem.into(), &bytes[..1]),
            Size::H => self.ins(P66, &[0xc7], 0, mem.into(), &bytes[..2]),
            Size::W => self.ins(0, &[0xc7], 0, mem.into(), &bytes),
            Size::Dw => self.ins(W, &[0xc7], 0, mem.into(), &bytes),
        }
    }

    /// `inc dword [mem]`.
    pub fn inc32(&mut self, mem: Mem) {
        self.ins(0, &[0xff], 0, mem.into(), &[]);
    }

    pub fn push(&mut self, reg: Reg) {
        if reg.high() {
            self.buf.push(0x41);
        }
        self.buf.push(0x50 | reg.low());
    }

    pub fn pop(&mut self, reg: Reg) {
        if reg.high() {
            self.buf.push(0x41);
        }
        self.buf.push(0x58 | reg.low());
    }

    pub fn leave(&mut self) {
        self.buf.push(0xc9);
    }

    pub fn ret(&mut self) {
        self.buf.push(0xc3);
    }

    /// `call sym`.
    pub fn call_sym(&mut self, sym: Sym) {
        self.buf.push(0xe8);
        self.rel32_sym(sym, 0);
    }

    /// `jmp reg`.
    pub fn jmp_reg(&mut self, reg: Reg) {
        self.ins(0, &[0xff], 4, reg.into(), &[]);
    }
}
