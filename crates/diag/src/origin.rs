//! Where the value at fault came from: the instructions that made it, found backwards along the path that the verifier walked.

use crate::Finding;
use stylet_insn::{Insn, opcode as op};
use stylet_verifier::{PathStep, ProgInput};

/// The frame pointer.
const FP: u8 = 10;
/// Slots of a path that are looked at; longer ones are not followed.
const MAX_TRACE: usize = 1 << 16;
/// Instructions shown of a value's making.
const MAX_ORIGIN: usize = 8;

/// A slot that ran, and in which frame.
#[derive(Clone, Copy)]
struct Ran {
    insn_idx: u32,
    frame: usize,
}

/// What the search looks for: a register of a frame, or eight bytes of its stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Reg(usize, u8),
    Slot(usize, i16),
}

/// Slots of the instructions that made the register to blame, oldest first, without the failing one. Empty when the message names no
/// register, the path is not known, or it is too long.
pub(crate) fn origin(input: &ProgInput<'_>, finding: &Finding) -> Vec<u32> {
    let Some(reg) = blamed(input, finding) else { return Vec::new() };
    let Some(trace) = trace(input, finding) else { return Vec::new() };
    let Some((last, before)) = trace.split_last() else { return Vec::new() };
    let mut wanted = vec![Wanted::Reg(last.frame, reg)];
    let mut found = Vec::new();
    for (at, ran) in before.iter().enumerate().rev() {
        let Some(&insn) = input.insns.get(ran.insn_idx as usize) else { break };
        let next_frame = trace[at + 1].frame;
        if step(insn, *ran, next_frame, &mut wanted) && !found.contains(&ran.insn_idx) {
            found.push(ran.insn_idx);
        }
        if wanted.is_empty() || found.len() >= MAX_ORIGIN {
            break;
        }
    }
    found.reverse();
    found
}

/// The register that the message or the instruction is about.
fn blamed(input: &ProgInput<'_>, finding: &Finding) -> Option<u8> {
    let words = || finding.message.split(|c: char| !c.is_ascii_alphanumeric());
    let named = words().find_map(|w| w.strip_prefix('R')?.parse::<u8>().ok().filter(|r| *r < 11));
    let insn = input.insns.get(finding.insn_idx as usize)?;
    named.or_else(|| match insn.class() {
        op::LDX => Some(insn.src),
        op::ST | op::STX => Some(insn.dst),
        _ => None,
    })
}

/// The slots that ran, from the entry to the one to blame; `None` when the path does not lead there.
fn trace(input: &ProgInput<'_>, finding: &Finding) -> Option<Vec<Ran>> {
    // A global function is verified by itself: the walk starts there.
    let first = finding.path.first().map_or(finding.insn_idx, step_at);
    let own = input.func_info.iter().rev().map(|f| f.insn_idx).find(|start| *start <= first);
    trace_from(0, input, finding).or_else(|| trace_from(own?, input, finding))
}

fn trace_from(start: u32, input: &ProgInput<'_>, finding: &Finding) -> Option<Vec<Ran>> {
    let mut steps = finding.path.iter().peekable();
    let (mut at, mut frame) = (start, 0usize);
    let mut ran = Vec::new();
    loop {
        let insn = input.insns.get(at as usize)?;
        ran.push(Ran { insn_idx: at, frame });
        if at == finding.insn_idx && steps.peek().is_none() {
            return Some(ran);
        }
        if ran.len() > MAX_TRACE {
            return None;
        }
        let here = steps.next_if(|step| step_at(step) == at);
        let jump = |off: i64| u32::try_from(i64::from(at) + 1 + off).ok();
        at = match here {
            Some(PathStep::Branch { taken: true, .. }) => jump(i64::from(insn.off))?,
            Some(PathStep::Call { target, .. }) => {
                frame += 1;
                *target
            }
            Some(PathStep::Return { target, .. }) => {
                frame = frame.checked_sub(1)?;
                *target
            }
            Some(PathStep::Branch { taken: false, .. }) => at + 1,
            None if insn.class() == op::JMP && insn.op() == op::JA => jump(i64::from(insn.off))?,
            None if insn.class() == op::JMP32 && insn.op() == op::JA => jump(i64::from(insn.imm))?,
            // A decision that is not noted: the path is not known.
            None if matches!(insn.class(), op::JMP | op::JMP32)
                && (insn.op() != op::CALL || insn.is_pseudo_call()) =>
            {
                return None;
            }
            None if insn.is_lddw() => at + 2,
            None => at + 1,
        };
    }
}

fn step_at(step: &PathStep) -> u32 {
    match *step {
        PathStep::Branch { insn_idx, .. }
        | PathStep::Call { insn_idx, .. }
        | PathStep::Return { insn_idx, .. } => insn_idx,
    }
}

/// Replaces what `insn` made among the wanted by what it made it of; whether it made any of it.
fn step(insn: Insn, ran: Ran, next_frame: usize, wanted: &mut Vec<Wanted>) -> bool {
    let f = ran.frame;
    // Into a function: its arguments are the caller's registers. Out of one: R0 is its result.
    if next_frame > f {
        for w in wanted.iter_mut() {
            if let Wanted::Reg(frame, reg @ 1..=5) = *w
                && frame == next_frame
            {
                *w = Wanted::Reg(f, reg);
            }
        }
        wanted.retain(|w| !matches!(w, Wanted::Reg(frame, _) if *frame == next_frame));
        return false;
    }
    if next_frame < f {
        for w in wanted.iter_mut() {
            if *w == Wanted::Reg(next_frame, 0) {
                *w = Wanted::Reg(f, 0);
            }
        }
        return false;
    }
    let mut made = false;
    let mut sources: Vec<Wanted> = Vec::new();
    let reg = |r: u8| Wanted::Reg(f, r);
    match insn.class() {
        op::ALU | op::ALU64 => {
            made = take(wanted, reg(insn.dst));
            let unary = matches!(insn.op(), op::NEG | op::END);
            if made && insn.op() != op::MOV {
                sources.push(reg(insn.dst));
            }
            if made && !unary && insn.is_src_reg() {
                sources.push(reg(insn.src));
            }
        }
        op::LDX => {
            made = take(wanted, reg(insn.dst));
            if made && insn.src == FP {
                sources.push(Wanted::Slot(f, insn.off & !7));
            }
        }
        op::LD => made = take(wanted, reg(insn.dst)),
        op::ST | op::STX if insn.dst == FP => {
            made = take(wanted, Wanted::Slot(f, insn.off & !7));
            if made && insn.class() == op::STX {
                sources.push(reg(insn.src));
            }
        }
        op::JMP if insn.op() == op::CALL => {
            made = take(wanted, reg(0));
            // Gone after a call: nothing before it made them.
            wanted.retain(|w| !(1..=5).any(|r| *w == reg(r)));
        }
        _ => {}
    }
    // The frame pointer is nobody's making.
    sources.retain(|s| !matches!(s, Wanted::Reg(_, r) if *r == FP));
    for source in sources {
        if !wanted.contains(&source) {
            wanted.push(source);
        }
    }
    made
}

/// Takes one out of the wanted; whether it was there.
fn take(wanted: &mut Vec<Wanted>, what: Wanted) -> bool {
    let before = wanted.len();
    wanted.retain(|w| *w != what);
    wanted.len() != before
}
