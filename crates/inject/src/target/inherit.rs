//! Children that a traced process forked: they have copies of its patches and maps of its windows.

use super::Target;
use super::region::Region;
use super::state::{Site, State};
use super::window::Window;
use crate::proc::{Maps, Memory};
use crate::tramp::Block;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// What children may have inherited.
pub struct Inherited {
    parent: i32,
    windows: Vec<Window>,
    regions: Vec<Region>,
    sites: BTreeMap<u64, Site>,
    retired: Vec<Block>,
}

impl Inherited {
    /// Of this process's present state.
    pub fn of(state: &State) -> Inherited {
        Inherited {
            parent: state.pid,
            windows: state.windows.clone(),
            regions: state.regions.clone(),
            sites: state.sites.clone(),
            retired: state.retired.clone(),
        }
    }

    /// Processes that have one of the windows mapped at its place, the tracer and the parent excluded.
    pub fn heirs(&self) -> Vec<i32> {
        let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = dir.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let own = std::process::id() as i32;
        let mut found: Vec<i32> = pids
            .filter(|&pid| pid != own && pid != self.parent)
            .filter(|&pid| {
                Maps::of(pid).is_ok_and(|maps| self.windows.iter().any(|w| has(&maps, w)))
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// The child as a target. Only what it really inherited is in it: a child forked before a later change has less, and may
    /// have put something else of its own at the same address.
    pub fn target(&self, pid: i32) -> Result<Target> {
        let maps = Maps::of(pid)?;
        let memory = Memory::open(pid)?;
        let mut state = State::new(pid)?;
        state.windows = self.windows.iter().filter(|w| has(&maps, w)).cloned().collect();
        let same = |r: &&Region| memory.bytes(r.start, r.header.len()).is_ok_and(|h| h == r.header);
        state.regions = self.regions.iter().filter(same).cloned().collect();
        let blocks = self.sites.values().map(|s| &s.block).chain(&self.retired);
        state.retired = blocks
            .filter(|b| state.regions.iter().any(|r| r.code().contains(&b.at)))
            .cloned()
            .collect();
        for (&at, site) in &self.sites {
            let now = memory.bytes(site.plan.patch_at, site.jump.len())?;
            let Some(target) = jump_target(site.plan.patch_at, &now) else { continue };
            if state.regions.iter().any(|r| r.code().contains(&target)) {
                let mut site = site.clone();
                site.jump.copy_from_slice(&now);
                state.sites.insert(at, site);
            }
        }
        state.images = HashMap::new();
        if state.windows.is_empty() && state.regions.is_empty() {
            return Err(Error::Gone { pid });
        }
        Ok(Target::from_state(state))
    }
}

fn has(maps: &Maps, window: &Window) -> bool {
    maps.at(window.base)
        .is_some_and(|m| m.inode == window.inode && m.shared && m.start == window.base)
}

fn jump_target(at: u64, bytes: &[u8]) -> Option<u64> {
    match bytes {
        [0xe9, rel @ ..] => {
            let rel = i32::from_le_bytes(rel.try_into().ok()?);
            Some((at + 5).wrapping_add_signed(rel.into()))
        }
        _ => None,
    }
}
