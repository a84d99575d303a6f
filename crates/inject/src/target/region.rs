//! Memory for trampolines, near the code they serve.
//!
//! A region is two private mappings side by side: code (r-x) and the table of replaced return addresses (rw-). A forked
//! child has a copy of both.

use super::record::{Owner, RECORD};
use super::state::State;
use super::window::REACH;
use crate::proc::Maps;
use crate::ptrace::{Remote, Stop};
use crate::tramp::table;
use crate::{Error, Result};
use std::ops::Range;

/// Bytes of code in a region.
pub const CODE: u64 = 256 << 10;
/// First bytes of a region, before a word that is unique to it.
const MAGIC: [u8; 8] = *b"\xccSTYLET\xcc";
const MAGIC_LEN: usize = MAGIC.len();
/// Bytes before the routines: magic, unique word, [`Owner`].
pub const HEADER: u64 = 64;
/// Bytes at the end of the code that hold records for a later tracer.
pub const RECORDS: u64 = 24 << 10;
const ALIGN: u64 = 16;

/// One region.
#[derive(Clone, Debug)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Unused code bytes.
    free: Vec<Range<u64>>,
    /// Its header, to recognise it in a child.
    pub header: [u8; 16],
    /// Addresses that the records are about, by place; `None`: unused.
    pub records: Vec<Option<u64>>,
}

impl Region {
    /// A region as its header in the process shows it, with no room for more; `None` if it is none.
    pub fn found(start: u64, header: [u8; 16]) -> Option<Region> {
        let is_one = header.starts_with(&MAGIC);
        is_one.then_some(Region { start, free: Vec::new(), header, records: Vec::new() })
    }

    /// Bytes of both mappings.
    pub const SIZE: u64 = CODE + table::SIZE;

    /// Addresses of code.
    pub fn code(&self) -> Range<u64> {
        self.start..self.start + CODE
    }

    /// Address of the table.
    pub fn table(&self) -> u64 {
        self.start + CODE
    }

    /// Address of the first record.
    pub fn records_at(&self) -> u64 {
        self.start + CODE - RECORDS
    }

    /// Address of [`table::code`].
    pub fn routines(&self) -> u64 {
        self.start + HEADER
    }

    /// Whether `count` more records have room.
    fn has_records(&self, count: u64) -> bool {
        let used = self.records.iter().flatten().count() as u64;
        used + count <= RECORDS / RECORD
    }

    /// Addresses of [`table::code`].
    pub fn routine_range(&self) -> Range<u64> {
        self.routines()..self.routines() + table::code().len() as u64
    }

    /// A place for `len` bytes.
    pub fn alloc(&mut self, len: u64) -> Option<u64> {
        let len = len.next_multiple_of(ALIGN);
        let gap = self.free.iter_mut().find(|gap| gap.end - gap.start >= len)?;
        let at = gap.start;
        gap.start += len;
        Some(at)
    }

    /// Of `len` bytes allocated at `at` only the first `used` are needed.
    pub fn give_back(&mut self, at: u64, len: u64, used: u64) {
        let (len, used) = (len.next_multiple_of(ALIGN), used.next_multiple_of(ALIGN));
        self.free(at + used, len - used);
    }

    /// Gives bytes back.
    pub fn free(&mut self, at: u64, len: u64) {
        let end = at + len.next_multiple_of(ALIGN);
        self.free.push(at..end);
        self.free.sort_by_key(|gap| gap.start);
        self.free.dedup_by(|next, gap| {
            let joins = gap.end == next.start;
            if joins {
                gap.end = next.end;
            }
            joins
        });
        self.free.retain(|gap| gap.start < gap.end);
    }
}

impl State {
    /// Index of a region with `len` free code bytes within reach of `module`; maps a new one if needed.
    pub fn region_for(&mut self, stop: &mut Stop, module: &Range<u64>, len: u64) -> Result<usize> {
        let near = |r: &Region| {
            module.end.abs_diff(r.start) < REACH
                && (r.start + Region::SIZE).abs_diff(module.start) < REACH
        };
        // The windows, a site and its counter.
        let records = 2 + self.windows.len() as u64;
        let room = |r: &Region| {
            r.free.iter().any(|gap| gap.end - gap.start >= len) && r.has_records(records)
        };
        if let Some(i) = self.regions.iter().position(|r| near(r) && room(r)) {
            return Ok(i);
        }
        let maps = Maps::of(self.pid)?;
        let gap = maps.gap(Region::SIZE, module.clone(), REACH);
        let start =
            gap.ok_or(Error::NoSpace { pid: self.pid, len: Region::SIZE, near: module.start })?;
        self.map_region(stop, &maps, start)?;
        Ok(self.regions.len() - 1)
    }

    fn map_region(&mut self, stop: &mut Stop, maps: &Maps, start: u64) -> Result<()> {
        const ANON: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let rx = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let rw = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = ANON | libc::MAP_FIXED_NOREPLACE as u64;
        let mut remote = Remote::new(stop, &self.memory, maps)?;
        let none = u64::MAX;
        let code = remote.call("mmap", libc::SYS_mmap, [start, CODE, rx, flags, none, 0]);
        let mapped = code.and_then(|_| {
            let data = remote.call(
                "mmap",
                libc::SYS_mmap,
                [start + CODE, table::SIZE, rw, flags, none, 0],
            );
            if data.is_err() {
                let _ = remote.call("munmap", libc::SYS_munmap, [start, CODE, 0, 0, 0, 0]);
            }
            data
        });
        let finished = remote.finish();
        mapped?;
        finished?;
        let mut header = [0; 16];
        header[..MAGIC_LEN].copy_from_slice(&MAGIC);
        header[8..].copy_from_slice(&unique(start).to_le_bytes());
        let used = HEADER + table::code().len() as u64;
        let free = Vec::from([Range {
            start: start + used.next_multiple_of(ALIGN),
            end: start + CODE - RECORDS,
        }]);
        self.memory.write(start, &header)?;
        self.memory.write(start + header.len() as u64, &Owner::me().bytes())?;
        self.memory.write(start + HEADER, table::code())?;
        self.memory.write(start + CODE + table::RET_START, &start.to_le_bytes())?;
        self.memory.write(start + CODE + table::RET_END, &(start + CODE).to_le_bytes())?;
        self.regions.push(Region { start, free, header, records: Vec::new() });
        Ok(())
    }
}

/// A word that tells this region from that of any other tracer.
fn unique(start: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_neighbours_join() {
        let all = Range { start: 0, end: 256 };
        let mut region = Region {
            start: 0,
            free: Vec::from([all.clone()]),
            header: [0; 16],
            records: Vec::new(),
        };
        let (a, b, c) =
            (region.alloc(10).unwrap(), region.alloc(100).unwrap(), region.alloc(16).unwrap());
        assert_eq!((a, b, c), (0, 16, 128));
        region.free(b, 100);
        region.free(a, 10);
        assert_eq!(region.free, [0..128, 144..256]);
        region.free(c, 16);
        assert_eq!(region.free, [all]);
        assert_eq!(region.alloc(257), None);
    }
}
