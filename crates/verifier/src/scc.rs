//! Loops whose states are not complete yet: strongly connected components of the control flow and
//! the backedges found in them (`struct bpf_scc_visit`).

use alloc::vec::Vec;

use crate::backtrack;
use crate::env::Verifier;
use crate::rejection::Res;
use crate::state::{StateId, VerifierState};

/// Rounds of propagation before everything in the loop becomes precise (`MAX_BACKEDGE_ITERS`).
const MAX_BACKEDGE_ITERS: u32 = 64;

/// A component in the context of its calls (`struct bpf_scc_callchain`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SccKey {
    callsites: Vec<u32>,
    scc: u32,
}

/// A state that was pruned because `equal`, which is not complete, covers it.
#[derive(Debug)]
pub(crate) struct Backedge {
    pub equal: StateId,
    pub state: VerifierState,
}

/// One visit of a component (`struct bpf_scc_visit`).
#[derive(Debug, Default)]
pub(crate) struct SccVisit {
    entry: Option<StateId>,
    backedges: Vec<Backedge>,
}

impl Verifier<'_> {
    fn scc_key(&self, st: &VerifierState) -> Option<SccKey> {
        let mut callsites = Vec::new();
        for frame in 0..st.frames.len() {
            let insn_idx = st.frame_insn_idx(frame);
            let scc = self.aux[insn_idx as usize].scc;
            if scc != 0 {
                return Some(SccKey { callsites, scc });
            }
            callsites.push(insn_idx);
        }
        None
    }

    /// Whether the checkpoint is in a loop.
    pub(crate) fn in_scc(&self, id: StateId) -> bool {
        self.scc_key(&self.explorer.arena[id]).is_some()
    }

    /// The checkpoint is in a loop that is still being walked: its marks may be missing some
    /// (`incomplete_read_marks`).
    pub(crate) fn incomplete_read_marks(&self, id: StateId) -> bool {
        let Some(key) = self.scc_key(&self.explorer.arena[id]) else { return false };
        self.explorer.sccs.get(&key).is_some_and(|visit| !visit.backedges.is_empty())
    }

    pub(crate) fn maybe_enter_scc(&mut self, id: StateId) {
        let Some(key) = self.scc_key(&self.explorer.arena[id]) else { return };
        let visit = self.explorer.sccs.entry(key).or_default();
        visit.entry.get_or_insert(id);
    }

    pub(crate) fn add_scc_backedge(&mut self, id: StateId, backedge: Backedge) {
        let Some(key) = self.scc_key(&self.explorer.arena[id]) else { return };
        self.explorer.sccs.entry(key).or_default().backedges.push(backedge);
    }

    pub(crate) fn maybe_exit_scc(&mut self, id: StateId) -> Res<()> {
        let Some(key) = self.scc_key(&self.explorer.arena[id]) else { return Ok(()) };
        match self.explorer.sccs.get_mut(&key) {
            Some(visit) if visit.entry == Some(id) => visit.entry = None,
            _ => return Ok(()),
        }
        let backedges = self
            .explorer
            .sccs
            .get_mut(&key)
            .map(|v| core::mem::take(&mut v.backedges))
            .unwrap_or_default();
        self.propagate_backedges(&backedges)
    }

    /// Carries precision around the loop until nothing changes.
    fn propagate_backedges(&mut self, backedges: &[Backedge]) -> Res<()> {
        for round in 0.. {
            if round > MAX_BACKEDGE_ITERS {
                for backedge in backedges {
                    backtrack::mark_all_scalars_precise(
                        &mut self.explorer.arena,
                        backedge.state.parent,
                    );
                }
                break;
            }
            let mut changed = false;
            for backedge in backedges {
                let bt = backtrack::precise_parts(&self.explorer.arena[backedge.equal]);
                let (aux, subprogs) = (&self.aux, &self.subprogs);
                let shape = backtrack::ProgShape {
                    insns: self.insns,
                    calls_callback: &|insn| aux[insn as usize].calls_callback,
                    is_global: &|start| subprogs.iter().any(|s| s.start == start && s.is_global),
                };
                changed |= backtrack::mark_chain_precision(
                    &shape,
                    &mut self.explorer.arena,
                    &backedge.state,
                    bt,
                )?;
            }
            if !changed {
                break;
            }
        }
        Ok(())
    }
}
