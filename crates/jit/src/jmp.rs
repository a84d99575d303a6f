//! Jumps (RFC 9669 section 5.3) and `may_goto`.

use crate::Error;
use crate::emit::{Alu, Cond, Size};
use crate::func::Gen;
use crate::regs::Reg;
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
        let dst = self.read(insn.dst);
        let is_set = insn.op() == op::JSET;
        let bit = constant
            .filter(|c| is_set && w && imm.is_none() && c.count_ones() == 1)
            .map(|c| c.trailing_zeros());
        let src = match (imm, bit) {
            (None, None) => self.read(insn.src),
            _ => dst,
        };
        self.flush(self.live_after());
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
        let target = self.slots[jump_target(self.idx, insn) as usize];
        self.asm.jcc(cond, target);
        Ok(())
    }
}
