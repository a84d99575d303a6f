//! Counters in a process by which it knows that somebody listens: the 16-bit semaphores of USDT markers.

use super::state::State;
use crate::Result;

impl State {
    /// A probe of `site` has come that counts at `at`. The record is first: a tracer that dies in between leaves a record of
    /// one too many, which [`State::change`] forgives.
    pub fn count_up(&mut self, site: u64, at: u64) -> Result<()> {
        let block = self.sites.get(&site).map_or(0, |s| s.block.at);
        self.record_counter(block, at, self.counted(at))?;
        self.change(at, 1)
    }

    /// A probe has gone that counted at `at`.
    pub fn count_down(&mut self, at: u64) -> Result<()> {
        self.change(at, -1)?;
        match self.counted(at) {
            0 => self.unrecord(at),
            left => self.record_counter(0, at, left),
        }
    }

    /// No probe counts any more. A counter whose memory is gone is left alone.
    pub fn count_all_down(&mut self) {
        let probes = self.sites.values_mut().flat_map(|s| &mut s.probes);
        let own: Vec<(u64, u64)> = probes.filter_map(|p| Some((p.counter.take()?, 1))).collect();
        for (at, count) in own.into_iter().chain(std::mem::take(&mut self.counters)) {
            let _ = self.change(at, -i16::try_from(count).unwrap_or(i16::MAX));
        }
    }

    /// Number of probes that count at `at`.
    fn counted(&self, at: u64) -> u64 {
        let probes = self.sites.values().flat_map(|s| &s.probes);
        probes.filter(|p| p.counter == Some(at)).count() as u64
    }

    fn change(&self, at: u64, by: i16) -> Result<()> {
        let bytes = self.memory.bytes(at, size_of::<u16>())?;
        let now = u16::from_le_bytes([bytes[0], bytes[1]]);
        self.memory.write(at, &now.saturating_add_signed(by).to_le_bytes())
    }
}
