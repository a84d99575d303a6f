//! Values that are known but not yet computed: constants, copies and addresses.
//!
//! `mov`, `add` and small shifts make no code at first. A value that is used as an address becomes part of the memory
//! operand, one that is used otherwise becomes one `mov`, `lea` or `add`, one that is never used nothing. Valid inside a
//! basic block only.
//!
//! Invariant: a register that others' pending values name is not pending itself, except that a value may name its own
//! register's old contents. So any one pending value can be computed without another.

use crate::Sym;
use crate::emit::{Alu, Base, Mem, Shift};
use crate::func::Gen;
use crate::regs::{COUNT, FP, Reg, x86};

/// Start of a pending address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    None,
    /// Contents of a BPF register.
    Reg(u8),
    Sym(Sym),
}

/// Where the value of a BPF register is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// In its machine register.
    Here,
    Const(i64),
    /// start + (index << shift) + disp, modulo 2^64.
    Addr {
        start: Start,
        index: Option<(u8, u8)>,
        disp: i32,
    },
}

impl Value {
    fn copy_of(r: u8) -> Value {
        Value::Addr { start: Start::Reg(r), index: None, disp: 0 }
    }

    fn names(self, r: u8) -> bool {
        match self {
            Value::Addr { start, index, .. } => {
                start == Start::Reg(r) || index.is_some_and(|(i, _)| i == r)
            }
            _ => false,
        }
    }
}

/// What is known about the BPF registers at this point of a basic block.
pub(crate) struct Values {
    of: [Value; COUNT],
    /// All higher bits are zero.
    bits: [u8; COUNT],
    /// ZF tells whether this register is zero (its low half or all of it), as long as the code ends here.
    zf: Option<(u8, bool, usize)>,
}

impl Default for Values {
    fn default() -> Values {
        Values { of: [Value::Here; COUNT], bits: [64; COUNT], zf: None }
    }
}

impl Values {
    /// Nothing is known, nothing is pending.
    pub fn forget(&mut self) {
        *self = Values::default();
    }

    pub fn get(&self, r: u8) -> Value {
        self.of[r as usize]
    }

    /// The register's constant, if it is one.
    pub fn constant(&self, r: u8) -> Option<i64> {
        match self.get(r) {
            Value::Const(c) => Some(c),
            _ => None,
        }
    }

    /// Whether `r`'s pending value is made from the contents of register `of`.
    pub fn names(&self, r: u8, of: u8) -> bool {
        self.get(r).names(of)
    }

    /// The other register that `r` is a pending copy of.
    pub fn copied(&self, r: u8) -> Option<u8> {
        match self.get(r) {
            Value::Addr { start: Start::Reg(s), index: None, disp: 0 } => Some(s),
            _ => None,
        }
    }

    /// How many low bits can be other than zero.
    pub fn bits(&self, r: u8) -> u8 {
        match self.get(r) {
            Value::Const(c) => (64 - c.leading_zeros()) as u8,
            Value::Here => self.bits[r as usize],
            Value::Addr { start: Start::Reg(s), index: None, disp: 0 } => self.bits[s as usize],
            Value::Addr { .. } => 64,
        }
    }

    pub fn set_bits(&mut self, r: u8, bits: u8) {
        self.bits[r as usize] = bits;
    }
}

impl Gen<'_> {
    /// The machine register with the value of `r`.
    pub fn read(&mut self, r: u8) -> Reg {
        self.materialise(r);
        x86(r)
    }

    /// The machine register to write `r`'s new value to. Call it after all reads of the instruction.
    pub fn write(&mut self, r: u8) -> Reg {
        self.release(r, self.live_after());
        self.set(r, Value::Here, 64);
        x86(r)
    }

    /// A register with the value of `r`, to be read by the next instruction only: that of a pending copy is its source's.
    pub fn operand(&mut self, r: u8) -> Reg {
        match self.values.copied(r) {
            Some(s) => x86(s),
            None => self.read(r),
        }
    }

    /// A memory operand at `r + off`; `lost`: the instruction overwrites `r`.
    ///
    /// A value on top of the register's own old contents is computed first if it is needed later: writing the result of
    /// the instruction could otherwise compute it between here and the access.
    pub fn mem(&mut self, r: u8, off: i32, lost: bool) -> Mem {
        if !lost && self.values.names(r, r) && self.is_live_after(r) {
            self.materialise(r);
        }
        self.mem_of_value(r, off)
    }

    fn mem_of_value(&mut self, r: u8, off: i32) -> Mem {
        if let Value::Addr { start, index, disp } = self.values.get(r)
            && let Some(disp) = disp.checked_add(off)
        {
            let base = match start {
                Start::None => Base::None,
                Start::Reg(s) => Base::Reg(x86(s)),
                Start::Sym(sym) => Base::Sym(sym),
            };
            return Mem { base, index: index.map(|(i, shift)| (x86(i), shift)), disp };
        }
        Mem::base(self.read(r), off)
    }

    fn set(&mut self, r: u8, value: Value, bits: u8) {
        self.values.of[r as usize] = if value == Value::copy_of(r) { Value::Here } else { value };
        self.values.bits[r as usize] = bits;
        self.values.zf.take_if(|(z, ..)| *z == r);
    }

    /// Computes what others still need of `r`'s register, whose contents are about to change.
    fn release(&mut self, r: u8, needed: u16) {
        for z in 0..FP {
            if z != r && self.values.get(z).names(r) {
                if needed & 1 << z != 0 {
                    self.materialise(z);
                } else {
                    self.values.of[z as usize] = Value::Here;
                }
            }
        }
    }

    /// `r` is about to get another value, its operands not read yet.
    fn redefine(&mut self, r: u8) {
        let uses = crate::liveness::uses(self.insns[self.idx]);
        self.release(r, self.live_after() | uses);
    }

    /// Computes the pending values of the registers in `needed`, drops others.
    pub fn flush(&mut self, needed: u16) {
        for r in 0..FP {
            if needed & 1 << r != 0 {
                self.materialise(r);
            } else {
                self.values.of[r as usize] = Value::Here;
            }
        }
    }

    /// Computes what slot `i` and what follows it need.
    pub fn flush_before(&mut self, i: usize) {
        let insn = self.insns[i];
        let after = self.live_out[i - self.cur_func().start];
        self.flush(after & !crate::liveness::defs(insn) | crate::liveness::uses(insn));
    }

    fn materialise(&mut self, r: u8) {
        let value = std::mem::replace(&mut self.values.of[r as usize], Value::Here);
        let reg = x86(r);
        match value {
            Value::Here => {}
            Value::Const(c) => {
                self.asm.mov_ri(reg, c);
                self.values.bits[r as usize] = (64 - c.leading_zeros()) as u8;
            }
            Value::Addr { start: Start::Reg(s), index: None, disp } => match (s == r, disp) {
                (true, 128) => self.asm.alu_ri(true, Alu::Sub, reg, -128),
                (true, _) => {
                    self.asm.alu_ri(true, Alu::Add, reg, disp);
                    self.zf_is(r, true);
                }
                (false, 0) => {
                    self.asm.mov_rr(true, reg, x86(s));
                    self.values.bits[r as usize] = self.values.bits[s as usize];
                }
                (false, _) => self.asm.lea(true, reg, Mem::base(x86(s), disp)),
            },
            Value::Addr { start: Start::Reg(s), index: Some((i, 0)), disp: 0 }
                if s == r || i == r =>
            {
                self.asm.alu_rr(true, Alu::Add, reg, x86(if s == r { i } else { s }));
                self.zf_is(r, true);
            }
            Value::Addr { start: Start::None, index: Some((i, shift)), disp: 0 } => {
                match (i == r, shift) {
                    (true, _) => self.asm.shift_ri(true, Shift::Shl, reg, shift),
                    (false, 1) => self.asm.lea(
                        true,
                        reg,
                        Mem { base: Base::Reg(x86(i)), index: Some((x86(i), 0)), disp: 0 },
                    ),
                    (false, _) => self.asm.lea(
                        true,
                        reg,
                        Mem { base: Base::None, index: Some((x86(i), shift)), disp: 0 },
                    ),
                }
            }
            Value::Addr { .. } => {
                self.values.of[r as usize] = value;
                let mem = self.mem_of_value(r, 0);
                self.values.of[r as usize] = Value::Here;
                self.asm.lea(true, reg, mem);
            }
        }
    }

    /// dst = constant.
    pub fn set_const(&mut self, dst: u8, value: i64) {
        self.redefine(dst);
        self.set(dst, Value::Const(value), 64);
    }

    /// dst = address of `sym` + addend.
    pub fn set_sym(&mut self, dst: u8, sym: Sym, addend: i32) {
        self.redefine(dst);
        self.set(dst, Value::Addr { start: Start::Sym(sym), index: None, disp: addend }, 64);
    }

    /// dst = src.
    pub fn set_copy(&mut self, dst: u8, src: u8) {
        if dst == src {
            return;
        }
        self.redefine(dst);
        let (value, bits) = (self.source(src), self.values.bits(src));
        self.set(dst, value, bits);
    }

    /// The value of `src` for use in another's value. One that names its own register moves there if `src` is not needed.
    fn source(&mut self, src: u8) -> Value {
        if self.values.names(src, src) {
            if !self.is_live_after(src) {
                return std::mem::replace(&mut self.values.of[src as usize], Value::Here);
            }
            self.materialise(src);
        }
        self.as_value(src)
    }

    /// The value of `r` in terms of machine registers.
    fn as_value(&self, r: u8) -> Value {
        match self.values.get(r) {
            Value::Here => Value::copy_of(r),
            value => value,
        }
    }

    /// dst += imm.
    pub fn add_imm(&mut self, dst: u8, imm: i32) {
        self.redefine(dst);
        let value = match self.as_value(dst) {
            Value::Const(c) => Value::Const(c.wrapping_add(i64::from(imm))),
            Value::Addr { start, index, disp } if disp.checked_add(imm).is_some() => {
                Value::Addr { start, index, disp: disp + imm }
            }
            _ => {
                self.materialise(dst);
                Value::Addr { start: Start::Reg(dst), index: None, disp: imm }
            }
        };
        self.set(dst, value, 64);
    }

    /// dst += src, two different registers.
    pub fn add_reg(&mut self, dst: u8, src: u8) {
        if let Some(Ok(imm)) = self.values.constant(src).map(i32::try_from) {
            return self.add_imm(dst, imm);
        }
        self.redefine(dst);
        if matches!(self.values.get(dst), Value::Addr { start: Start::Sym(_), .. }) {
            self.materialise(dst);
        }
        let value = self.source(src);
        let mut sum = sum(self.as_value(dst), value);
        if sum.is_none() {
            self.values.of[src as usize] =
                if value == Value::copy_of(src) { Value::Here } else { value };
            self.materialise(src);
            sum = self::sum(self.as_value(dst), self.as_value(src));
        }
        if sum.is_none() {
            self.materialise(dst);
            sum = self::sum(self.as_value(dst), self.as_value(src));
        }
        self.set(dst, sum.unwrap_or(Value::Here), 64);
    }

    /// dst <<= by, for by from 1 to 3.
    pub fn shl_imm(&mut self, dst: u8, by: u8) {
        self.redefine(dst);
        let value = match self.as_value(dst) {
            Value::Addr { start: Start::Reg(r), index: None, disp: 0 } => {
                Value::Addr { start: Start::None, index: Some((r, by)), disp: 0 }
            }
            _ => {
                self.materialise(dst);
                Value::Addr { start: Start::None, index: Some((dst, by)), disp: 0 }
            }
        };
        self.set(dst, value, 64);
    }

    /// The instruction just made, of 64 bits or else 32, sets ZF by the new value of `r`.
    pub fn zf_is(&mut self, r: u8, w: bool) {
        self.values.zf = Some((r, w, self.asm.buf.len()));
    }

    /// Whether ZF tells if `r` (all 64 bits, or else the low half) is zero.
    pub fn is_zf_of(&self, r: u8, w: bool) -> bool {
        let same_width = |set: bool| set == w || self.values.bits(r) <= 32;
        matches!(self.values.zf, Some((z, set, at)) if z == r && at == self.asm.buf.len() && same_width(set))
    }
}

/// a + b as one address, if it is one.
fn sum(a: Value, b: Value) -> Option<Value> {
    let (
        Value::Addr { start: s1, index: i1, disp: d1 },
        Value::Addr { start: s2, index: i2, disp: d2 },
    ) = (a, b)
    else {
        return None;
    };
    let disp = d1.checked_add(d2)?;
    let (start, index) = match (s1, i1, s2, i2) {
        (Start::Reg(_), None, Start::Reg(r), None) => (s1, Some((r, 0))),
        (Start::Reg(_), None, Start::None, index) | (Start::None, index, Start::Reg(_), None) => {
            (if s1 == Start::None { s2 } else { s1 }, index)
        }
        _ => return None,
    };
    Some(Value::Addr { start, index, disp })
}
