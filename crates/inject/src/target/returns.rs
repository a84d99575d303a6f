//! Replaced return addresses of a stopped process: redirecting and removing them.

use super::state::State;
use crate::Result;
use crate::tramp::table::{ENTRIES, KEYS, ORIGS};
use std::collections::BTreeMap;

/// The entries of one slot, the oldest first: (index in the table, return address it holds).
type Chain = Vec<(usize, u64)>;

impl State {
    /// Replaces, in every return address that is replaced now, the trampoline `t` by `to(t)`; `None` removes it. No thread
    /// may be between the instructions of a trampoline.
    pub fn redirect_returns(&self, to: impl Fn(u64) -> Option<u64>) -> Result<()> {
        for region in &self.regions {
            let table = region.table();
            let bytes = self.memory.bytes(table, crate::tramp::table::SIZE as usize)?;
            for (slot, chain) in chains(&bytes) {
                // A slot whose memory is gone or used otherwise was left by a longjmp or a thread's end.
                let top = self.memory.word(slot).unwrap_or(0);
                let live = region.code().contains(&top);
                let rest = if live { self.rewrite(table, slot, top, &chain, &to)? } else { 0 };
                for &(index, _) in &chain[rest..] {
                    self.memory.write(table + KEYS + 8 * index as u64, &[0; 8])?;
                }
            }
        }
        Ok(())
    }

    /// Writes the chain's remaining trampolines; returns how many of its entries are in use.
    fn rewrite(
        &self,
        table: u64,
        slot: u64,
        top: u64,
        chain: &Chain,
        to: &impl Fn(u64) -> Option<u64>,
    ) -> Result<usize> {
        let Some(&(_, origin)) = chain.first() else { return Ok(0) };
        let old = chain.iter().skip(1).map(|(_, orig)| *orig).chain([top]);
        let kept: Vec<u64> = old.filter_map(to).collect();
        // Each entry holds what its trampoline returns to: the next older one, at last the origin.
        let mut below = origin;
        for (i, &trampoline) in kept.iter().enumerate() {
            let index = chain[i].0 as u64;
            self.memory.write(table + ORIGS + 8 * index, &below.to_le_bytes())?;
            self.memory.write(table + KEYS + 8 * index, &(slot + i as u64).to_le_bytes())?;
            below = trampoline;
        }
        self.memory.write(slot, &below.to_le_bytes())?;
        Ok(kept.len())
    }

    /// Trampolines that replaced return addresses lead to.
    pub fn live_trampolines(&self) -> Result<Vec<u64>> {
        let mut live = Vec::new();
        for region in &self.regions {
            let bytes = self.memory.bytes(region.table(), crate::tramp::table::SIZE as usize)?;
            for (slot, chain) in chains(&bytes) {
                live.extend(self.memory.word(slot).ok());
                live.extend(chain.iter().map(|(_, orig)| *orig));
            }
        }
        Ok(live)
    }

    /// Hits that found no free entry, in all regions.
    pub fn missed_returns(&self) -> Result<u64> {
        self.regions.iter().map(|r| self.memory.word(r.table() + crate::tramp::table::MISSED)).sum()
    }
}

/// The table's entries by slot.
fn chains(bytes: &[u8]) -> BTreeMap<u64, Chain> {
    let word = |at: u64| {
        let at = at as usize;
        bytes.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
    };
    let mut found: BTreeMap<u64, Vec<(u64, usize, u64)>> = BTreeMap::new();
    for index in 0..ENTRIES {
        let key = word(KEYS + 8 * index as u64);
        if key != 0 {
            found.entry(key & !7).or_default().push((
                key & 7,
                index,
                word(ORIGS + 8 * index as u64),
            ));
        }
    }
    let sorted = |mut entries: Vec<(u64, usize, u64)>| {
        entries.sort_unstable();
        entries.into_iter().map(|(_, index, orig)| (index, orig)).collect()
    };
    found.into_iter().map(|(slot, entries)| (slot, sorted(entries))).collect()
}
