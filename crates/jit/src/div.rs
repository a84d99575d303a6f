//! Division and modulo with the kernel's rules: x / 0 = 0, x % 0 = x, MIN / -1 = MIN, MIN % -1 = 0.

use crate::Error;
use crate::emit::{Alu, Cond, Shift, Unary};
use crate::func::{Gen, StubKind};
use crate::magic::magic;
use crate::regs::Reg;
use stylet_insn::{Insn, opcode as op};

const R0: u8 = 0;
const R3: u8 = 3;

/// Which of the four operations, and on how many bits.
#[derive(Clone, Copy)]
struct Op {
    w: bool,
    signed: bool,
    is_mod: bool,
}

impl Gen<'_> {
    pub fn div(&mut self, insn: Insn, w: bool) -> Result<(), Error> {
        let op = Op { w, signed: insn.off == 1, is_mod: insn.op() == op::MOD };
        if !matches!(insn.off, 0 | 1) {
            return Err(self.invalid());
        }
        let constant = if insn.is_src_reg() {
            self.values.constant(insn.src)
        } else {
            Some(i64::from(insn.imm))
        };
        match constant {
            Some(c) => self.div_const(op, insn.dst, if w { c } else { i64::from(c as i32) }),
            None => self.div_reg(op, insn.dst, insn.src),
        }
        if !w {
            self.values.set_bits(insn.dst, 32);
        }
        Ok(())
    }

    /// Division by a constant, sign-extended from the operation's width.
    fn div_const(&mut self, op: Op, dst: u8, by: i64) {
        let reg = self.read(dst);
        self.write(dst);
        let magnitude = if op.w { by as u64 } else { u64::from(by as u32) };
        match (by, op.is_mod) {
            (0, false) | (1, true) => return self.asm.mov_ri(reg, 0),
            (-1, true) if op.signed => return self.asm.mov_ri(reg, 0),
            (0, true) | (1, false) if op.w => return,
            (0, true) | (1, false) => return self.asm.mov_rr(false, reg, reg),
            (-1, false) if op.signed => return self.asm.unary(op.w, Unary::Neg, reg),
            _ => {}
        }
        if !op.signed && magnitude.is_power_of_two() {
            let shift = magnitude.trailing_zeros() as u8;
            if !op.is_mod {
                return self.asm.shift_ri(op.w, Shift::Shr, reg, shift);
            }
            return match i32::try_from(magnitude - 1) {
                Ok(mask) => self.asm.alu_ri(false, Alu::And, reg, mask),
                Err(_) => {
                    self.asm.mov_ri(Reg::R11, (magnitude - 1) as i64);
                    self.asm.alu_rr(op.w, Alu::And, reg, Reg::R11);
                }
            };
        }
        if !op.signed && self.div_by_mul(op, dst, reg, magnitude) {
            return;
        }
        // A register that `div` leaves alone and that is free: dst itself once it has been copied to rax.
        let divisor = if matches!(dst, R0 | R3) { Reg::R11 } else { reg };
        let (save_rax, save_rdx) = self.save_div(dst, Reg::R10, Reg::R10);
        if reg != Reg::RAX {
            self.asm.mov_rr(op.w, Reg::RAX, reg);
        }
        // Two registers are to be kept only if dst is neither of them; then r11 is free for the second.
        self.asm.mov_ri(divisor, if op.w { by } else { i64::from(by as u32) });
        self.divide(op, dst, divisor, save_rax, save_rdx);
    }

    /// Unsigned division by a constant as a multiplication. False when there is no constant or no register for it.
    fn div_by_mul(&mut self, op: Op, dst: u8, reg: Reg, by: u64) -> bool {
        let Some(m) = magic(by, if op.w { 64 } else { 32 }) else { return false };
        let factor = i32::try_from(by).ok();
        if op.is_mod && (m.pre != 0 || (op.w && factor.is_none())) {
            return false;
        }
        if !op.w {
            self.asm.mov_rr(false, Reg::R10, reg);
            if m.pre != 0 {
                self.asm.shift_ri(false, Shift::Shr, Reg::R10, m.pre);
            }
            self.asm.mov_ri(Reg::R11, m.mul as i64);
            self.asm.imul_rr(true, Reg::R10, Reg::R11);
            self.asm.shift_ri(true, Shift::Shr, Reg::R10, 32 + m.post);
            if op.is_mod {
                self.asm.imul_rri(false, Reg::R10, Reg::R10, by as u32 as i32);
                self.asm.alu_rr(false, Alu::Sub, reg, Reg::R10);
            } else {
                self.asm.mov_rr(false, reg, Reg::R10);
            }
            return true;
        }
        let (save_rax, save_rdx) = self.save_div(dst, Reg::R10, Reg::R10);
        let mut x = reg;
        if matches!(dst, R0 | R3) {
            x = Reg::R11;
            self.asm.mov_rr(true, x, reg);
        }
        if m.pre != 0 {
            self.asm.shift_ri(true, Shift::Shr, x, m.pre);
        }
        self.asm.mov_ri(Reg::RAX, m.mul as i64);
        self.asm.unary(true, Unary::Mul, x);
        if m.post != 0 {
            self.asm.shift_ri(true, Shift::Shr, Reg::RDX, m.post);
        }
        let mut result = Reg::RDX;
        if let (true, Some(factor)) = (op.is_mod, factor) {
            self.asm.imul_rri(true, Reg::RDX, Reg::RDX, factor);
            self.asm.alu_rr(true, Alu::Sub, x, Reg::RDX);
            result = x;
        }
        self.finish_div(reg, result, save_rax, save_rdx);
        true
    }

    fn div_reg(&mut self, op: Op, dst: u8, src: u8) {
        let (reg, by) = (self.read(dst), self.read(src));
        self.write(dst);
        let back = self.asm.label();
        let by_zero = match (op.is_mod, op.w) {
            (false, _) => StubKind::Zero(reg),
            (true, true) => StubKind::None,
            (true, false) => StubKind::ZeroUpper(reg),
        };
        self.asm.test_rr(op.w, by, by);
        if let StubKind::None = by_zero {
            self.asm.jcc(Cond::E, back);
        } else {
            let stub = self.stub(by_zero, back);
            self.asm.jcc(Cond::E, stub);
        }
        if op.signed {
            let minus_one = if op.is_mod { StubKind::Zero(reg) } else { StubKind::Neg(op.w, reg) };
            let stub = self.stub(minus_one, back);
            self.asm.alu_ri(op.w, Alu::Cmp, by, -1);
            self.asm.jcc(Cond::E, stub);
        }
        // r11 keeps rax or rdx when that is the divisor: copy and saved value in one.
        let (divisor, save_rax, save_rdx) = match src {
            R0 => (Reg::R11, Reg::R11, Reg::R10),
            R3 => (Reg::R11, Reg::R10, Reg::R11),
            _ => (by, Reg::R10, Reg::R11),
        };
        if divisor == Reg::R11 {
            self.asm.mov_rr(true, Reg::R11, by);
        }
        let (save_rax, save_rdx) = self.save_div_unless(divisor, dst, save_rax, save_rdx);
        if reg != Reg::RAX {
            self.asm.mov_rr(op.w, Reg::RAX, reg);
        }
        self.divide(op, dst, divisor, save_rax, save_rdx);
        self.asm.bind(back);
    }

    /// Saves `rax` and `rdx` where they are needed later and are not dst. With a constant divisor.
    fn save_div(&mut self, dst: u8, rax: Reg, rdx: Reg) -> (Option<Reg>, Option<Reg>) {
        let rdx = if matches!(dst, R0 | R3) { rdx } else { Reg::R11 };
        self.save_div_unless(Reg::RSP, dst, rax, rdx)
    }

    /// As [`Gen::save_div`]; a place that is `saved` already has the value.
    fn save_div_unless(
        &mut self,
        saved: Reg,
        dst: u8,
        rax: Reg,
        rdx: Reg,
    ) -> (Option<Reg>, Option<Reg>) {
        let needed = |g: &Self, r: u8| {
            let pending = (0..10).any(|z| g.is_live_after(z) && g.values.names(z, r));
            dst != r && (pending || g.is_live_after(r))
        };
        let save_rax = needed(self, R0).then_some(rax);
        let save_rdx = needed(self, R3).then_some(rdx);
        for (place, reg) in [(save_rax, Reg::RAX), (save_rdx, Reg::RDX)] {
            if let Some(place) = place.filter(|&p| p != saved) {
                self.asm.mov_rr(true, place, reg);
            }
        }
        (save_rax, save_rdx)
    }

    /// rax / divisor, the result into dst's register, the others restored.
    fn divide(
        &mut self,
        op: Op,
        dst: u8,
        divisor: Reg,
        save_rax: Option<Reg>,
        save_rdx: Option<Reg>,
    ) {
        if op.signed {
            self.asm.cqo(op.w);
            self.asm.unary(op.w, Unary::Idiv, divisor);
        } else {
            self.asm.mov_ri(Reg::RDX, 0);
            self.asm.unary(op.w, Unary::Div, divisor);
        }
        let result = if op.is_mod { Reg::RDX } else { Reg::RAX };
        self.finish_div(crate::regs::x86(dst), result, save_rax, save_rdx);
    }

    fn finish_div(&mut self, dst: Reg, result: Reg, save_rax: Option<Reg>, save_rdx: Option<Reg>) {
        if result != dst {
            self.asm.mov_rr(true, dst, result);
        }
        if let Some(reg) = save_rax {
            self.asm.mov_rr(true, Reg::RAX, reg);
        }
        if let Some(reg) = save_rdx {
            self.asm.mov_rr(true, Reg::RDX, reg);
        }
    }
}
