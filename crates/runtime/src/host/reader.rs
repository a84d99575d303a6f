//! Readers of ring buffers, perf rings and printk.

use super::{Arena, Error, HostMap, Result};
use crate::map::ring::{BUSY, DISCARD, HDR_SZ, Ring};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use stylet_uapi::MapType;

/// A record of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// CPU slot of a perf event; 0 for other rings.
    pub cpu: u32,
    /// What the program sent.
    pub data: Vec<u8>,
}

/// The one consumer of a ring. Positions are its own: those in the arena are only told to producers.
pub struct RingReader<'a> {
    _arena: &'a Arena,
    rings: Vec<(Ring, u64)>,
    next: usize,
}

impl<'a> RingReader<'a> {
    /// A reader of a ring buffer or perf event array, from where the last reader stopped.
    pub fn new(arena: &'a Arena, map: &HostMap) -> Result<RingReader<'a>> {
        let count = match map.raw().map_type() {
            MapType::RINGBUF => 1,
            MapType::PERF_EVENT_ARRAY => map.geo().nslots,
            _ => return Err(Error::Map { errno: stylet_uapi::errno::EINVAL }),
        };
        let rings = (0..count).filter_map(|slot| map.raw().ring(slot));
        Ok(RingReader {
            _arena: arena,
            rings: rings.map(|r| (r, r.hdr().cons.load(Relaxed))).collect(),
            next: 0,
        })
    }

    /// A reader of what `bpf_trace_printk` wrote.
    pub fn printk(arena: &'a Arena) -> RingReader<'a> {
        let (off, size) = arena.printk();
        // SAFETY: allocated by the arena for this ring.
        let ring = unsafe { Ring::new(arena.at(off), size - 1) };
        RingReader { _arena: arena, rings: vec![(ring, ring.hdr().cons.load(Relaxed))], next: 0 }
    }

    /// Records that found no room, over all rings.
    pub fn lost(&self) -> u64 {
        self.rings.iter().map(|(r, _)| r.hdr().lost.load(Relaxed)).fold(0, u64::wrapping_add)
    }

    /// Whether [`RingReader::next_record`] has something to do.
    pub fn pending(&self) -> bool {
        self.rings.iter().any(|(r, pos)| {
            r.hdr().prod.load(Acquire) != *pos && r.record_hdr(*pos).load(Acquire) & BUSY == 0
        })
    }

    /// The next record, `None` when there is none yet. After `Corrupt` that ring goes on with what comes next.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        for _ in 0..self.rings.len() {
            let cpu = self.next;
            let (ring, pos) = &mut self.rings[cpu];
            if let Some(data) = take(ring, pos)? {
                return Ok(Some(Record { cpu: cpu as u32, data }));
            }
            self.next = (cpu + 1) % self.rings.len();
        }
        Ok(None)
    }
}

/// Takes the record at `pos`, skipping discarded ones.
fn take(ring: &Ring, pos: &mut u64) -> Result<Option<Vec<u8>>> {
    loop {
        let prod = ring.hdr().prod.load(Acquire);
        let avail = prod.wrapping_sub(*pos);
        if avail == 0 {
            return Ok(None);
        }
        let word = ring.record_hdr(*pos).load(Acquire);
        let len = (word & !(BUSY | DISCARD)) as u64;
        let total = (len + HDR_SZ as u64).next_multiple_of(8);
        if avail > ring.size() as u64
            || !prod.is_multiple_of(8)
            || (word & BUSY == 0 && total > avail)
        {
            *pos = prod & !7;
            ring.hdr().cons.store(*pos, Release);
            return Err(Error::Corrupt { what: "ring buffer positions or record length" });
        }
        if word & BUSY != 0 {
            return Ok(None);
        }
        let data = (word & DISCARD == 0).then(|| {
            let mut data = vec![0u8; len as usize];
            let src = ring.record(*pos).wrapping_add(HDR_SZ as usize);
            // SAFETY: a record of at most the ring's size begins inside the ring, and as much memory lies behind it.
            unsafe { src.copy_to_nonoverlapping(data.as_mut_ptr(), data.len()) };
            data
        });
        *pos = pos.wrapping_add(total);
        ring.hdr().cons.store(*pos, Release);
        if data.is_some() {
            return Ok(data);
        }
    }
}
