//! Which stack slots are read later: collected while the program is walked, for each function in
//! the context of its calls (kernel/bpf/liveness.c).

use alloc::vec;
use alloc::vec::Vec;
use hashbrown::HashMap;

use stylet_insn::Insn;

use crate::cfg::successors;
use crate::env::Verifier;
use crate::state::{MAX_CALL_FRAMES, StateId, VerifierState};

/// Slots of one frame, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Masks {
    may_read: u64,
    /// Slots that every visit of the instruction overwrites.
    must_write: u64,
    visited: bool,
    live_before: u64,
}

/// A function in the context of its calls.
#[derive(Debug)]
struct Instance {
    start: u32,
    /// The calling instance and the call instruction.
    outer: Option<(usize, u32)>,
    /// By frame, then by slot of the program relative to `start`.
    frames: Vec<Vec<Masks>>,
    order: Vec<u32>,
    dirty: bool,
}

/// Call sites from the main program down, then the function.
type Key = (Vec<u32>, u32);

/// All that is known of the stack's use.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    by_key: HashMap<Key, usize>,
    instances: Vec<Instance>,
    current: Option<usize>,
    current_key: Key,
    insn: u32,
    written: [u64; MAX_CALL_FRAMES],
    any_dirty: bool,
}

fn key_of(st: &VerifierState, depth: usize) -> Key {
    let callsites = st.frames[1..=depth].iter().map(|f| f.callsite).collect();
    (callsites, st.frames[depth].subprogno)
}

impl Liveness {
    /// Forgets everything: another function is walked.
    pub fn clear(&mut self) {
        *self = Liveness::default();
    }

    fn is_current(&self, st: &VerifierState) -> bool {
        let (callsites, subprog) = &self.current_key;
        self.current.is_some()
            && callsites.len() == st.curframe()
            && *subprog == st.cur().subprogno
            && callsites.iter().zip(&st.frames[1..]).all(|(c, f)| *c == f.callsite)
    }

    fn mark_read(&mut self, frame: usize, mask: u64) {
        let Some(current) = self.current else { return };
        let instance = &mut self.instances[current];
        let at = (self.insn - instance.start) as usize;
        let masks = &mut instance.frames[frame][at];
        if masks.may_read & mask != mask {
            masks.may_read |= mask;
            instance.dirty = true;
            self.any_dirty = true;
        }
    }

    /// The instruction is done: what it wrote on this visit.
    fn commit(&mut self) {
        let Some(current) = self.current else { return };
        let instance = &mut self.instances[current];
        let at = (self.insn - instance.start) as usize;
        for (frame, written) in self.written.iter().enumerate().take(instance.frames.len()) {
            let masks = &mut instance.frames[frame][at];
            let must = if masks.visited { masks.must_write & written } else { *written };
            if must != masks.must_write || !masks.visited {
                instance.dirty |= must != masks.must_write;
                self.any_dirty |= must != masks.must_write;
                masks.must_write = must;
                masks.visited = true;
            }
        }
        self.written = [0; MAX_CALL_FRAMES];
    }

    fn is_live(&self, instance: usize, insn: u32, frame: usize, spi: usize) -> bool {
        let instance = &self.instances[instance];
        let Some(masks) =
            insn.checked_sub(instance.start).and_then(|at| instance.frames[frame].get(at as usize))
        else {
            return true;
        };
        masks.live_before & (1 << spi) != 0
    }

    /// Computes what is live from what was read, the innermost functions first.
    fn refresh(&mut self, insns: &[Insn]) {
        while self.any_dirty {
            let dirty = (0..self.instances.len()).filter(|i| self.instances[*i].dirty);
            let Some(deepest) = dirty.max_by_key(|i| self.instances[*i].frames.len()) else {
                break;
            };
            self.update_instance(deepest, insns);
        }
        self.any_dirty = false;
    }

    fn update_instance(&mut self, at: usize, insns: &[Insn]) {
        let instance = &mut self.instances[at];
        instance.dirty = false;
        let mut changed = true;
        while changed {
            changed = false;
            for frame in instance.frames.iter_mut() {
                for &i in &instance.order {
                    let slot = (i - instance.start) as usize;
                    let after = successors(insns, i)
                        .fold(0, |all, s| all | frame[(s - instance.start) as usize].live_before);
                    let masks = &mut frame[slot];
                    let before = (after & !masks.must_write) | masks.may_read;
                    changed |= before != masks.live_before;
                    masks.live_before = before;
                }
            }
        }
        let Some((outer, callsite)) = instance.outer else { return };
        let entry: Vec<u64> = instance.frames.iter().map(|f| f[0].live_before).collect();
        let outer = &mut self.instances[outer];
        let at = (callsite - outer.start) as usize;
        for (frame, read) in outer.frames.iter_mut().zip(entry) {
            if frame[at].may_read & read != read {
                frame[at].may_read |= read;
                outer.dirty = true;
            }
        }
    }
}

impl Verifier<'_> {
    /// An instruction begins: what it reads and writes counts for it.
    pub(crate) fn begin_stack_marks(&mut self) {
        self.liveness.insn = self.insn_idx;
        if self.liveness.is_current(&self.cur) {
            return;
        }
        let mut outer = None;
        for depth in 0..self.cur.frames.len() {
            outer = Some(self.instance_at(depth, outer));
        }
        self.liveness.current = outer;
        self.liveness.current_key = key_of(&self.cur, self.cur.curframe());
    }

    pub(crate) fn commit_stack_marks(&mut self) {
        self.liveness.commit();
    }

    fn instance_at(&mut self, depth: usize, outer: Option<usize>) -> usize {
        let key = key_of(&self.cur, depth);
        if let Some(found) = self.liveness.by_key.get(&key) {
            return *found;
        }
        let subprog = &self.subprogs[self.cur.frames[depth].subprogno as usize];
        let (start, len) = (subprog.start, (subprog.end - subprog.start) as usize);
        let order = self
            .postorder
            .iter()
            .copied()
            .filter(|i| (subprog.start..subprog.end).contains(i))
            .collect();
        let outer = outer.map(|o| (o, self.cur.frames[depth].callsite));
        let frames = vec![vec![Masks::default(); len]; depth + 1];
        let at = self.liveness.instances.len();
        self.liveness.instances.push(Instance { start, outer, frames, order, dirty: false });
        self.liveness.by_key.insert(key, at);
        at
    }

    /// Slots `from` to `to` of a frame are read.
    pub(crate) fn mark_stack_read(&mut self, frame: usize, from: usize, to: usize) {
        let mask = (from..=to.min(63)).fold(0u64, |m, spi| m | 1 << spi);
        self.liveness.mark_read(frame, mask);
    }

    /// A slot of a frame is overwritten; only a whole slot counts.
    pub(crate) fn mark_stack_write(&mut self, frame: usize, spi: usize, whole: bool) {
        if whole {
            self.liveness.written[frame] |= 1 << spi;
        }
    }

    /// Forgets, in a checkpoint whose paths are all done, what nobody reads (`clean_verifier_state`).
    pub(crate) fn clean_verifier_state(&mut self, id: StateId) {
        self.liveness.refresh(self.insns);
        let st = &self.explorer.arena[id];
        let depth = st.frames.len();
        let instances: Vec<Option<usize>> =
            (0..depth).map(|d| self.liveness.by_key.get(&key_of(st, d)).copied()).collect();
        let mut plan = Vec::with_capacity(depth);
        for frame in 0..depth {
            let live_regs = self.aux[st.frame_insn_idx(frame) as usize].live_regs;
            let dead = (0..st.frames[frame].stack.len())
                .filter(|spi| !self.is_slot_live(st, &instances, frame, *spi))
                .fold(0u64, |m, spi| m | 1 << spi);
            plan.push((live_regs, dead));
        }
        let st = &mut self.explorer.arena[id];
        st.cleaned = true;
        for (frame, (live_regs, dead)) in plan.into_iter().enumerate() {
            let func = st.frame_mut(frame);
            for regno in (0..10usize).filter(|r| live_regs & (1 << r) == 0) {
                func.regs[regno] = Default::default();
            }
            for spi in (0..func.stack.len()).filter(|spi| dead & (1 << spi) != 0) {
                func.stack[spi] = Default::default();
            }
        }
    }

    fn is_slot_live(
        &self,
        st: &VerifierState,
        instances: &[Option<usize>],
        frame: usize,
        spi: usize,
    ) -> bool {
        let last = st.frames.len() - 1;
        (frame..=last).any(|depth| {
            let Some(instance) = instances[depth] else { return true };
            let insn = st.frame_insn_idx(depth);
            // A callback's caller may run the callback again, a function's caller goes on after it.
            let insn = if depth < last && !self.aux[insn as usize].calls_callback {
                insn + 1
            } else {
                insn
            };
            self.liveness.is_live(instance, insn, frame, spi)
        })
    }
}
