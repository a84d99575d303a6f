//! Taking probes and mappings out again.

use super::attach::{ProbeId, module_range};
use super::inherit::Inherited;
use super::region::Region;
use super::state::State;
use super::{Stop, Target};
use crate::proc::Maps;
use crate::ptrace::Remote;
use crate::{Error, Result};
use std::time::Duration;

/// Attempts to find a process with no thread in our code.
const ATTEMPTS: u32 = 120;

/// Rounds of looking for children.
const GENERATIONS: u32 = 8;

/// What a detach has achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// Processes that are as before: the target and children that had inherited probes.
    pub clean: Vec<i32>,
    /// Processes whose code is restored, but in which our mappings had to stay: (process, the thread that stayed in our code
    /// or is stopped there).
    pub left_mapped: Vec<(i32, i32)>,
    /// Processes that ended meanwhile.
    pub gone: Vec<i32>,
}

impl Target {
    pub(super) fn detach_all(&mut self) -> Result<Detached> {
        let mut report = Detached::default();
        let inherited = Inherited::of(self.state());
        let own = self.detach_one();
        report.add(self.pid, own)?;
        // A child may have had children of its own in the meantime: look until there is no new one.
        for _ in 0..GENERATIONS {
            let new =
                inherited.heirs().into_iter().filter(|pid| !report.knows(*pid)).collect::<Vec<_>>();
            if new.is_empty() {
                break;
            }
            for pid in new {
                let outcome = inherited.target(pid).and_then(|mut heir| heir.detach_one());
                report.add(pid, outcome)?;
            }
        }
        Ok(report)
    }

    /// Restores code, then waits until no thread is in ours, then unmaps. `Some(tid)`: that thread stayed.
    fn detach_one(&mut self) -> Result<Option<i32>> {
        let mut pause = Duration::from_micros(100);
        let mut stayed = None;
        for _ in 0..ATTEMPTS {
            stayed = self.stopped(|state, stop| state.try_remove(stop))?;
            if stayed.is_none() || self.is_held() {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(stayed)
    }
}

impl Detached {
    fn knows(&self, pid: i32) -> bool {
        self.clean.contains(&pid)
            || self.gone.contains(&pid)
            || self.left_mapped.iter().any(|(p, _)| *p == pid)
    }

    fn add(&mut self, pid: i32, outcome: Result<Option<i32>>) -> Result<()> {
        match outcome {
            Ok(None) => self.clean.push(pid),
            Ok(Some(tid)) => self.left_mapped.push((pid, tid)),
            Err(Error::Gone { .. } | Error::Zombie { .. }) => self.gone.push(pid),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl State {
    /// Takes one program off.
    pub fn detach_probe(&mut self, stop: &mut Stop, probe: ProbeId) -> Result<()> {
        let found = self.sites.values().find(|s| s.probes.iter().any(|p| p.id == probe));
        let site = found.ok_or(Error::Unknown { what: "probe" })?;
        let (plan, old) = (site.plan.clone(), site.block.ret_at);
        let mut probes = site.probes.clone();
        let counter = probes.iter().find(|p| p.id == probe).and_then(|p| p.counter);
        probes.retain(|p| p.id != probe);
        if probes.is_empty() {
            self.restore(plan.site)?;
            self.unrecord(plan.patch_at)?;
            let site = self.sites.remove(&plan.site);
            self.retired.extend(site.map(|s| s.block));
        } else {
            let maps = Maps::of(self.pid)?;
            let map =
                maps.at(plan.site).ok_or(Error::NotCode { pid: self.pid, site: plan.site })?;
            self.install(stop, &plan, &module_range(&maps, map), probes)?;
        }
        if let Some(at) = counter {
            self.count_down(at)?;
        }
        if self.presence(stop).between.is_none() {
            let new = self.sites.get(&plan.site).and_then(|s| s.block.ret_at);
            self.redirect_returns(|t| if Some(t) == old { new } else { Some(t) })?;
        }
        self.reclaim(stop)
    }

    /// Puts a site's own bytes back. Bytes that are no longer ours are left alone.
    fn restore(&self, site: u64) -> Result<()> {
        let Some(site) = self.sites.get(&site) else { return Ok(()) };
        let now = self.memory.bytes(site.plan.patch_at, site.jump.len())?;
        if now == site.jump {
            self.memory.write(site.plan.patch_at, &site.plan.original)
        } else {
            Ok(())
        }
    }

    /// Frees blocks that no thread can reach any more.
    pub fn reclaim(&mut self, stop: &Stop) -> Result<()> {
        if self.retired.is_empty() || self.presence(stop).any().is_some() {
            return Ok(());
        }
        let live = self.live_trampolines()?;
        let retired = std::mem::take(&mut self.retired);
        for block in retired {
            if block.ret_at.is_some_and(|at| live.contains(&at)) {
                self.retired.push(block);
            } else if let Some(region) =
                self.regions.iter_mut().find(|r| r.code().contains(&block.at))
            {
                region.free(block.at, block.code.len() as u64);
            }
        }
        Ok(())
    }

    /// One attempt to leave the stopped process. `Some(tid)`: this thread is still in our code.
    fn try_remove(&mut self, stop: &mut Stop) -> Result<Option<i32>> {
        let sites: Vec<u64> = self.sites.keys().copied().collect();
        for site in sites {
            self.restore(site)?;
        }
        self.count_all_down();
        let present = self.presence(stop);
        let covered = if present.between.is_none() { self.redirect_returns(|_| None)? } else { 0 };
        // Under another tracer's trampoline one of ours waits for its turn.
        let waiting = (covered > 0).then(|| stop.threads()[0].tid);
        if let Some(tid) = present.any().or(waiting) {
            return Ok(Some(tid));
        }
        self.unmap(stop)?;
        Ok(None)
    }

    fn unmap(&mut self, stop: &mut Stop) -> Result<()> {
        let ours: Vec<_> = self
            .regions
            .iter()
            .map(|r| r.start..r.start + Region::SIZE)
            .chain(self.windows.iter().map(|w| w.range()))
            .collect();
        if !ours.is_empty() {
            let mut remote = Remote::new(stop, &self.memory, &Maps::of(self.pid)?)?;
            for range in ours {
                let args = [range.start, range.end - range.start, 0, 0, 0, 0];
                remote.call("munmap", libc::SYS_munmap, args)?;
            }
            remote.finish()?;
        }
        self.sites.clear();
        self.retired.clear();
        self.regions.clear();
        self.windows.clear();
        Ok(())
    }
}
