//! Rotations: `(x << n) | (x >> (bits - n))` is one instruction of the machine, five of BPF.

use crate::liveness::{defs, uses};
use stylet_insn::{Insn, opcode as op};

/// What to do with a slot instead of what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    Normal,
    /// Nothing: a later rotation does it.
    Skip,
    /// Rotate dst left by so much.
    Rotate(u8),
}

/// Slots before the `or` that are looked at.
const WINDOW: usize = 16;

/// A stretch of straight-line code.
struct Block<'a> {
    insns: &'a [Insn],
    start: usize,
}

impl Block<'_> {
    /// The last slot before `at` that writes `r`.
    fn last_def(&self, r: u8, at: usize) -> Option<usize> {
        (self.start..at).rev().find(|&i| defs(self.insns[i]) & 1 << r != 0)
    }

    /// Where the value of `r` before slot `at` comes from: register and the slot that wrote it; copies are looked through.
    fn origin(&self, r: u8, at: usize) -> (u8, Option<usize>) {
        let def = self.last_def(r, at);
        match def.map(|i| (i, self.insns[i])) {
            Some((i, insn)) if insn.code == op::ALU64 | op::MOV | op::X && insn.off == 0 => {
                (insn.src, self.last_def(insn.src, i))
            }
            _ => (r, def),
        }
    }

    /// The shift by an immediate that gives `r` before slot `at`, when nothing else reads it in between.
    fn shift(&self, r: u8, at: usize, class: u8) -> Option<usize> {
        let i = self.last_def(r, at)?;
        let insn = self.insns[i];
        let is_shift =
            matches!(insn.op(), op::LSH | op::RSH) && insn.class() == class && !insn.is_src_reg();
        let unread = (i + 1..at).all(|k| uses(self.insns[k]) & 1 << r == 0);
        (is_shift && unread).then_some(i)
    }

    /// The two shifts that the `or` in slot `at` makes a rotation of, and by how much to the left.
    fn rotation(&self, at: usize) -> Option<(usize, usize, u8)> {
        let or = self.insns[at];
        let bits = if or.class() == op::ALU64 { 64 } else { 32 };
        let (p, q) = (self.shift(or.dst, at, or.class())?, self.shift(or.src, at, or.class())?);
        let (a, b) = (self.insns[p], self.insns[q]);
        let opposite =
            a.op() != b.op() && a.imm > 0 && b.imm > 0 && a.imm.checked_add(b.imm) == Some(bits);
        let same = self.origin(or.dst, p) == self.origin(or.src, q);
        let left = if a.op() == op::LSH { a.imm } else { b.imm };
        (opposite && same).then_some((p, q, left as u8))
    }
}

/// Plans for the slots of the function `start..end`; `targets` are the slots that jumps go to.
pub(crate) fn plan(
    insns: &[Insn],
    start: usize,
    end: usize,
    targets: &[bool],
    live_out: &[u16],
) -> Vec<Plan> {
    let mut plans = vec![Plan::Normal; end - start];
    let mut block = start;
    for at in start..end {
        if targets[at] {
            block = at;
        }
        let insn = insns[at];
        if matches!(insn.class(), op::JMP | op::JMP32) {
            block = at + 1;
        }
        let is_or =
            matches!(insn.class(), op::ALU | op::ALU64) && insn.op() == op::OR && insn.is_src_reg();
        if !is_or || insn.dst == insn.src || live_out[at - start] & 1 << insn.src != 0 {
            continue;
        }
        let window = Block { insns, start: block.max(at.saturating_sub(WINDOW)) };
        if let Some((p, q, left)) = window.rotation(at)
            && plans[p - start] == Plan::Normal
            && plans[q - start] == Plan::Normal
        {
            plans[p - start] = Plan::Skip;
            plans[q - start] = Plan::Skip;
            plans[at - start] = Plan::Rotate(left);
        }
    }
    plans
}
