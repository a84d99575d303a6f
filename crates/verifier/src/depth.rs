//! The stack of whole call chains (`check_max_stack_depth`).

use stylet_catalog::Features;
use stylet_uapi::{ProgType, errno};

use crate::cfg::is_pseudo_func;
use crate::check::exception::THROW;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};
use crate::state::MAX_CALL_FRAMES;

/// Stack that a JIT lays out for a function.
fn round_up(depth: u32) -> u32 {
    depth.next_multiple_of(16)
}

/// Which functions get a stack of their own (`enum priv_stack_mode`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum PrivStack {
    Unknown,
    No,
    Adaptive,
}

/// A place to come back to.
struct Frame {
    subprog: usize,
    next_insn: u32,
}

struct Chain {
    private: alloc::vec::Vec<PrivStack>,
    depth: u32,
    max: u32,
    frames: alloc::vec::Vec<Frame>,
    at: u32,
    subprog: usize,
}

impl Verifier<'_> {
    fn may_use_private_stack(&self) -> bool {
        let by_type = matches!(
            self.input.prog_type,
            ProgType::KPROBE
                | ProgType::TRACEPOINT
                | ProgType::PERF_EVENT
                | ProgType::RAW_TRACEPOINT
        );
        by_type
            && self.cat.has(Features::PRIV_STACK)
            && !self.subprogs.iter().any(|s| s.has_tail_call)
    }

    /// No call chain needs more than the kernel's stack allows.
    pub(crate) fn check_max_stack_depth(&mut self) -> Res<()> {
        let supported = self.may_use_private_stack();
        let private = alloc::vec![if supported { PrivStack::Unknown } else { PrivStack::No }; self.subprogs.len()];
        let mut chain =
            Chain { private, depth: 0, max: 0, frames: alloc::vec::Vec::new(), at: 0, subprog: 0 };
        for cb in (1..self.subprogs.len()).rev().filter(|s| self.subprogs[*s].is_async_cb) {
            // They use the kernel's stack, and so does what they call.
            (chain.subprog, chain.at, chain.depth) = (cb, self.subprogs[cb].start, 0);
            self.enter_function(&mut chain, false)?;
            self.walk_calls(&mut chain, false)?;
        }
        (chain.subprog, chain.at, chain.depth) = (0, 0, 0);
        self.enter_function(&mut chain, supported)?;
        self.walk_calls(&mut chain, supported)?;
        if let Some(cb) = self.exception_cb {
            (chain.subprog, chain.at, chain.depth) = (cb, self.subprogs[cb].start, 0);
            self.enter_function(&mut chain, supported)?;
            self.walk_calls(&mut chain, supported)?;
        }
        self.facts.max_stack = chain.max;
        Ok(())
    }

    /// Follows every call from the function that `chain` is in.
    fn walk_calls(&self, chain: &mut Chain, supported: bool) -> Res<()> {
        loop {
            let end = self.subprogs[chain.subprog].end;
            let call = (chain.at..end).find(|i| {
                let insn = self.insns[*i as usize];
                insn.is_pseudo_call() || is_pseudo_func(insn)
            });
            self.check_throws(chain, call.unwrap_or(end))?;
            if let Some(i) = call {
                let start = i.wrapping_add(self.insns[i as usize].imm as u32).wrapping_add(1);
                let Some(callee) = self.find_subprog(start) else {
                    return Err(Reject::bug("call of no function"));
                };
                let runs_later = self.subprogs[callee].is_async_cb;
                if runs_later && !self.insns[i as usize].is_pseudo_call() {
                    chain.at = i + 1;
                    continue;
                }
                if self.exception_cb == Some(callee) {
                    if !self.insns[i as usize].is_pseudo_call() {
                        chain.at = i + 1;
                        continue;
                    }
                    return Err(Reject::inval(Kind::ExceptionCbCalled { insn: i }).at(i));
                }
                chain.frames.push(Frame { subprog: chain.subprog, next_insn: i + 1 });
                if chain.frames.len() >= MAX_CALL_FRAMES {
                    return Err(Reject::new(
                        errno::E2BIG,
                        Kind::CallChainTooDeep { frames: chain.frames.len() as u32 },
                    )
                    .at(i));
                }
                (chain.subprog, chain.at) = (callee, start);
                self.enter_function(chain, supported)?;
                continue;
            }
            let Some(frame) = chain.frames.pop() else { break };
            if chain.private[chain.subprog] != PrivStack::Adaptive {
                chain.depth -= round_up(self.subprogs[chain.subprog].stack_depth);
            }
            (chain.subprog, chain.at) = (frame.subprog, frame.next_insn);
        }
        Ok(())
    }

    /// Nothing up to slot `to` throws out of a callback.
    fn check_throws(&self, chain: &Chain, to: u32) -> Res<()> {
        let is_cb = |s: usize| self.subprogs[s].is_cb || self.exception_cb == Some(s);
        if !is_cb(chain.subprog) && !chain.frames.iter().any(|f| is_cb(f.subprog)) {
            return Ok(());
        }
        let throws = |i: &u32| {
            let insn = self.insns[*i as usize];
            insn.is_kfunc_call()
                && self.kfuncs.get(&(insn.imm as u32)).is_some_and(|k| k.name == THROW)
        };
        match (chain.at..to).find(throws) {
            Some(insn) => {
                let subprog = chain.subprog as u32;
                Err(Reject::inval(Kind::ThrowFromCallback { insn, subprog }).at(insn))
            }
            None => Ok(()),
        }
    }

    fn enter_function(&self, chain: &mut Chain, supported: bool) -> Res<()> {
        let limit = self.cat.limits;
        let info = &self.subprogs[chain.subprog];
        if chain.subprog != 0 && info.has_tail_call && chain.depth >= limit.tail_call_stack {
            return Err(Reject::acces(Kind::TailCallStack { bytes: chain.depth }).at(info.start));
        }
        let depth = round_up(info.stack_depth);
        if !supported {
            chain.private[chain.subprog] = PrivStack::No;
        } else if chain.private[chain.subprog] == PrivStack::Unknown
            && depth >= limit.priv_stack_min_size
        {
            chain.private[chain.subprog] = PrivStack::Adaptive;
        }
        let nested: u32 =
            chain.frames.iter().map(|f| round_up(self.subprogs[f.subprog].stack_depth)).sum();
        chain.max = chain.max.max(nested + depth);
        if chain.private[chain.subprog] == PrivStack::Adaptive {
            if depth > limit.max_bpf_stack {
                return Err(Reject::acces(Kind::SubprogStack {
                    subprog: chain.subprog as u32,
                    bytes: depth,
                }));
            }
            return Ok(());
        }
        chain.depth += depth;
        if chain.depth > limit.max_bpf_stack {
            return Err(Reject::acces(Kind::CombinedStack {
                calls: chain.frames.len() as u32 + 1,
                bytes: chain.depth,
            }));
        }
        Ok(())
    }
}
