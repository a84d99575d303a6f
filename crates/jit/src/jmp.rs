//! Jumps (RFC 9669 section 5.3) and `may_goto`.

use crate::Error;
use crate::emit::{Alu, Cond, Size};
use crate::func::Gen;
use crate::regs::{Reg, x86};
use crate::scan::jump_target;
use stylet_insn::{Insn, opcode as op};

fn cond(op: u8) -> Option<Cond> {
    Some(match op {
        op::JEQ => Cond::E,
        op::JNE | op::JSET => Cond::Ne,
        op::JGT => Cond::A,
        op::JGE => Cond::Ae,
        op::JLT => Cond::B,
        op::JLE => Cond::Be,
        op::JSGT => Cond::G,
        op::JSGE => Cond::Ge,
        op::JSLT => Cond::L,
        op::JSLE => Cond::Le,
        _ => return None,
    })
}

/// The other value of a register that a conditional move may set.
#[derive(Clone, Copy)]
enum Choice {
    Reg(u8),
    Const(i64),
}

impl Gen<'_> {
    pub fn jmp(&mut self, insn: Insn) -> Result<(), Error> {
        let w = insn.class() == op::JMP;
        match insn.op() {
            op::CALL if w => return self.call(insn),
            op::EXIT if w => {
                self.flush(1);
                self.leave_frame();
                self.asm.ret();
                return Ok(());
            }
            op::JA if insn.is_src_reg() => return Err(self.unsupported("indirect jump")),
            op::JA => self.goto(insn),
            op::JCOND if w => self.may_goto(insn),
            _ => match self.fact().branch {
                Some(true) => self.goto(insn),
                Some(false) => {}
                None => return self.cond_jump(w, insn),
            },
        }
        Ok(())
    }

    fn goto(&mut self, insn: Insn) {
        self.flush(self.live_after());
        let target = self.slots[jump_target(self.idx, insn) as usize];
        self.asm.jmp(target);
    }

    /// The jump is taken when the count is used up (do_misc_fixups, kernel/bpf/verifier.c).
    fn may_goto(&mut self, insn: Insn) {
        self.flush(self.live_after());
        let counter = self.may_goto_counter();
        let target = self.slots[jump_target(self.idx, insn) as usize];
        self.asm.movzx(Size::Dw, Reg::R11, counter);
        self.asm.test_rr(true, Reg::R11, Reg::R11);
        self.asm.jcc(Cond::E, target);
        self.asm.alu_ri(true, Alu::Sub, Reg::R11, 1);
        self.asm.store(Size::Dw, counter, Reg::R11);
    }

    fn cond_jump(&mut self, w: bool, insn: Insn) -> Result<(), Error> {
        let Some(mut cond) = cond(insn.op()) else { return Err(self.invalid()) };
        let constant = match insn.is_src_reg() {
            false => Some(i64::from(insn.imm)),
            true => self.values.constant(insn.src),
        };
        let imm = constant.and_then(|c| if w { i32::try_from(c).ok() } else { Some(c as i32) });
        let dst = self.operand(insn.dst);
        let is_set = insn.op() == op::JSET;
        let bit = constant
            .filter(|c| is_set && w && imm.is_none() && c.count_ones() == 1)
            .map(|c| c.trailing_zeros());
        let src = match (imm, bit) {
            (None, None) => self.operand(insn.src),
            _ => dst,
        };
        self.flush(self.live_after());
        let choice = self.choice();
        if let Some((_, Choice::Const(c))) = choice {
            self.asm.mov_ri(Reg::R11, c);
        }
        match (imm, bit) {
            (_, Some(bit)) => {
                self.asm.bt(dst, bit as u8);
                cond = Cond::B;
            }
            (Some(imm), _) if is_set => self.asm.test_ri(w, dst, imm),
            (Some(0), _) if matches!(cond, Cond::E | Cond::Ne) && self.is_zf_of(insn.dst, w) => {}
            (Some(0), _) => self.asm.test_rr(w, dst, dst),
            (Some(imm), _) => self.asm.alu_ri(w, Alu::Cmp, dst, imm),
            (None, _) if is_set => self.asm.test_rr(w, dst, src),
            (None, _) => self.asm.alu_rr(w, Alu::Cmp, dst, src),
        }
        match choice {
            Some((to, Choice::Reg(from))) => self.choose(cond.not(), to, x86(from)),
            Some((to, Choice::Const(_))) => self.choose(cond.not(), to, Reg::R11),
            None => self.branch(cond),
        }
        Ok(())
    }

    /// The register and its other value when the jump only leaves out one move: how compilers write a choice in BPF.
    fn choice(&self) -> Option<(u8, Choice)> {
        let next = self.idx + 1;
        let mov = *self.insns.get(next)?;
        let over = jump_target(self.idx, self.insns[self.idx]) == next as i64 + 1;
        let seen = crate::scan::fact(self.prog, next).seen;
        if !over || self.scan.targets[next] || !seen || mov.op() != op::MOV || mov.off != 0 {
            return None;
        }
        let from = match (mov.class(), mov.is_src_reg()) {
            (op::ALU64, true) => Choice::Reg(mov.src),
            (op::ALU, true) if self.values.bits(mov.src) <= 32 => Choice::Reg(mov.src),
            (op::ALU64, false) => Choice::Const(i64::from(mov.imm)),
            (op::ALU, false) => Choice::Const(i64::from(mov.imm as u32)),
            _ => return None,
        };
        Some((mov.dst, from))
    }

    fn choose(&mut self, cond: Cond, to: u8, from: Reg) {
        self.idx += 1;
        let to = self.write(to);
        self.asm.cmov(cond, to, from);
    }

    /// The jump of the current slot, by flags that are set. One over a `goto` becomes the opposite one of that.
    pub fn branch(&mut self, cond: Cond) {
        let target = jump_target(self.idx, self.insns[self.idx]) as usize;
        let next = self.idx + 1;
        let is_goto =
            |i: Insn| matches!(i.code, c if c == op::JMP | op::JA || c == op::JMP32 | op::JA);
        if target == next + 1 && is_goto(self.insns[next]) && !self.scan.targets[next] {
            let to = jump_target(next, self.insns[next]) as usize;
            self.idx = next;
            if self.fact().seen {
                return self.asm.jcc(cond.not(), self.slots[to]);
            }
            self.idx = next - 1;
        }
        self.asm.jcc(cond, self.slots[target]);
    }

    /// `dst &= x; if dst == 0 goto` (or `!=`), dst not used again, tests without computing. True if that was here.
    pub fn test_and_branch(&mut self, w: bool, insn: Insn, imm: Option<i32>) -> bool {
        let next = self.idx + 1;
        if next >= self.cur_func().end || self.scan.targets[next] {
            return false;
        }
        let jump = self.insns[next];
        let is_zero_test = matches!(jump.op(), op::JEQ | op::JNE)
            && matches!(jump.class(), op::JMP | op::JMP32)
            && !jump.is_src_reg()
            && jump.imm == 0
            && jump.dst == insn.dst;
        let dead = self.live_out[next - self.cur_func().start] & 1 << insn.dst == 0;
        let fact = crate::scan::fact(self.prog, next);
        if !is_zero_test || !dead || !fact.seen || fact.branch.is_some() {
            return false;
        }
        let w = w && jump.class() == op::JMP;
        let dst = self.operand(insn.dst);
        let src = if imm.is_none() { self.operand(insn.src) } else { dst };
        self.idx = next;
        self.flush(self.live_after());
        match imm {
            Some(imm) => self.asm.test_ri(w, dst, imm),
            None => self.asm.test_rr(w, dst, src),
        }
        self.branch(if jump.op() == op::JEQ { Cond::E } else { Cond::Ne });
        true
    }
}
