//! Is a thread in our code, or will it come back to it?

use super::state::State;
use crate::proc::Maps;
use crate::ptrace::{Stop, Thread};
use crate::tramp::MARKER;
use std::ops::Range;

/// Bytes of a thread's stack that are searched.
const STACK: usize = 1 << 20;

/// What the threads of a stopped process do in our code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// A thread stands in a trampoline outside the calls it makes, or was interrupted there by a signal.
    pub between: Option<i32>,
    /// A thread is in a program or in what a program calls.
    pub running: Option<i32>,
}

impl Presence {
    /// A thread that is in our code.
    pub fn any(&self) -> Option<i32> {
        self.between.or(self.running)
    }
}

impl State {
    /// Looks at all threads.
    pub fn presence(&self, stop: &Stop) -> Presence {
        let mut found = Presence::default();
        let regions: Vec<Range<u64>> = self.regions.iter().map(|r| r.code()).collect();
        let windows: Vec<Range<u64>> = self.windows.iter().map(|w| w.range()).collect();
        let mut returns: Vec<u64> = self
            .sites
            .values()
            .map(|s| &s.block)
            .chain(&self.retired)
            .flat_map(|b| b.returns.clone())
            .collect();
        returns.sort_unstable();
        let maps = Maps::of(self.pid).unwrap_or_default();
        let anonymous: Vec<Range<u64>> = maps
            .0
            .iter()
            .filter(|m| m.exec && !m.is_file() && m.name.is_empty())
            .map(|m| m.start..m.end)
            .collect();
        let within = |ranges: &[Range<u64>], addr: u64| ranges.iter().any(|r| r.contains(&addr));
        for thread in stop.threads() {
            if within(&regions, thread.regs.rip) {
                found.between = Some(thread.tid);
            } else if within(&windows, thread.regs.rip) {
                found.running = Some(thread.tid);
            }
            let stack = self.memory.read_some(thread.regs.rsp & !7, STACK);
            let words: Vec<u64> = stack
                .chunks_exact(8)
                .map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default()))
                .collect();
            if self.in_foreign_code(thread, &words, &anonymous) {
                found.between = Some(thread.tid);
            }
            for (i, &word) in words.iter().enumerate() {
                if !within(&regions, word) || self.is_replaced_return(word) {
                    continue;
                }
                if returns.binary_search(&word).is_err() {
                    found.between = Some(thread.tid);
                } else if words.get(i + 1) == Some(&(i64::from(MARKER) as u64)) {
                    found.running = Some(thread.tid);
                }
            }
        }
        found
    }

    /// A thread in trampolines of another tracer: there a return address that is a trampoline of ours may be in a register.
    fn in_foreign_code(&self, thread: &Thread, stack: &[u64], anonymous: &[Range<u64>]) -> bool {
        let of = |addr: u64| {
            let candidate =
                anonymous.iter().any(|r| r.contains(&addr)) && self.region_of(addr).is_none();
            if candidate { self.foreign_region(addr) } else { None }
        };
        // In the routines no call is made: an address in them is an interrupted instruction.
        let interrupted = |word: u64| of(word).is_some_and(|r| r.routine_range().contains(&word));
        of(thread.regs.rip).is_some() || stack.iter().any(|&word| interrupted(word))
    }

    /// A replaced return address: the table of its region knows it.
    fn is_replaced_return(&self, addr: u64) -> bool {
        self.sites.values().map(|s| &s.block).chain(&self.retired).any(|b| b.ret_at == Some(addr))
    }
}
