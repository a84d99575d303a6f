//! Repair after the death of a process in the middle of a run: locks, slots, hash elements, ring buffer records.
//!
//! The order of stores in `map::hash` makes every state decidable: an element named in a slot's `pend` is linked in a
//! bucket the dead process has locked, or at the head of a free list it has locked, or belongs to nobody. The spare
//! element of a lock that it held is linked if it has taken the place of the one noted beside it, which is then the spare.

use super::{Arena, HostMap};
use crate::control::{self, MAX_PROCS};
use crate::lock::names;
use crate::map::ring::{BUSY, DISCARD, HDR_SZ, Ring};
use crate::map::{Map, elements};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use stylet_uapi::MapType;

/// What was found and put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// CPU slots freed.
    pub slots: u32,
    /// Locks broken.
    pub locks: u32,
    /// Hash elements given back.
    pub elements: u32,
    /// Ring buffer records discarded.
    pub records: u32,
}

/// Frees a lock that the dead process holds.
fn break_lock(word: &AtomicU32, index: u32, done: &mut Repaired) {
    let held = word.load(Acquire);
    if names(held, index) && word.compare_exchange(held, 0, AcqRel, Relaxed).is_ok() {
        done.locks += 1;
    }
}

/// What a dead slot had in its hands.
struct Pending {
    map: u64,
    elem: u32,
}

impl Arena {
    /// The processes that have run programs: index and process id as they see it.
    pub fn processes(&self) -> Vec<(u32, u32)> {
        (1..MAX_PROCS)
            .filter_map(|index| {
                // SAFETY: below MAX_PROCS.
                let pid = unsafe { control::process(self.base(), index) }.pid.load(Acquire);
                (pid != 0).then_some((index, pid))
            })
            .collect()
    }

    /// Puts right what process `index` left behind and frees its entry. The process, or the program image that registered,
    /// must be gone: killed, exited, or replaced by execve.
    pub fn repair(&self, index: u32) -> Repaired {
        let mut done = Repaired::default();
        if index == 0 || index >= MAX_PROCS {
            return done;
        }
        let slots = self.slots_of(index);
        let pending: Vec<Pending> = slots.iter().filter_map(|&slot| self.pending(slot)).collect();
        for id in self.maps() {
            if let Ok(map) = self.map(id) {
                repair_map(self, &map, index, &pending, &mut done);
            }
        }
        let (off, size) = self.printk();
        // SAFETY: allocated by the arena for this ring.
        repair_ring(&unsafe { Ring::new(self.at(off), size - 1) }, index, &mut done);
        for slot in slots {
            // SAFETY: below MAX_SLOTS.
            let slot = unsafe { control::slot(self.base(), slot) };
            slot.pend.store(0, Relaxed);
            slot.signal.store(0, Relaxed);
            slot.owner.store(0, Release);
            done.slots += 1;
        }
        // SAFETY: below MAX_PROCS.
        unsafe { control::process(self.base(), index) }.pid.store(0, Release);
        done
    }

    /// The slots that process `index` holds.
    fn slots_of(&self, index: u32) -> Vec<u32> {
        // SAFETY: `nslots` is at most MAX_SLOTS.
        let owner = |slot| unsafe { control::slot(self.base(), slot) }.owner.load(Acquire);
        (0..self.nslots()).filter(|&slot| owner(slot) >> 48 == index as u64).collect()
    }

    fn pending(&self, slot: u32) -> Option<Pending> {
        // SAFETY: below MAX_SLOTS.
        let s = unsafe { control::slot(self.base(), slot) };
        let pend = s.pend.load(Acquire);
        let elem = ((pend >> 32) as u32).checked_sub(1)?;
        Some(Pending { map: pend & u32::MAX as u64, elem })
    }
}

fn repair_map(arena: &Arena, host: &HostMap, index: u32, pending: &[Pending], done: &mut Repaired) {
    let map = host.raw();
    match map.map_type() {
        MapType::HASH
        | MapType::LRU_HASH
        | MapType::PERCPU_HASH
        | MapType::LRU_PERCPU_HASH
        | MapType::HASH_OF_MAPS => repair_hash(arena, host, index, pending, done),
        MapType::QUEUE | MapType::STACK => break_lock(&map.hdr().lock, index, done),
        MapType::STACK_TRACE => {
            for id in 0..=map.geo.mask {
                break_lock(map.stack_lock(id), index, done);
            }
        }
        MapType::RINGBUF => map.ring(0).iter().for_each(|r| repair_ring(r, index, done)),
        MapType::PERF_EVENT_ARRAY => {
            (0..map.geo.nslots)
                .filter_map(|s| map.ring(s))
                .for_each(|r| repair_ring(&r, index, done));
        }
        _ => {}
    }
}

fn repair_hash(
    arena: &Arena,
    host: &HostMap,
    index: u32,
    pending: &[Pending],
    done: &mut Repaired,
) {
    let map = host.raw();
    let geo = map.geo;
    let locked: Vec<u32> =
        (0..=geo.mask).filter(|&b| names(map.bucket_lock(b).load(Acquire), index)).collect();
    let bucket_of = |e: u32| {
        locked.iter().copied().find(|&b| elements::link_to(&map, b, e, geo.nelems).is_some())
    };
    let at_head = |e: u32| {
        (0..geo.nslots).any(|s| {
            names(map.free_lock(s).load(Acquire), index) && map.free_head(s).load(Acquire) == e
        })
    };
    let mine = pending.iter().filter(|p| p.map == host.offset() && p.elem < geo.nelems);
    let lost: Vec<u32> =
        mine.map(|p| p.elem).filter(|&e| bucket_of(e).is_none() && !at_head(e)).collect();
    for slot in 0..geo.nslots {
        break_lock(map.free_lock(slot), index, done);
    }
    for e in lost {
        if arena.with_cx(|cx| elements::give_back(&map, e, cx)).is_ok() {
            done.elements += 1;
        }
    }
    for lock in 0..=geo.locks_mask {
        if names(map.bucket_lock(lock).load(Acquire), index) {
            repair_spare(&map, lock, done);
        }
        break_lock(map.bucket_lock(lock), index, done);
    }
}

/// Finishes a replacement under the lock of bucket `lock`, whose holder is dead.
fn repair_spare(map: &Map, lock: u32, done: &mut Repaired) {
    let geo = map.geo;
    let spare = map.spare(lock).load(Acquire);
    let old = map.replaced(lock).load(Acquire).checked_sub(1);
    let (true, Some(old)) = (spare < geo.nelems, old.filter(|&o| o < geo.nelems)) else { return };
    let bucket = map.elem_hash(spare).load(Acquire) & geo.mask;
    if elements::link_to(map, bucket, spare, geo.nelems).is_some() {
        map.spare(lock).store(old, Release);
        done.elements += 1;
    }
}

/// Breaks the ring's lock and discards what the dead process had reserved.
fn repair_ring(ring: &Ring, index: u32, done: &mut Repaired) {
    break_lock(&ring.hdr().lock, index, done);
    let (mut pos, prod) = (ring.hdr().cons.load(Acquire), ring.hdr().prod.load(Acquire));
    if prod.wrapping_sub(pos) > ring.size() as u64 {
        return;
    }
    while pos != prod {
        let word = ring.record_hdr(pos).load(Acquire);
        let len = word & !(BUSY | DISCARD);
        let total = (len as u64 + HDR_SZ as u64).next_multiple_of(8);
        if total > prod.wrapping_sub(pos) {
            return;
        }
        if word & BUSY != 0 && names(ring.record_owner(pos).load(Relaxed), index) {
            ring.record_hdr(pos).store(len | DISCARD, Release);
            done.records += 1;
        }
        pos = pos.wrapping_add(total);
    }
}
