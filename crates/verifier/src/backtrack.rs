//! Precision tracking: which earlier values a decision depended on (`mark_chain_precision`).

use crate::regs::{RegState, RegType};
mod wanted;

use crate::rejection::{Reject, Res};
use crate::state::{StateId, VerifierState};
use crate::states::StateArena;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::HelperId;

pub(crate) use wanted::{Backtrack, JmpHistEntry, LinkedReg, LinkedRegs};

/// Registers R1 to R5.
const REGMASK_ARGS: u32 = 0b111110;

/// What backtracking needs to know of the program.
pub(crate) struct ProgShape<'a> {
    pub insns: &'a [Insn],
    /// By slot: a helper that runs a callback at once.
    pub calls_callback: &'a dyn Fn(u32) -> bool,
    /// By target slot of a call: a function that is verified on its own.
    pub is_global: &'a dyn Fn(u32) -> bool,
}

/// Outcome of one step back.
enum Step {
    Ok,
    /// The instruction cannot be followed back: everything becomes precise.
    GiveUp,
}

/// One instruction back (`backtrack_insn`).
fn backtrack_insn(
    prog: &ProgShape<'_>,
    idx: u32,
    subseq: Option<u32>,
    hist: Option<&JmpHistEntry>,
    bt: &mut Backtrack,
) -> Res<Step> {
    let insn = prog.insns[idx as usize];
    if insn.code == 0 {
        return Ok(Step::Ok);
    }
    bt.sync_linked(hist);
    let step = match insn.class() {
        op::ALU | op::ALU64 => {
            backtrack_alu(insn, bt);
            Step::Ok
        }
        op::LDX => {
            backtrack_load(insn.dst, hist, bt);
            Step::Ok
        }
        op::STX | op::ST => backtrack_store(insn, hist, bt),
        op::JMP | op::JMP32 => {
            let stack_ptrs = hist.map_or([false; 2], |h| h.stack_ptrs);
            backtrack_jmp(prog, insn, idx, subseq, stack_ptrs, bt)?
        }
        _ => {
            let wanted = bt.has_reg(insn.dst);
            bt.clear_reg(insn.dst);
            if wanted && matches!(insn.mode(), op::IND | op::ABS) { Step::GiveUp } else { Step::Ok }
        }
    };
    bt.sync_linked(hist);
    Ok(step)
}

fn backtrack_alu(insn: Insn, bt: &mut Backtrack) {
    if !bt.has_reg(insn.dst) {
        return;
    }
    match insn.op() {
        op::END | op::NEG => {}
        op::MOV => {
            bt.clear_reg(insn.dst);
            if insn.is_src_reg() && insn.src != 10 {
                bt.set_reg(insn.src);
            }
        }
        _ => {
            if insn.is_src_reg() && insn.src != 10 {
                bt.set_reg(insn.src);
            }
        }
    }
}

fn backtrack_load(dst: u8, hist: Option<&JmpHistEntry>, bt: &mut Backtrack) {
    if !bt.has_reg(dst) {
        return;
    }
    bt.clear_reg(dst);
    if let Some((frame, slot)) = hist.and_then(|h| h.stack) {
        bt.set_frame_slot(usize::from(frame), usize::from(slot));
    }
}

fn backtrack_store(insn: Insn, hist: Option<&JmpHistEntry>, bt: &mut Backtrack) -> Step {
    if insn.class() == op::STX && insn.mode() == op::ATOMIC {
        let loaded = match insn.imm {
            op::LOAD_ACQ => Some(insn.dst),
            op::STORE_REL => None,
            op::CMPXCHG => Some(0),
            imm if imm & op::FETCH != 0 => Some(insn.src),
            _ => None,
        };
        if let Some(loaded) = loaded {
            backtrack_load(loaded, hist, bt);
            return Step::Ok;
        }
    }
    if bt.has_reg(insn.dst) {
        return Step::GiveUp;
    }
    let Some((frame, slot)) = hist.and_then(|h| h.stack) else { return Step::Ok };
    let (frame, bit) = (usize::from(frame), 1u64 << slot);
    if bt.slots[frame] & bit == 0 {
        return Step::Ok;
    }
    bt.slots[frame] &= !bit;
    if insn.class() == op::STX {
        bt.set_reg(insn.src);
    }
    Step::Ok
}

fn backtrack_jmp(
    prog: &ProgShape<'_>,
    insn: Insn,
    idx: u32,
    subseq: Option<u32>,
    [dst_on_stack, src_on_stack]: [bool; 2],
    bt: &mut Backtrack,
) -> Res<Step> {
    if insn.class() == op::JMP && insn.op() == op::CALL {
        return backtrack_call(prog, insn, idx, subseq, bt);
    }
    if insn.class() == op::JMP && insn.op() == op::EXIT {
        return backtrack_exit(prog, subseq, bt);
    }
    let conditional = !matches!(insn.op(), op::JA | op::JCOND);
    if conditional && insn.is_src_reg() && (bt.has_reg(insn.dst) || bt.has_reg(insn.src)) {
        if !dst_on_stack {
            bt.set_reg(insn.dst);
        }
        if !src_on_stack {
            bt.set_reg(insn.src);
        }
    }
    Ok(Step::Ok)
}

fn backtrack_call(
    prog: &ProgShape<'_>,
    insn: Insn,
    idx: u32,
    subseq: Option<u32>,
    bt: &mut Backtrack,
) -> Res<Step> {
    let leaves_callee = subseq != Some(idx + 1);
    if insn.is_pseudo_call() {
        let target = idx.wrapping_add(insn.imm as u32).wrapping_add(1);
        if (prog.is_global)(target) {
            if bt.reg_mask() & REGMASK_ARGS != 0 {
                return Err(Reject::bug("global function call with unexpected registers"));
            }
            bt.clear_reg(0);
            return Ok(Step::Ok);
        }
        if bt.reg_mask() & !REGMASK_ARGS != 0 || bt.slots[bt.frame] != 0 {
            return Err(Reject::bug("static function call with leftover registers or slots"));
        }
        let args = bt.reg_mask() & REGMASK_ARGS;
        bt.regs[bt.frame] = 0;
        bt.exit()?;
        bt.regs[bt.frame] |= args;
        return Ok(Step::Ok);
    }
    if leaves_callee && (prog.calls_callback)(idx) {
        if bt.reg_mask() & !REGMASK_ARGS != 0 || bt.slots[bt.frame] != 0 {
            return Err(Reject::bug("callback with leftover registers or slots"));
        }
        bt.regs[bt.frame] = 0;
        bt.exit()?;
        return Ok(Step::Ok);
    }
    bt.clear_reg(0);
    if bt.reg_mask() & REGMASK_ARGS != 0 {
        return Err(Reject::bug("backtracking a call with unexpected registers"));
    }
    // A tail call that succeeded left its function: what follows ran in the caller.
    if leaves_callee && insn.is_helper_call() && insn.imm == HelperId::TAIL_CALL.0 as i32 {
        bt.enter()?;
    }
    Ok(Step::Ok)
}

fn backtrack_exit(prog: &ProgShape<'_>, subseq: Option<u32>, bt: &mut Backtrack) -> Res<Step> {
    if subseq.is_some_and(|s| (prog.calls_callback)(s)) {
        bt.regs[bt.frame] &= !REGMASK_ARGS;
    }
    if bt.reg_mask() & REGMASK_ARGS != 0 {
        return Err(Reject::bug("backtracking an exit with unexpected registers"));
    }
    let after_call = subseq
        .and_then(|s| s.checked_sub(1))
        .is_some_and(|s| prog.insns[s as usize].is_pseudo_call());
    let r0_precise = after_call && bt.has_reg(0);
    bt.clear_reg(0);
    bt.enter()?;
    if r0_precise {
        bt.set_reg(0);
    }
    Ok(Step::Ok)
}

/// The step before `i` in `history[..*left]` (`get_prev_insn_idx`); `None` at the checkpoint.
fn prev_insn_idx(st: &VerifierState, i: u32, left: &mut usize) -> Option<u32> {
    let last = left.checked_sub(1).map(|n| &st.history[n]);
    if i == st.first_insn_idx {
        match (*left, last) {
            (0, _) => return None,
            (1, Some(entry)) if entry.idx == i => return None,
            _ => {}
        }
    }
    match last {
        Some(entry) if entry.idx == i => {
            *left -= 1;
            Some(entry.prev_idx)
        }
        _ => Some(i.wrapping_sub(1)),
    }
}

/// Marks, in the checkpoints that `start` continues, everything that the registers and slots of
/// `bt` depend on. `start` itself needs no marks: it is no checkpoint.
/// Returns whether a mark was added.
pub(crate) fn mark_chain_precision(
    prog: &ProgShape<'_>,
    states: &mut StateArena,
    start: &VerifierState,
    mut bt: Backtrack,
) -> Res<bool> {
    let mut changed = false;
    let mut at: Option<StateId> = None;
    let (mut last_idx, mut first_idx) = (start.insn_idx, start.first_insn_idx);
    let mut subseq: Option<u32> = None;
    let mut skip_first = true;
    if bt.is_empty() {
        return Ok(false);
    }
    loop {
        {
            let st = at.map_or(start, |id| &states[id]);
            let mut left = st.history.len();
            let mut i = last_idx;
            if i == u32::MAX {
                return mark_global_args(states, at, bt, changed);
            }
            loop {
                if skip_first {
                    skip_first = false;
                } else {
                    let hist = left.checked_sub(1).map(|n| &st.history[n]).filter(|h| h.idx == i);
                    if let Step::GiveUp = backtrack_insn(prog, i, subseq, hist, &mut bt)? {
                        mark_all_scalars_precise(states, start.parent);
                        return Ok(true);
                    }
                }
                if bt.is_empty() {
                    return Ok(changed);
                }
                subseq = Some(i);
                match prev_insn_idx(st, i, &mut left) {
                    Some(prev) => i = prev,
                    None => break,
                }
                if i as usize >= prog.insns.len() {
                    return Err(Reject::bug("backtracking leaves the program"));
                }
            }
        }
        at = at.map_or(start.parent, |id| states[id].parent);
        let Some(id) = at else { break };
        changed |= mark_state(&mut states[id], &mut bt)?;
        if bt.is_empty() {
            return Ok(changed);
        }
        subseq = Some(first_idx);
        last_idx = states[id].last_insn_idx;
        first_idx = states[id].first_insn_idx;
    }
    mark_all_scalars_precise(states, start.parent);
    Ok(true)
}

/// The walk is at the entry of a global function: what is left must be its arguments.
fn mark_global_args(
    states: &mut StateArena,
    at: Option<StateId>,
    bt: Backtrack,
    changed: bool,
) -> Res<bool> {
    let only_args = bt.frame == 0 && bt.slots[0] == 0 && bt.regs[0] & !REGMASK_ARGS == 0;
    let Some(id) = at else { return Err(Reject::bug("backtracking starts before the program")) };
    let st = &mut states[id];
    if st.frames.len() != 1 || st.frames[0].subprogno == 0 || !only_args {
        return Err(Reject::bug("backtracking reached the entry with leftover registers"));
    }
    let frame = st.frame_mut(0);
    for regno in (1..=5usize).filter(|r| bt.regs[0] & (1 << r) != 0) {
        if frame.regs[regno].is_scalar() {
            frame.regs[regno].precise = true;
        }
    }
    Ok(changed)
}

/// Marks what `bt` asks for in one checkpoint and drops from `bt` what was marked already.
fn mark_state(st: &mut VerifierState, bt: &mut Backtrack) -> Res<bool> {
    let mut changed = false;
    for frame in (0..=bt.frame).rev() {
        let Some(func) = st.frames.get(frame) else {
            return Err(Reject::bug("backtracking finds no frame"));
        };
        let mut mark_regs = 0u32;
        let wanted = bt.regs[frame];
        for regno in (0..10usize).filter(|r| wanted & (1 << r) != 0) {
            let reg = &func.regs[regno];
            if !reg.is_scalar() || reg.precise {
                bt.regs[frame] &= !(1 << regno);
            } else {
                mark_regs |= 1 << regno;
            }
        }
        let mut mark_slots = 0u64;
        let wanted = bt.slots[frame];
        for slot in (0..64usize).filter(|s| wanted & (1 << s) != 0) {
            let Some(place) = func.stack.get(slot) else {
                return Err(Reject::bug("stack slot out of bounds in backtracking"));
            };
            if !place.is_spilled_scalar() || place.spilled.precise {
                bt.slots[frame] &= !(1 << slot);
            } else {
                mark_slots |= 1 << slot;
            }
        }
        if mark_regs == 0 && mark_slots == 0 {
            continue;
        }
        changed = true;
        let func = st.frame_mut(frame);
        (0..10usize)
            .filter(|r| mark_regs & (1 << r) != 0)
            .for_each(|r| func.regs[r].precise = true);
        (0..64usize)
            .filter(|s| mark_slots & (1 << s) != 0)
            .for_each(|s| func.stack[s].spilled.precise = true);
    }
    Ok(changed)
}

/// Marks every scalar of every checkpoint from `at` up.
pub(crate) fn mark_all_scalars_precise(states: &mut StateArena, mut at: Option<StateId>) {
    while let Some(id) = at {
        let st = &mut states[id];
        st.for_each_reg(|reg| {
            if reg.ty == RegType::Scalar {
                reg.precise = true;
            }
        });
        at = st.parent;
    }
}

/// Forgets the marks of a state that continues a checkpoint: they will be found again if they
/// matter (`mark_all_scalars_imprecise`).
pub(crate) fn mark_all_scalars_imprecise(st: &mut VerifierState) {
    let marked = |reg: &RegState| reg.ty == RegType::Scalar && reg.precise;
    for frame in 0..st.frames.len() {
        let func = &st.frames[frame];
        let any = func.regs.iter().any(marked)
            || func.stack.iter().any(|s| s.is_spilled_scalar() && marked(&s.spilled));
        if any {
            let func = st.frame_mut(frame);
            func.regs
                .iter_mut()
                .filter(|r| r.ty == RegType::Scalar)
                .for_each(|r| r.precise = false);
            func.stack
                .iter_mut()
                .filter(|s| s.is_spilled_scalar())
                .for_each(|s| s.spilled.precise = false);
        }
    }
}

/// Registers and slots of `old` that are precise: a state that it subsumes must treat them so
/// (`propagate_precision`, first half).
pub(crate) fn precise_parts(old: &VerifierState) -> Backtrack {
    let mut bt = Backtrack::new(old.curframe());
    for (frame, func) in old.frames.iter().enumerate() {
        for (regno, reg) in func.regs.iter().enumerate() {
            if reg.is_scalar() && reg.precise {
                bt.set_frame_reg(frame, regno);
            }
        }
        for (slot, place) in func.stack.iter().enumerate() {
            if place.is_spilled_scalar() && place.spilled.precise {
                bt.set_frame_slot(frame, slot);
            }
        }
    }
    bt
}

/// Marks what `regs` of the running frame depend on, for checkpoints that `start` continues.
pub(crate) fn request(start: &VerifierState, regs: &[usize]) -> Backtrack {
    let mut bt = Backtrack::new(start.curframe());
    for regno in regs.iter().copied().filter(|r| start.reg(*r).is_scalar()) {
        bt.set_frame_reg(start.curframe(), regno);
    }
    bt
}
