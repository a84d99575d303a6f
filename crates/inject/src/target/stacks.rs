//! What lies on the stacks of a stopped process.

use crate::proc::Memory;
use crate::ptrace::Stop;
use crate::site::Plan;

/// Bytes of a thread's stack in which return addresses and interrupted contexts are looked for.
const STACK: usize = 256 << 10;

/// The words on all stacks.
pub struct Stacks {
    /// (word, thread), sorted.
    words: Vec<(u64, i32)>,
}

impl Stacks {
    /// Reads them.
    pub fn of(memory: &Memory, stop: &Stop) -> Stacks {
        let mut words = Vec::new();
        for thread in stop.threads() {
            let stack = memory.read_some(thread.regs.rsp & !7, STACK);
            let all =
                stack.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default()));
            // Small numbers are no addresses.
            words.extend(all.filter(|&w| w > 0xffff).map(|w| (w, thread.tid)));
        }
        words.sort_unstable();
        Stacks { words }
    }

    /// A thread that may come back into the middle of the jump: it stands between two instructions that are not moved, or
    /// a signal handler of its has interrupted it there.
    pub fn user_of(&self, stop: &Stop, plan: &Plan) -> Option<i32> {
        let inside = plan.inside();
        let movable = |ip: u64| plan.displaced.iter().any(|i| i.ip() == ip);
        let standing =
            stop.threads().iter().find(|t| inside.contains(&t.regs.rip) && !movable(t.regs.rip));
        let first = self.words.partition_point(|(word, _)| *word < inside.start);
        let interrupted = self.words.get(first).filter(|(word, _)| inside.contains(word));
        standing.map(|t| t.tid).or(interrupted.map(|(_, tid)| *tid))
    }
}
