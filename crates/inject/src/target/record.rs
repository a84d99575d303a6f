//! What a region says about itself, for a tracer that comes after this one has died: who made it, which bytes were replaced
//! where, which windows belong to it.

use super::region::{RECORDS, Region};
use super::state::State;
use crate::proc::Memory;
use crate::site::{JUMP, Plan};
use crate::{Error, Result};

/// Bytes of a record: kind, address, data.
pub const RECORD: u64 = 24;
const SITE: u64 = 1;
const WINDOW: u64 = 2;
const COUNTER: u64 = 3;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A jump was written here over these bytes.
    Site {
        /// Address of the jump.
        at: u64,
        /// What was there.
        original: [u8; JUMP],
    },
    /// A window starts here.
    Window {
        /// First byte.
        base: u64,
        /// Inode of its file.
        inode: u64,
    },
    /// A counter was raised.
    Counter {
        /// Its address.
        at: u64,
        /// By how much.
        count: u64,
    },
}

impl Record {
    fn address(&self) -> u64 {
        match *self {
            Record::Site { at, .. } | Record::Counter { at, .. } => at,
            Record::Window { base, .. } => base,
        }
    }

    fn bytes(&self) -> [u8; RECORD as usize] {
        let (kind, data) = match *self {
            Record::Site { original: [a, b, c, d, e], .. } => {
                (SITE, u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
            }
            Record::Window { inode, .. } => (WINDOW, inode),
            Record::Counter { count, .. } => (COUNTER, count),
        };
        let mut out = [0; RECORD as usize];
        for (slot, word) in out.chunks_exact_mut(8).zip([kind, self.address(), data]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn parse(bytes: &[u8]) -> Option<Record> {
        let word =
            |i: usize| Some(u64::from_le_bytes(bytes.get(8 * i..8 * i + 8)?.try_into().ok()?));
        match word(0)? {
            SITE => Some(Record::Site {
                at: word(1)?,
                original: bytes.get(16..16 + JUMP)?.try_into().ok()?,
            }),
            WINDOW => Some(Record::Window { base: word(1)?, inode: word(2)? }),
            COUNTER => Some(Record::Counter { at: word(1)?, count: word(2)? }),
            _ => None,
        }
    }

    /// All records of a region.
    pub fn all(memory: &Memory, region: &Region) -> Result<Vec<Record>> {
        let bytes = memory.bytes(region.records_at(), RECORDS as usize)?;
        Ok(bytes.chunks_exact(RECORD as usize).filter_map(Record::parse).collect())
    }
}

/// The tracer that made a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u64,
    /// Start time in clock ticks since boot.
    start: u64,
    /// Inode of its PID namespace.
    namespace: u64,
}

impl Owner {
    /// This process.
    pub fn me() -> Owner {
        let pid = std::process::id();
        Owner {
            pid: pid.into(),
            start: start_time(pid.into()).unwrap_or(0),
            namespace: namespace(),
        }
    }

    /// For a region's header.
    pub fn bytes(&self) -> Vec<u8> {
        [self.pid, self.start, self.namespace].iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Of a region.
    pub fn of(memory: &Memory, region: &Region) -> Result<Owner> {
        Owner::at(memory, region.start + region.header.len() as u64)
    }

    /// What [`Owner::bytes`] put there.
    pub fn at(memory: &Memory, at: u64) -> Result<Owner> {
        Ok(Owner {
            pid: memory.word(at)?,
            start: memory.word(at + 8)?,
            namespace: memory.word(at + 16)?,
        })
    }

    /// Whether it certainly has ended.
    pub fn is_dead(&self) -> bool {
        self.namespace == namespace() && start_time(self.pid) != Some(self.start)
    }
}

/// Field 22 of /proc/PID/stat, counted from behind the name, which may hold anything. `None` for a zombie too.
fn start_time(pid: u64) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

impl State {
    /// Notes in the region of `block` what is about to be done to a site.
    pub fn record(&mut self, plan: &Plan, block: u64) -> Result<()> {
        let site = Record::Site { at: plan.patch_at, original: plan.original };
        let windows = self.windows.iter().map(|w| Record::Window { base: w.base, inode: w.inode });
        let records: Vec<Record> = windows.chain([site]).collect();
        let pid = self.pid;
        let region = self.regions.iter_mut().find(|r| r.code().contains(&block));
        let region = region.ok_or(Error::Unknown { what: "region" })?;
        for record in records {
            if !region.records.contains(&Some(record.address())) {
                put(&self.memory, pid, region, record)?;
            }
        }
        Ok(())
    }

    /// Notes that the counter at `at` is higher by `count`: where it is noted already, else in the region of `block`.
    pub fn record_counter(&mut self, block: u64, at: u64, count: u64) -> Result<()> {
        let record = Record::Counter { at, count };
        for region in &self.regions {
            if let Some(i) = region.records.iter().position(|r| *r == Some(at)) {
                let to = region.records_at() + i as u64 * RECORD;
                return self.memory.write(to, &record.bytes());
            }
        }
        let region = self.regions.iter_mut().find(|r| r.code().contains(&block));
        put(&self.memory, self.pid, region.ok_or(Error::Unknown { what: "region" })?, record)
    }

    /// Drops the records of a site whose bytes are its own again.
    pub fn unrecord(&mut self, patch_at: u64) -> Result<()> {
        for region in &mut self.regions {
            if let Some(i) = region.records.iter().position(|r| *r == Some(patch_at)) {
                self.memory
                    .write(region.records_at() + i as u64 * RECORD, &[0; RECORD as usize])?;
                region.records[i] = None;
            }
        }
        Ok(())
    }
}

/// Writes a record at the first free place.
fn put(memory: &Memory, pid: i32, region: &mut Region, record: Record) -> Result<()> {
    let free = region.records.iter().position(Option::is_none).unwrap_or(region.records.len());
    let offset = free as u64 * RECORD;
    if offset + RECORD > RECORDS {
        return Err(Error::NoSpace { pid, len: RECORD, near: region.records_at() });
    }
    memory.write(region.records_at() + offset, &record.bytes())?;
    region.records.resize(region.records.len().max(free + 1), None);
    region.records[free] = Some(record.address());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_owners() {
        let site = Record::Site { at: 0x1234, original: [1, 2, 3, 4, 5] };
        let window = Record::Window { base: 0x7000_0000, inode: 77 };
        let counter = Record::Counter { at: 0x5678, count: 2 };
        for record in [site, window, counter] {
            assert_eq!(Record::parse(&record.bytes()), Some(record));
        }
        assert_eq!(Record::parse(&[0; 24]), None);
        let me = Owner::me();
        assert!(!me.is_dead());
        assert!(Owner { start: me.start + 1, ..me }.is_dead());
        assert!(!Owner { start: me.start + 1, namespace: 1, ..me }.is_dead());
    }
}
