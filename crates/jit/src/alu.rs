//! Arithmetic, moves and byte swaps (RFC 9669 section 4).

use crate::Error;
use crate::emit::{Alu, Base, Mem, Shift, Size, Unary};
use crate::func::Gen;
use crate::regs::{FP, Reg};
use stylet_insn::{Insn, opcode as op};

impl Gen<'_> {
    pub fn alu(&mut self, insn: Insn) -> Result<(), Error> {
        let w = insn.class() == op::ALU64;
        match insn.op() {
            op::MOV => return self.mov(insn, w),
            op::END => return self.end(insn, w),
            op::DIV | op::MOD => return self.div(insn, w),
            _ if insn.off != 0 => return Err(self.invalid()),
            _ => {}
        }
        if w && self.alu_lazy(insn) {
            return Ok(());
        }
        let dst = insn.dst;
        let imm = match insn.is_src_reg() {
            false => Some(insn.imm),
            true => self
                .values
                .constant(insn.src)
                .and_then(|c| if w { i32::try_from(c).ok() } else { Some(c as i32) }),
        };
        match (insn.op(), imm) {
            (op::ADD, _) if !w && self.add_copy(insn, imm) => {}
            (op::ADD, _) => self.alu_op(w, Alu::Add, insn, imm),
            (op::SUB, Some(imm)) if !w && self.add_copy(insn, Some(imm.wrapping_neg())) => {}
            (op::SUB, _) => self.alu_op(w, Alu::Sub, insn, imm),
            (op::OR, _) => self.alu_op(w, Alu::Or, insn, imm),
            (op::AND, _) if self.test_and_branch(w, insn, imm) => {}
            (op::AND, Some(imm)) if self.and_mask(w, dst, imm) => {}
            (op::AND, _) => self.alu_op(w, Alu::And, insn, imm),
            (op::XOR, _) => self.alu_op(w, Alu::Xor, insn, imm),
            (op::MUL, _) => self.mul(w, insn, imm),
            (op::LSH, _) => self.shift(w, Shift::Shl, insn, imm),
            (op::RSH, _) => self.shift(w, Shift::Shr, insn, imm),
            (op::ARSH, _) => self.shift(w, Shift::Sar, insn, imm),
            (op::NEG, _) => {
                self.read(dst);
                let reg = self.write(dst);
                self.asm.unary(w, Unary::Neg, reg);
                self.alu_done(w, dst);
            }
            _ => return Err(self.invalid()),
        }
        Ok(())
    }

    /// 64-bit additions and small shifts, which wait until it is known what they are for.
    fn alu_lazy(&mut self, insn: Insn) -> bool {
        match (insn.op(), insn.is_src_reg()) {
            (op::ADD, false) => self.add_imm(insn.dst, insn.imm),
            (op::SUB, false) if insn.imm != i32::MIN => self.add_imm(insn.dst, -insn.imm),
            (op::ADD, true) if insn.src == insn.dst => self.shl_imm(insn.dst, 1),
            (op::ADD, true) => self.add_reg(insn.dst, insn.src),
            (op::LSH, false) if (1..=3).contains(&insn.imm) => {
                self.shl_imm(insn.dst, insn.imm as u8)
            }
            _ => return false,
        }
        true
    }

    fn alu_done(&mut self, w: bool, dst: u8) {
        if !w {
            self.values.set_bits(dst, 32);
        }
        self.zf_is(dst, w);
    }

    fn alu_op(&mut self, w: bool, op: Alu, insn: Insn, imm: Option<i32>) {
        self.read(insn.dst);
        match imm {
            Some(imm) => {
                let dst = self.write(insn.dst);
                self.asm.alu_ri(w, op, dst, imm);
            }
            None => {
                let src = self.operand(insn.src);
                let dst = self.write(insn.dst);
                self.asm.alu_rr(w, op, dst, src);
            }
        }
        self.alu_done(w, insn.dst);
    }

    /// A 32-bit addition to a copy of another register, in one `lea`.
    fn add_copy(&mut self, insn: Insn, imm: Option<i32>) -> bool {
        let Some(from) = self.values.copied(insn.dst) else { return false };
        let base = crate::regs::x86(from);
        let mem = match imm {
            Some(imm) => Mem::base(base, imm),
            None if insn.src == insn.dst => {
                Mem { base: Base::Reg(base), index: Some((base, 0)), disp: 0 }
            }
            None => {
                Mem { base: Base::Reg(base), index: Some((self.operand(insn.src), 0)), disp: 0 }
            }
        };
        let dst = self.write(insn.dst);
        self.asm.lea(false, dst, mem);
        self.values.set_bits(insn.dst, 32);
        true
    }

    /// dst = dst rotated left.
    pub fn rotate(&mut self, insn: Insn, by: u8) {
        let w = insn.class() == op::ALU64;
        self.read(insn.dst);
        let reg = self.write(insn.dst);
        self.asm.shift_ri(w, Shift::Rol, reg, by);
        if !w {
            self.values.set_bits(insn.dst, 32);
        }
    }

    /// `and` with a mask that a shorter instruction does, or that changes nothing.
    fn and_mask(&mut self, w: bool, dst: u8, imm: i32) -> bool {
        let bits = match imm {
            0xff => 8,
            0xffff => 16,
            -1 if !w => 32,
            _ if imm > 0 => {
                let before = self.values.bits(dst);
                let width = 32 - imm.leading_zeros() as u8;
                if before <= width && imm as u32 == (1 << width) - 1 {
                    return true;
                }
                self.read(dst);
                let reg = self.write(dst);
                self.asm.alu_ri(false, Alu::And, reg, imm);
                self.alu_done(false, dst);
                self.values.set_bits(dst, width.min(before));
                self.zf_is(dst, true);
                return true;
            }
            _ => return false,
        };
        self.zero_extend(dst, dst, bits);
        true
    }

    /// dst = low `bits` (8, 16 or 32) of src.
    fn zero_extend(&mut self, dst: u8, src: u8, bits: u8) {
        let known = self.values.bits(src);
        if known <= bits {
            return self.set_copy(dst, src);
        }
        let from = self.operand(src);
        let to = self.write(dst);
        match bits {
            8 => self.asm.movzx(Size::B, to, from),
            16 => self.asm.movzx(Size::H, to, from),
            _ => self.asm.mov_rr(false, to, from),
        }
        self.values.set_bits(dst, bits);
    }

    fn sign_extend(&mut self, w: bool, dst: u8, src: u8, size: Size) {
        let from = self.operand(src);
        let to = self.write(dst);
        self.asm.movsx(w, size, to, from);
        self.values.set_bits(dst, if w { 64 } else { 32 });
    }

    fn mov(&mut self, insn: Insn, w: bool) -> Result<(), Error> {
        let (dst, src) = (insn.dst, insn.src);
        match (insn.is_src_reg(), insn.off) {
            (false, 0) if w => self.set_const(dst, i64::from(insn.imm)),
            (false, 0) => self.set_const(dst, i64::from(insn.imm as u32)),
            (true, 0) if w => self.set_copy(dst, src),
            (true, 0) => match self.values.constant(src) {
                Some(c) => self.set_const(dst, i64::from(c as u32)),
                None => self.zero_extend(dst, src, 32),
            },
            (true, 8) => self.sign_extend(w, dst, src, Size::B),
            (true, 16) => self.sign_extend(w, dst, src, Size::H),
            (true, 32) if w => self.sign_extend(w, dst, src, Size::W),
            (true, 1) if w => return Err(self.unsupported("cast between address spaces (arena)")),
            _ => return Err(self.invalid()),
        }
        Ok(())
    }

    fn mul(&mut self, w: bool, insn: Insn, imm: Option<i32>) {
        match imm {
            Some(imm) => {
                let from = self.operand(insn.dst);
                let dst = self.write(insn.dst);
                self.mul_imm(w, dst, from, imm);
            }
            None => {
                self.read(insn.dst);
                let src = self.operand(insn.src);
                let dst = self.write(insn.dst);
                self.asm.imul_rr(w, dst, src);
            }
        }
        if !w {
            self.values.set_bits(insn.dst, 32);
        }
    }

    /// Small factors by `lea` and a shift, whose latency is less.
    fn mul_imm(&mut self, w: bool, dst: Reg, from: Reg, imm: i32) {
        let twos = imm.trailing_zeros() as u8;
        let scale = match imm >> (twos & 31) {
            3 => 1,
            5 => 2,
            9 => 3,
            _ => 0,
        };
        if imm <= 0 || scale == 0 || twos > 3 {
            return self.asm.imul_rri(w, dst, from, imm);
        }
        self.asm.lea(w, dst, Mem { base: Base::Reg(from), index: Some((from, scale)), disp: 0 });
        if twos > 0 {
            self.asm.shift_ri(w, Shift::Shl, dst, twos);
        }
    }

    fn shift(&mut self, w: bool, op: Shift, insn: Insn, imm: Option<i32>) {
        match imm {
            Some(imm) => self.shift_imm(w, op, insn.dst, imm as u8 & if w { 63 } else { 31 }),
            None if self.opts.cpu.bmi2 => {
                let (from, count) = (self.read(insn.dst), self.read(insn.src));
                let dst = self.write(insn.dst);
                self.asm.shift_x(w, op, dst, from, count);
            }
            None => self.shift_by_cl(w, op, insn),
        }
        if !w {
            self.values.set_bits(insn.dst, 32);
        }
    }

    /// Whether the next slot is `op` with the same class, register and immediate, reached only from here.
    fn is_next(&self, insn: Insn, op: u8) -> bool {
        let next = self.idx + 1;
        let same = |n: &Insn| *n == Insn { code: insn.class() | op | op::K, ..insn };
        next < self.cur_func().end
            && !self.scan.targets[next]
            && self.insns.get(next).is_some_and(same)
    }

    fn shift_imm(&mut self, w: bool, op: Shift, dst: u8, by: u8) {
        let insn = self.insns[self.idx];
        let narrow = match by {
            32 => Some(Size::W),
            48 => Some(Size::H),
            56 => Some(Size::B),
            _ => None,
        };
        if let (true, Shift::Shl, Some(size), false) = (w, op, narrow, insn.is_src_reg()) {
            if self.is_next(insn, op::RSH) {
                self.idx += 1;
                return self.zero_extend(dst, dst, 64 - by);
            }
            if self.is_next(insn, op::ARSH) {
                self.idx += 1;
                return self.sign_extend(true, dst, dst, size);
            }
        }
        let known = self.values.bits(dst);
        if by == 0 {
            if !w {
                self.zero_extend(dst, dst, 32);
            }
            return;
        }
        self.read(dst);
        let reg = self.write(dst);
        self.asm.shift_ri(w, op, reg, by);
        if w && op == Shift::Shr {
            self.values.set_bits(dst, known.saturating_sub(by).max(1));
        }
        self.zf_is(dst, w);
    }

    /// A shift whose count has to be in `cl`, R4's register.
    fn shift_by_cl(&mut self, w: bool, op: Shift, insn: Insn) {
        const R4: u8 = 4;
        let (mut reg, count) = (self.read(insn.dst), self.read(insn.src));
        self.write(insn.dst);
        if insn.src == R4 {
            return self.asm.shift_cl(w, op, reg);
        }
        if insn.dst == R4 {
            self.asm.mov_rr(true, Reg::R11, Reg::RCX);
            reg = Reg::R11;
        } else if self.is_rcx_needed() {
            self.asm.mov_rr(true, Reg::R11, Reg::RCX);
        }
        self.asm.mov_rr(false, Reg::RCX, count);
        self.asm.shift_cl(w, op, reg);
        if insn.dst == R4 || self.is_rcx_needed() {
            self.asm.mov_rr(true, Reg::RCX, Reg::R11);
        }
    }

    /// Whether the contents of `rcx` are R4's value, or part of a pending one.
    fn is_rcx_needed(&self) -> bool {
        let pending = (0..FP).any(|r| self.is_live_after(r) && self.values.names(r, 4));
        pending || self.is_live_after(4)
    }

    fn end(&mut self, insn: Insn, w: bool) -> Result<(), Error> {
        let swaps = w || insn.is_src_reg();
        if w && insn.is_src_reg() || !matches!(insn.imm, 16 | 32 | 64) {
            return Err(self.invalid());
        }
        let bits = insn.imm as u8;
        if !swaps {
            if bits < 64 {
                self.zero_extend(insn.dst, insn.dst, bits);
            }
            return Ok(());
        }
        self.read(insn.dst);
        let dst = self.write(insn.dst);
        if bits == 16 {
            self.asm.rol16_8(dst);
            self.asm.movzx(Size::H, dst, dst);
        } else {
            self.asm.bswap(bits == 64, dst);
        }
        self.values.set_bits(insn.dst, bits);
        Ok(())
    }
}
