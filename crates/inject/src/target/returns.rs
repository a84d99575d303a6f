//! Replaced return addresses of a stopped process: redirecting and removing them.
//!
//! After tail calls several functions return through one slot: it holds the trampoline of the newest, whose entry holds that
//! of the next older one, and so on, at last the caller's address. Their entries may be in different regions.

use super::region::{CODE, Region};
use super::state::State;
use crate::Result;
use crate::proc::Maps;
use crate::tramp::table::{ENTRIES, KEYS, MISSED, ORIGS, SESSIONS};
use std::collections::BTreeMap;

/// An entry in use.
#[derive(Clone, Copy, Debug)]
struct Entry {
    region: usize,
    index: u64,
    /// Of the entries of a slot in one region the newest has the highest.
    depth: u64,
    /// Where the trampoline returns to.
    orig: u64,
}

impl State {
    /// Replaces, in every return address that is replaced now, the trampoline `t` by `to(t)`; `None` removes it. No thread
    /// may be between the instructions of a trampoline. Returns how many slots another tracer's trampolines cover: nothing
    /// is known about those, and they stay as they are.
    pub fn redirect_returns(&self, to: impl Fn(u64) -> Option<u64>) -> Result<usize> {
        if self.regions.is_empty() {
            return Ok(0);
        }
        let maps = Maps::of(self.pid)?;
        let foreign = |addr: u64| {
            let anonymous = maps.at(addr).is_some_and(|m| m.exec && !m.is_file());
            self.region_of(addr).is_none() && anonymous && self.foreign_region(addr).is_some()
        };
        let mut covered = 0;
        for (slot, entries) in self.replaced()? {
            // A slot whose memory is gone or used otherwise was left by a longjmp or a thread's end.
            let top = self.memory.word(slot).unwrap_or(0);
            if foreign(top) || !self.rewrite(slot, top, entries, &to, &foreign)? {
                covered += 1;
            }
        }
        Ok(covered)
    }

    /// False: entries may lie under another tracer's trampoline; nothing was changed.
    fn rewrite(
        &self,
        slot: u64,
        top: u64,
        mut entries: Vec<Entry>,
        to: &impl Fn(u64) -> Option<u64>,
        foreign: &impl Fn(u64) -> bool,
    ) -> Result<bool> {
        let mut chain = Vec::new();
        let mut below = top;
        while let Some(region) = self.region_of(below) {
            let of_region = entries.iter().enumerate().filter(|(_, e)| e.region == region);
            let Some((i, _)) = of_region.max_by_key(|(_, e)| e.depth) else { break };
            let entry = entries.swap_remove(i);
            chain.push((entry, below));
            below = entry.orig;
        }
        if !entries.is_empty() && foreign(below) {
            return Ok(false);
        }
        // Each kept entry gets the next older trampoline that is kept, at last the caller's address. An entry works for
        // trampolines of its own region only.
        for (entry, trampoline) in chain.into_iter().rev() {
            match to(trampoline).filter(|&t| self.region_of(t) == Some(entry.region)) {
                Some(new) => {
                    let at = self.regions[entry.region].table() + ORIGS + 8 * entry.index;
                    self.memory.write(at, &below.to_le_bytes())?;
                    below = new;
                }
                None => entries.push(entry),
            }
        }
        if below != top {
            self.memory.write(slot, &below.to_le_bytes())?;
        }
        for entry in entries {
            self.memory
                .write(self.regions[entry.region].table() + KEYS + 8 * entry.index, &[0; 8])?;
        }
        Ok(true)
    }

    /// Trampolines that replaced return addresses lead to.
    pub fn live_trampolines(&self) -> Result<Vec<u64>> {
        let mut live = Vec::new();
        for (slot, entries) in self.replaced()? {
            live.extend(self.memory.word(slot).ok());
            live.extend(entries.iter().map(|e| e.orig));
        }
        Ok(live)
    }

    /// Hits that found no free entry, in all regions.
    pub fn missed_returns(&self) -> Result<u64> {
        self.regions.iter().map(|r| self.memory.word(r.table() + MISSED)).sum()
    }

    /// Index of the region whose code an address is in.
    pub fn region_of(&self, addr: u64) -> Option<usize> {
        self.regions.iter().position(|r| r.code().contains(&addr))
    }

    /// The region of another tracer that an address of anonymous code is in.
    pub fn foreign_region(&self, addr: u64) -> Option<Region> {
        let pages = (0..CODE / 4096).map(|i| (addr & !0xfff).saturating_sub(4096 * i));
        pages.into_iter().find_map(|at| {
            let mut header = [0; 16];
            self.memory.read(at, &mut header).ok()?;
            Region::found(at, header)
        })
    }

    /// The entries in use, by slot.
    fn replaced(&self) -> Result<BTreeMap<u64, Vec<Entry>>> {
        let mut found: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for (region, place) in self.regions.iter().enumerate() {
            let bytes = self.memory.bytes(place.table(), SESSIONS as usize)?;
            let word = |at: u64| {
                let at = at as usize;
                bytes
                    .get(at..at + 8)
                    .map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
            };
            for index in 0..ENTRIES as u64 {
                let key = word(KEYS + 8 * index);
                if key != 0 {
                    let entry =
                        Entry { region, index, depth: key & 7, orig: word(ORIGS + 8 * index) };
                    found.entry(key & !7).or_default().push(entry);
                }
            }
        }
        Ok(found)
    }
}
