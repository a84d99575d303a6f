//! The walk over all paths (`do_check`).

use stylet_catalog::Features;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::errno;

use crate::backtrack::LinkedRegs;
use crate::env::{Flow, Step, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::regs::RegType;
use crate::rejection::{Reject, Res};

impl Verifier<'_> {
    /// Walks one function and what it calls, for every path (`do_check_common`).
    pub(crate) fn do_check_common(&mut self, subprog: usize) -> Res<()> {
        self.explorer.clear();
        self.liveness.clear();
        self.branch_stack.clear();
        self.path.clear();
        self.cur = self.start_state(subprog as u32);
        self.insn_idx = self.subprogs[subprog].start;
        self.prev_insn_idx = u32::MAX;
        self.set_entry_regs(subprog)?;
        self.do_check()
    }

    fn do_check(&mut self) -> Res<()> {
        self.log.touch_all();
        let mut prev = u32::MAX;
        loop {
            self.hist_is_current = false;
            self.prev_insn_idx = prev;
            let at = self.insn_idx;
            let Some(&insn) = self.insns.get(at as usize) else {
                return Err(Reject::new(errno::EFAULT, Kind::InvalidInsnIdx { insn: at }));
            };
            self.insn_processed += 1;
            if self.insn_processed > u64::from(self.cat.limits.complexity_limit_insns) {
                return Err(Reject::new(
                    errno::E2BIG,
                    Kind::TooLarge { processed: self.insn_processed },
                ));
            }
            self.cur.last_insn_idx = prev;
            self.cur.insn_idx = at;
            let pruned = self.aux[at as usize].prune_point && self.is_state_visited()?;
            let flow = if pruned {
                self.log_safe();
                Flow::Exit
            } else {
                self.do_insn(insn)?
            };
            prev = at;
            match flow {
                Flow::Next => self.insn_idx = at + if insn.is_lddw() { 2 } else { 1 },
                Flow::Jumped => {}
                Flow::Exit => {
                    self.update_branch_counts()?;
                    if !self.pop_stack() {
                        return Ok(());
                    }
                    prev = self.prev_insn_idx;
                }
            }
        }
    }

    fn do_insn(&mut self, insn: Insn) -> Step {
        let at = self.insn_idx as usize;
        if self.aux[at].jmp_point {
            self.push_jmp_history(None, LinkedRegs::default());
        }
        self.facts.insns[at].seen = true;
        self.log_insn(insn);
        let before = self.log_before();
        self.begin_stack_marks();
        let flow = self.do_check_insn(insn)?;
        self.commit_stack_marks();
        self.log_touched(insn, before);
        Ok(flow)
    }

    fn do_check_insn(&mut self, insn: Insn) -> Step {
        match insn.class() {
            op::ALU | op::ALU64 => self.check_alu_op(insn)?,
            op::LDX => self.check_load(insn, false, insn.mode() == op::MEMSX)?,
            op::STX if insn.mode() == op::ATOMIC => self.check_atomic(insn)?,
            op::STX => {
                if insn.mode() != op::MEM || insn.imm != 0 {
                    return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_STX" }));
                }
                self.check_store(insn, false)?;
            }
            op::ST => {
                if insn.mode() != op::MEM || insn.src != 0 {
                    return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_ST" }));
                }
                let to_ctx = self.regs_ctx(insn.dst);
                if to_ctx && !self.cat.has(Features::CTX_STORE_IMM) {
                    return Err(Reject::acces(Kind::StoreIntoCtx { reg: insn.dst }));
                }
                self.check_store(insn, false)?;
            }
            op::JMP | op::JMP32 => return self.check_jmp(insn),
            _ => match insn.mode() {
                op::IMM => self.check_ld_imm(insn)?,
                op::ABS | op::IND => return self.check_ld_abs(insn),
                _ => return Err(Reject::inval(Kind::InvalidLdMode)),
            },
        }
        Ok(Flow::Next)
    }

    fn regs_ctx(&self, regno: u8) -> bool {
        regno < op::MAX_BPF_REG && self.reg(regno.into()).ty == RegType::PtrToCtx
    }

    fn check_jmp(&mut self, insn: Insn) -> Step {
        self.jmps_processed += 1;
        let is_32 = insn.class() == op::JMP32;
        match insn.op() {
            op::CALL => {
                let src_ok = matches!(insn.src, 0 | op::PSEUDO_CALL | op::PSEUDO_KFUNC_CALL);
                let off_ok = insn.off == 0 || insn.src == op::PSEUDO_KFUNC_CALL;
                if insn.is_src_reg() || !off_ok || !src_ok || insn.dst != 0 || is_32 {
                    return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_CALL" }));
                }
                if self.cur.active_lock().is_some() && !self.may_call_under_lock(insn) {
                    return Err(Reject::inval(Kind::CallUnderLock));
                }
                if insn.is_pseudo_call() {
                    self.check_func_call(insn)
                } else if insn.is_kfunc_call() {
                    self.check_kfunc_call(insn)
                } else {
                    self.check_helper_call(insn)
                }
            }
            op::JA => {
                let (far, near) = if is_32 { (insn.off == 0, true) } else { (true, insn.imm == 0) };
                if insn.is_src_reg() || insn.src != 0 || insn.dst != 0 || !far || !near {
                    return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_JA" }));
                }
                self.insn_idx =
                    (i64::from(self.insn_idx) + crate::cfg::jmp_offset(insn) + 1) as u32;
                Ok(Flow::Jumped)
            }
            op::EXIT => {
                if insn.is_src_reg() || insn.imm != 0 || insn.src != 0 || insn.dst != 0 || is_32 {
                    return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_EXIT" }));
                }
                self.check_exit()
            }
            _ => self.check_cond_jmp_op(insn),
        }
    }
}
