//! Checkpoints: pruning of covered states, loops (`is_state_visited`).

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use hashbrown::HashMap;
use stylet_catalog::Features;

use crate::backtrack;
use crate::env::Verifier;
use crate::equal::{Exact, iter_active_depths_differ, states_equal};
use crate::regs::RegState;
use crate::rejection::{Reject, RejectionKind as Kind, Res};
use crate::scc::{Backedge, SccKey};
use crate::state::{CallbackKind, StateId, VerifierState};

/// Checkpoints that exist.
#[derive(Debug, Default)]
pub(crate) struct StateArena {
    slots: Vec<Option<VerifierState>>,
    free: Vec<StateId>,
}

impl StateArena {
    fn insert(&mut self, st: VerifierState) -> StateId {
        match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(st);
                id
            }
            None => {
                self.slots.push(Some(st));
                (self.slots.len() - 1) as StateId
            }
        }
    }

    fn remove(&mut self, id: StateId) {
        if self.slots[id as usize].take().is_some() {
            self.free.push(id);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
    }
}

impl Index<StateId> for StateArena {
    type Output = VerifierState;

    fn index(&self, id: StateId) -> &VerifierState {
        self.slots[id as usize].as_ref().expect("a checkpoint that is referred to exists")
    }
}

impl IndexMut<StateId> for StateArena {
    fn index_mut(&mut self, id: StateId) -> &mut VerifierState {
        self.slots[id as usize].as_mut().expect("a checkpoint that is referred to exists")
    }
}

/// A checkpoint in the list of its instruction.
#[derive(Clone, Copy, Debug)]
struct Explored {
    id: StateId,
    misses: u32,
    hits: u32,
}

/// All checkpoints and what the loops among them need.
#[derive(Debug, Default)]
pub(crate) struct Explorer {
    pub arena: StateArena,
    by_insn: HashMap<u32, Vec<Explored>>,
    /// Dropped from their lists while a branch still continues them.
    evicted: hashbrown::HashSet<StateId>,
    pub sccs: HashMap<SccKey, crate::scc::SccVisit>,
    in_lists: u32,
    pub total: u32,
    pub peak: u32,
    /// Most states that were compared with at one instruction.
    pub max_per_insn: u32,
}

impl Explorer {
    /// Starts over for another function (`free_states`).
    pub fn clear(&mut self) {
        self.arena.clear();
        self.by_insn.clear();
        self.evicted.clear();
        self.sccs.clear();
        self.in_lists = 0;
    }
}

/// What comparing with one checkpoint gave.
enum Found {
    Hit { incomplete: bool },
    Miss { add: bool },
}

impl Verifier<'_> {
    /// Whether an explored state covers the current one; makes a checkpoint otherwise, when it
    /// pays.
    pub(crate) fn is_state_visited(&mut self) -> Res<bool> {
        let insn_idx = self.insn_idx;
        let aux = self.aux[insn_idx as usize];
        let force = aux.force_checkpoint || self.cur.history.len() > 40;
        let jmps = self.jmps_processed - self.prev_jmps_processed;
        let insns = self.insn_processed - self.prev_insn_processed;
        let mut add = force || (jmps >= 2 && insns >= 8);
        self.clean_live_states(insn_idx);
        let mut list = self.explorer.by_insn.remove(&insn_idx).unwrap_or_default();
        let compared = list.len() as u32;
        let mut at = 0;
        let mut outcome = Ok(false);
        while at < list.len() {
            let id = list[at].id;
            match self.compare_checkpoint(id, force, add) {
                Err(e) => {
                    outcome = Err(e);
                    break;
                }
                Ok(Found::Hit { incomplete }) => {
                    list[at].hits += 1;
                    outcome = self.subsumed_by(id, incomplete).map(|()| true);
                    break;
                }
                Ok(Found::Miss { add: still }) => {
                    add = still;
                    if add {
                        list[at].misses += 1;
                    }
                    let n = if aux.force_checkpoint && self.explorer.arena[id].branches > 0 {
                        64
                    } else {
                        3
                    };
                    if list[at].misses > list[at].hits * n + n {
                        list.remove(at);
                        self.explorer.in_lists -= 1;
                        self.evict(id);
                    } else {
                        at += 1;
                    }
                }
            }
        }
        if matches!(outcome, Ok(false)) {
            self.explorer.max_per_insn = self.explorer.max_per_insn.max(compared);
        }
        if matches!(outcome, Ok(false)) && add {
            let id = self.add_checkpoint();
            list.insert(0, Explored { id, misses: 0, hits: 0 });
        }
        self.explorer.by_insn.insert(insn_idx, list);
        outcome
    }

    fn evict(&mut self, id: StateId) {
        // Within a loop, a backedge that is still to be followed may name it.
        if self.in_scc(id) {
            return;
        }
        if self.explorer.arena[id].branches == 0 {
            self.explorer.arena.remove(id);
        } else {
            self.explorer.evicted.insert(id);
        }
    }

    fn states_equal(&mut self, id: StateId, exact: Exact) -> bool {
        self.idmap.reset(self.id_gen);
        self.idmap.loose_loops = self.cat.has(Features::LOOSE_LOOP_STACK);
        let aux = &self.aux;
        states_equal(
            &self.explorer.arena[id],
            &self.cur,
            &mut self.idmap,
            |insn| aux[insn as usize].live_regs,
            exact,
        )
    }

    fn compare_checkpoint(&mut self, id: StateId, force: bool, add: bool) -> Res<Found> {
        let aux = self.aux[self.insn_idx as usize];
        if self.explorer.arena[id].branches == 0 {
            let incomplete = self.incomplete_read_marks(id);
            let exact = if incomplete { Exact::RangeWithin } else { Exact::Not };
            if self.states_equal(id, exact) {
                return Ok(Found::Hit { incomplete });
            }
            return Ok(Found::Miss { add });
        }
        // The checkpoint is on the current path: a loop.
        let old = self.explorer.arena[id].cur();
        if old.callback == CallbackKind::Async && old.async_entries != self.cur.cur().async_entries
        {
            // Another entry into a callback that sets itself up again.
        } else if aux.is_iter_next {
            if self.states_equal(id, Exact::RangeWithin) && self.iter_is_active() {
                return Ok(Found::Hit { incomplete: true });
            }
        } else if aux.is_may_goto {
            if self.explorer.arena[id].may_goto_depth != self.cur.may_goto_depth
                && self.states_equal(id, Exact::RangeWithin)
            {
                return Ok(Found::Hit { incomplete: true });
            }
        } else if aux.calls_callback {
            if self.states_equal(id, Exact::RangeWithin) {
                return Ok(Found::Hit { incomplete: true });
            }
        } else if self.is_infinite_loop(id) {
            return Err(Reject::inval(Kind::InfiniteLoop { insn: self.insn_idx }));
        }
        let jmps = self.jmps_processed - self.prev_jmps_processed;
        let insns = self.insn_processed - self.prev_insn_processed;
        let few = !force && jmps < 20 && insns < 100;
        Ok(Found::Miss { add: add && !few })
    }

    fn is_infinite_loop(&mut self, id: StateId) -> bool {
        let old = &self.explorer.arena[id];
        if old.may_goto_depth != self.cur.may_goto_depth
            || old.callback_unroll_depth != self.cur.callback_unroll_depth
            || iter_active_depths_differ(old, &self.cur)
        {
            return false;
        }
        // A cheap look first (`states_maybe_looping`): ids are made anew in most loops.
        let same = |(a, b): (&RegState, &RegState)| RegState { precise: b.precise, ..*a } == *b;
        let maybe = old.curframe() == self.cur.curframe()
            && old.cur().regs.iter().zip(&self.cur.cur().regs).all(same);
        maybe && self.states_equal(id, Exact::Same)
    }

    /// The current state needs no walk: what was precise for `id` is so for it.
    fn subsumed_by(&mut self, id: StateId, incomplete: bool) -> Res<()> {
        if self.aux[self.insn_idx as usize].jmp_point {
            self.push_jmp_history(None, backtrack::LinkedRegs::default());
        }
        let bt = backtrack::precise_parts(&self.explorer.arena[id]);
        self.mark_precise(bt)?;
        if incomplete {
            let mut state = self.cur.clone();
            state.insn_idx = self.insn_idx;
            self.add_scc_backedge(id, Backedge { equal: id, state });
        }
        Ok(())
    }

    fn add_checkpoint(&mut self) -> StateId {
        self.prev_jmps_processed = self.jmps_processed;
        self.prev_insn_processed = self.insn_processed;
        backtrack::mark_all_scalars_imprecise(&mut self.cur);
        let mut new = self.cur.clone();
        new.insn_idx = self.insn_idx;
        new.branches = 1;
        new.cleaned = false;
        let id = self.explorer.arena.insert(new);
        self.maybe_enter_scc(id);
        self.cur.parent = Some(id);
        self.cur.first_insn_idx = self.insn_idx;
        self.cur.history.clear();
        self.explorer.total += 1;
        self.explorer.in_lists += 1;
        let held = self.explorer.in_lists + self.explorer.evicted.len() as u32;
        self.explorer.peak = self.explorer.peak.max(held);
        id
    }

    /// The current path ended: so may the checkpoints that it continued.
    pub(crate) fn update_branch_counts(&mut self) -> Res<()> {
        let mut at = self.cur.parent;
        while let Some(id) = at {
            let st = &mut self.explorer.arena[id];
            st.branches -= 1;
            if st.branches > 0 {
                break;
            }
            at = st.parent;
            self.maybe_exit_scc(id)?;
            if self.explorer.evicted.remove(&id) {
                self.explorer.arena.remove(id);
            }
        }
        Ok(())
    }

    /// Marks what `bt` asks for in the checkpoints of the current path.
    pub(crate) fn mark_precise(&mut self, bt: backtrack::Backtrack) -> Res<()> {
        if bt.is_empty() {
            return Ok(());
        }
        let (aux, subprogs) = (&self.aux, &self.subprogs);
        let shape = backtrack::ProgShape {
            insns: self.insns,
            calls_callback: &|insn| aux[insn as usize].calls_callback,
            is_global: &|start| subprogs.iter().any(|s| s.start == start && s.is_global),
        };
        backtrack::mark_chain_precision(&shape, &mut self.explorer.arena, &self.cur, bt)?;
        Ok(())
    }

    /// `mark_chain_precision`: the number in `regno` decided something.
    pub(crate) fn mark_reg_precise(&mut self, regno: usize) -> Res<()> {
        let bt = backtrack::request(&self.cur, &[regno]);
        self.mark_precise(bt)
    }

    /// Forgets, in finished checkpoints of an instruction, what nobody reads after it.
    fn clean_live_states(&mut self, insn_idx: u32) {
        let Some(list) = self.explorer.by_insn.get(&insn_idx) else { return };
        let ids: Vec<StateId> = list
            .iter()
            .map(|e| e.id)
            .filter(|id| {
                let st = &self.explorer.arena[*id];
                let same_path = st.frames.len() == self.cur.frames.len()
                    && st
                        .frames
                        .iter()
                        .zip(&self.cur.frames)
                        .all(|(a, b)| a.callsite == b.callsite);
                st.branches == 0 && !st.cleaned && same_path
            })
            .collect();
        for id in ids {
            if !self.incomplete_read_marks(id) {
                self.clean_verifier_state(id);
            }
        }
    }
}
