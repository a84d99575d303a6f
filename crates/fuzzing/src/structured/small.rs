//! Findings made small.

use stylet_insn::{Insn, opcode::*};

use super::Program;

impl Program {
    /// The smallest program that `still` holds for and that differs from this one only in instructions that do nothing now.
    /// `still` must hold for this one.
    pub fn minimised(&self, mut still: impl FnMut(&Program) -> bool) -> Program {
        let mut best = self.clone();
        loop {
            let before = best.clone();
            for at in (0..best.insns.len()).rev() {
                if !is_removable(&best, at) {
                    continue;
                }
                let mut next = best.clone();
                let width = if next.insns[at].is_lddw() { 2 } else { 1 };
                next.insns[at..at + width].fill(Insn::ja(0));
                if still(&next) {
                    best = next;
                }
            }
            if best.insns == before.insns {
                return best;
            }
        }
    }
}

fn is_removable(program: &Program, at: usize) -> bool {
    let insn = program.insns[at];
    let is_second = at > 0 && program.insns[at - 1].is_lddw();
    !is_second && insn != Insn::ja(0) && insn.code != JMP | EXIT
}
