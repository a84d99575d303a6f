//! Conditional jumps (`check_cond_jmp_op`).

use alloc::rc::Rc;

use stylet_catalog::Features;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::errno;

use super::nullness::{self, Known};
use crate::backtrack::{LinkedReg, LinkedRegs};
use crate::bounds::{Bounds, is_branch_taken, refine};
use crate::env::{Flow, Step, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::regs::{ADD_CONST, ADD_CONST32, RegFlags, RegState, RegType};
use crate::rejection::{PathStep, Reject, Res};
use crate::state::VerifierState;

/// A pointer that is surely not 0 (`reg_not_null`).
fn reg_not_null(reg: &RegState) -> bool {
    !reg.maybe_null()
        && match reg.ty {
            RegType::PtrToMapValue
            | RegType::PtrToMapKey
            | RegType::ConstPtrToMap
            | RegType::PtrToSocket
            | RegType::PtrToSockCommon
            | RegType::PtrToTcpSock => true,
            RegType::PtrToMem => !reg.flags.has(RegFlags::UNTRUSTED),
            RegType::PtrToBtfId => reg.is_trusted(),
            _ => false,
        }
}

/// Which way the jump goes, when that is known (`is_branch_taken`).
fn predict(opcode: u8, is_32: bool, a: &RegState, b: &RegState) -> Option<bool> {
    if a.is_scalar() && b.is_scalar() {
        return is_branch_taken(opcode, is_32, &a.bounds, &b.bounds);
    }
    if !is_32 && a.is_pointer() && b.is_pointer() {
        return super::packet::predict_packet(opcode, a, b);
    }
    let (ptr, number) = if b.is_scalar() { (a, b) } else { (b, a) };
    if is_32 || number.const_value() != Some(0) || !reg_not_null(ptr) {
        return None;
    }
    match opcode {
        op::JEQ => Some(false),
        op::JNE => Some(true),
        _ => None,
    }
}

/// The same for a number that is compared with itself (`is_scalar_branch_taken`).
fn predict_self(opcode: u8) -> Option<bool> {
    match opcode {
        op::JEQ | op::JGE | op::JLE | op::JSGE | op::JSLE => Some(true),
        op::JNE | op::JGT | op::JLT | op::JSGT | op::JSLT => Some(false),
        _ => None,
    }
}

impl Verifier<'_> {
    /// One conditional jump or may_goto.
    pub(crate) fn check_cond_jmp_op(&mut self, insn: Insn) -> Step {
        if insn.op() == op::JA || insn.op() > op::JCOND {
            return Err(Reject::inval(Kind::InvalidJmpOpcode { opcode: insn.op() }));
        }
        if insn.op() == op::JCOND {
            return self.check_may_goto(insn);
        }
        self.check_src(insn.dst)?;
        let is_reg = insn.is_src_reg();
        if is_reg {
            if insn.imm != 0 {
                return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_JMP/JMP32" }));
            }
            self.check_src(insn.src)?;
        } else if insn.src != 0 {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_JMP/JMP32" }));
        }
        let is_32 = insn.class() == op::JMP32;
        let dst = *self.reg(insn.dst.into());
        let src = if is_reg {
            *self.reg(insn.src.into())
        } else {
            RegState::known(insn.imm as i64 as u64)
        };
        let on_stack = |reg: &RegState| reg.ty == RegType::PtrToStack;
        self.note_stack_operands([on_stack(&dst), is_reg && on_stack(&src)]);
        let itself = is_reg && insn.dst == insn.src && dst.is_scalar();
        let taken = match itself && self.cat.has(Features::COMPARE_WITH_SELF) {
            true => predict_self(insn.op()).or_else(|| predict(insn.op(), is_32, &dst, &src)),
            false => predict(insn.op(), is_32, &dst, &src),
        };
        if let Some(taken) = taken {
            if dst.is_scalar() {
                self.mark_reg_precise(insn.dst.into())?;
            }
            if is_reg && src.is_scalar() {
                self.mark_reg_precise(insn.src.into())?;
            }
            return Ok(self.follow_branch(insn, taken));
        }
        self.split(insn, dst, src)?;
        Ok(self.follow_branch(insn, false))
    }

    /// Notes which way the walk goes on and sets the next slot.
    fn follow_branch(&mut self, insn: Insn, taken: bool) -> Flow {
        let at = self.insn_idx;
        self.branches_seen[at as usize] |= if taken { 2 } else { 1 };
        self.note_step(PathStep::Branch { insn_idx: at, taken });
        if !taken {
            return Flow::Next;
        }
        self.insn_idx = (i64::from(at) + i64::from(insn.off) + 1) as u32;
        Flow::Jumped
    }

    /// Puts the taken branch aside; both branches learn from the condition.
    fn split(&mut self, insn: Insn, dst: RegState, src: RegState) -> Res<()> {
        let is_reg = insn.is_src_reg();
        let is_32 = insn.class() == op::JMP32;
        let mut linked = LinkedRegs::default();
        if is_reg && src.is_scalar() && src.id != 0 {
            collect_linked_regs(&mut self.cur, src.id, &mut linked);
        }
        if dst.is_scalar() && dst.id != 0 {
            collect_linked_regs(&mut self.cur, dst.id, &mut linked);
        }
        if linked.count > 1 {
            self.push_jmp_history(None, linked);
        }
        let mut other = self.cur.clone();
        let same = is_reg && insn.dst == insn.src;
        if dst.is_scalar() && src.is_scalar() && !same {
            for (state, taken) in [(&mut other, true), (&mut self.cur, false)] {
                let (mut a, mut b) = (dst.bounds, src.bounds);
                refine(insn.op(), is_32, taken, &mut a, &mut b);
                learn(state, insn.dst.into(), a, &linked);
                if is_reg {
                    learn(state, insn.src.into(), b, &linked);
                }
            }
            if is_reg {
                // What the second operand taught its links may concern the first as well.
                for state in [&mut other, &mut self.cur] {
                    sync_from(state, insn.src.into(), &linked);
                    sync_from(state, insn.dst.into(), &linked);
                }
            } else {
                sync_from(&mut other, insn.dst.into(), &linked);
                sync_from(&mut self.cur, insn.dst.into(), &linked);
            }
        }
        if !is_32 {
            self.learn_nullness(insn, &dst, &src, &mut other);
            if is_reg {
                self.learn_packet_range(insn, &dst, &src, &mut other);
            }
        }
        let at = self.insn_idx;
        self.branches_seen[at as usize] |= 2;
        let target = (i64::from(at) + i64::from(insn.off) + 1) as u32;
        self.push_stack(other, target, at)?;
        self.note_pushed(PathStep::Branch { insn_idx: at, taken: true });
        Ok(())
    }

    fn learn_nullness(
        &mut self,
        insn: Insn,
        dst: &RegState,
        src: &RegState,
        other: &mut VerifierState,
    ) {
        let eq = insn.op() == op::JEQ;
        if !eq && insn.op() != op::JNE {
            return;
        }
        let known = Known { input: self.input, maps: &self.map_btf, objects: &self.objects };
        if insn.is_src_reg() {
            let pointers = self.cat.has(Features::POINTER_NULLNESS)
                && dst.is_pointer()
                && src.is_pointer()
                && dst.maybe_null() != src.maybe_null();
            if !pointers || dst.ty == RegType::PtrToBtfId || src.ty == RegType::PtrToBtfId {
                return;
            }
            let regno = usize::from(if src.maybe_null() { insn.src } else { insn.dst });
            let state = if eq { other } else { &mut self.cur };
            let mut reg = *state.reg(regno);
            nullness::mark_ptr_not_null(&known, &mut reg);
            *state.reg_mut(regno) = reg;
        } else if insn.imm == 0 && dst.maybe_null() {
            nullness::mark_ptr_or_null_regs(&known, &mut self.cur, insn.dst.into(), !eq);
            nullness::mark_ptr_or_null_regs(&known, other, insn.dst.into(), eq);
        }
    }

    fn check_may_goto(&mut self, insn: Insn) -> Step {
        if insn.code != (op::JMP | op::JCOND) || insn.src != 0 || insn.dst != 0 || insn.imm != 0 {
            return Err(Reject::inval(Kind::InvalidMayGoto { imm: insn.imm }));
        }
        let at = self.insn_idx;
        let mut queued = self.cur.clone();
        queued.may_goto_depth += 1;
        if let Some(prev) = self.find_prev_entry(at) {
            self.widen_imprecise_scalars(prev, &mut queued);
        }
        self.branches_seen[at as usize] |= 3;
        // The kernel takes a full stack for a lack of memory here.
        self.push_stack(queued, at + 1, at).map_err(|mut e| {
            if !self.cat.has(Features::JMP_SEQ_E2BIG) {
                e.errno = errno::ENOMEM;
            }
            e
        })?;
        self.insn_idx = (i64::from(at) + i64::from(insn.off) + 1) as u32;
        Ok(Flow::Jumped)
    }
}

fn learn(state: &mut VerifierState, regno: usize, bounds: Bounds, _linked: &LinkedRegs) {
    state.reg_mut(regno).bounds = bounds;
}

fn sync_from(state: &mut VerifierState, regno: usize, linked: &LinkedRegs) {
    let known = *state.reg(regno);
    if known.is_scalar() && known.id != 0 {
        sync_linked_regs(state, &known, (state.curframe() as u8, regno as u8), linked);
    }
}

/// Finds the registers and slots whose id is `id`; those that find no room lose it
/// (`collect_linked_regs`).
fn collect_linked_regs(state: &mut VerifierState, id: u32, linked: &mut LinkedRegs) {
    let id = id & !ADD_CONST;
    let matches = |reg: &RegState| reg.is_scalar() && reg.id & !ADD_CONST == id;
    for frame in (0..state.frames.len()).rev() {
        let func = &state.frames[frame];
        let any = func.regs.iter().any(matches)
            || func.stack.iter().any(|s| s.is_spilled() && matches(&s.spilled));
        if !any {
            continue;
        }
        let func = Rc::make_mut(&mut state.frames[frame]);
        // Both operands of one id enter twice, as in the kernel: that leaves less room.
        for (index, reg) in func.regs.iter_mut().enumerate().take(10).filter(|(_, r)| matches(r)) {
            let entry = LinkedReg { frame: frame as u8, is_reg: true, index: index as u8 };
            if !linked.push(entry) {
                (reg.id, reg.off) = (0, 0);
            }
        }
        for (index, slot) in
            func.stack.iter_mut().enumerate().filter(|(_, s)| s.is_spilled() && matches(&s.spilled))
        {
            let entry = LinkedReg { frame: frame as u8, is_reg: false, index: index as u8 };
            if !linked.push(entry) {
                (slot.spilled.id, slot.spilled.off) = (0, 0);
            }
        }
    }
}

/// Lets every linked register know what `known` knows (`sync_linked_regs`).
fn sync_linked_regs(
    state: &mut VerifierState,
    known: &RegState,
    at: (u8, u8),
    linked: &LinkedRegs,
) {
    for entry in linked.as_slice() {
        if entry.is_reg && (entry.frame, entry.index) == at {
            continue;
        }
        let func = state.frame_mut(entry.frame.into());
        let reg = if entry.is_reg {
            &mut func.regs[usize::from(entry.index)]
        } else {
            &mut func.stack[usize::from(entry.index)].spilled
        };
        if !reg.is_scalar() || (reg.id ^ known.id) & !ADD_CONST != 0 {
            continue;
        }
        // A difference of 64-bit and one of 32-bit arithmetic say nothing of each other.
        if (reg.id ^ known.id) & ADD_CONST == ADD_CONST {
            continue;
        }
        let plain = (reg.id | known.id) & ADD_CONST == 0;
        if plain || reg.off == known.off {
            *reg = *known;
            continue;
        }
        let delta = i64::from(reg.off) - i64::from(known.off);
        // A 32-bit link is made only where the upper halves are 0: they stay so on both sides.
        reg.bounds = known.bounds.plus(delta, (reg.id | known.id) & ADD_CONST32 != 0);
        reg.precise = known.precise;
    }
}
