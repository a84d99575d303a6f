//! The memory of hash maps: elements, buckets, free lists.
//!
//! Elements are numbered; a link is the number of an element, or [`END`] and the number of its bucket. There is a free
//! list for each slot, others' are raided when one's own is empty; freed elements are reused at once.

use super::{Map, Result};
use crate::lock;
use crate::slot::Cx;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, Release};
use stylet_uapi::MapType;

/// Bytes of an element before its key.
pub const ELEM_HDR: u32 = size_of::<ElemHdr>() as u32;
/// Bytes of a bucket: its head.
pub const BUCKET_SIZE: u32 = 4;
/// Bytes of a slot's free list: head, lock; a cache line.
pub const FREE_SIZE: u32 = 64;
/// Most locks of a map; buckets share them. Each has a spare element.
pub const LOCKS: u32 = 64;
/// Bytes of a [`LockLine`].
pub const LOCK_SIZE: u32 = size_of::<LockLine>() as u32;

/// A lock and what it guards besides its buckets. One cache line.
#[repr(C, align(64))]
pub struct LockLine {
    /// See `lock`.
    pub lock: AtomicU32,
    /// The element for updates in place of another.
    pub spare: AtomicU32,
    /// The element that the spare one takes the place of, plus one: for repair.
    pub replaced: AtomicU32,
}

/// What an element begins with, before its key.
#[repr(C)]
pub struct ElemHdr {
    /// The next element of the chain, or [`END`] and the bucket's number.
    pub next: AtomicU32,
    /// Hash of the key.
    pub hash: AtomicU32,
    /// Used since the clock's hand passed (LRU maps).
    pub referenced: AtomicU32,
    _pad: u32,
}
/// Set in a link that ends a chain; the rest is the bucket's number.
pub(super) const END: u32 = 1 << 31;
/// Ends a free list.
const NONE: u32 = u32::MAX;
impl Map<'_> {
    /// Offset of an element.
    #[inline]
    pub(super) fn elem(&self, e: u32) -> usize {
        self.geo.values_off as usize + e as usize * self.geo.elem_size as usize
    }

    #[inline]
    pub(crate) fn next(&self, e: u32) -> &AtomicU32 {
        self.word(self.elem(e))
    }

    #[inline]
    pub(crate) fn elem_hash(&self, e: u32) -> &AtomicU32 {
        self.word(self.elem(e) + 4)
    }

    #[inline]
    pub(super) fn referenced(&self, e: u32) -> &AtomicU32 {
        self.word(self.elem(e) + 8)
    }

    /// Address of an element's key.
    #[inline]
    pub fn elem_key(&self, e: u32) -> *mut u8 {
        self.at(self.elem(e) + ELEM_HDR as usize)
    }

    /// Address of an element's value; of `slot`'s copy for per-CPU maps.
    #[inline]
    pub fn elem_value(&self, e: u32, slot: u32) -> Option<*mut u8> {
        if self.is_percpu() {
            return self.percpu_value(e, slot);
        }
        Some(self.at(self.elem(e) + self.geo.value_in_elem as usize))
    }

    #[inline]
    pub(crate) fn bucket_head(&self, b: u32) -> &AtomicU32 {
        self.word(
            self.geo.buckets_off as usize + (b & self.geo.mask) as usize * BUCKET_SIZE as usize,
        )
    }

    /// The lock of bucket `b`, with what belongs to it; others may have the same.
    #[inline]
    pub(crate) fn lock_line(&self, b: u32) -> &LockLine {
        let nth = (b & self.geo.locks_mask) as usize;
        // SAFETY: `layout` made room for `locks_mask + 1` of them.
        unsafe { &*self.at(self.geo.locks_off as usize + nth * LOCK_SIZE as usize).cast() }
    }

    /// The lock of bucket `b`.
    #[inline]
    pub(crate) fn bucket_lock(&self, b: u32) -> &AtomicU32 {
        &self.lock_line(b).lock
    }

    /// The element for updates in place of another in bucket `b`.
    #[inline]
    pub(crate) fn spare(&self, b: u32) -> &AtomicU32 {
        &self.lock_line(b).spare
    }

    /// See [`LockLine::replaced`].
    #[inline]
    pub(crate) fn replaced(&self, b: u32) -> &AtomicU32 {
        &self.lock_line(b).replaced
    }

    /// Whether two buckets have the same lock.
    #[inline]
    pub(super) fn share_lock(&self, a: u32, b: u32) -> bool {
        (a ^ b) & self.geo.locks_mask == 0
    }

    #[inline]
    pub(crate) fn free_head(&self, slot: u32) -> &AtomicU32 {
        self.word(self.geo.free_off as usize + slot as usize * FREE_SIZE as usize)
    }

    #[inline]
    pub(crate) fn free_lock(&self, slot: u32) -> &AtomicU32 {
        self.word(self.geo.free_off as usize + slot as usize * FREE_SIZE as usize + 4)
    }

    pub(crate) fn is_lru(&self) -> bool {
        matches!(self.map_type(), MapType::LRU_HASH | MapType::LRU_PERCPU_HASH)
    }
}

/// Prepares the memory of a new hash map: empty buckets, elements shared out among the slots.
pub(super) fn init(map: &Map) {
    let geo = map.geo;
    for b in 0..=geo.mask {
        map.bucket_head(b).store(END | b, Relaxed);
    }
    let share = geo.max_entries.div_ceil(geo.nslots);
    for slot in 0..geo.nslots {
        let (first, end) =
            ((slot * share).min(geo.max_entries), ((slot + 1) * share).min(geo.max_entries));
        for e in first..end {
            map.next(e).store(if e + 1 < end { e + 1 } else { NONE }, Relaxed);
        }
        map.free_head(slot).store(if first < end { first } else { NONE }, Relaxed);
    }
    for lock in 0..=geo.locks_mask {
        map.spare(lock).store(if map.is_percpu() { NONE } else { geo.max_entries + lock }, Relaxed);
    }
}

/// Notes in the caller's slot that element `e` is in its hands, for repair: before it leaves where it was.
#[inline]
pub(super) fn hold(map: &Map, e: u32, cx: &Cx) {
    let slot = cx.slot_ref();
    let off = (map.base() as usize).wrapping_sub(cx.arena as usize) as u32;
    slot.pend.store((e as u64 + 1) << 32 | off as u64, Release);
}

/// Notes that the element noted by [`hold`] is where it belongs.
#[inline]
pub(super) fn let_go(cx: &Cx) {
    cx.slot_ref().pend.store(0, Release);
}

/// Takes an element from the free list of `slot`, noting it in the caller's slot before it leaves the list.
fn pop_from(map: &Map, slot: u32, cx: &Cx) -> Result<Option<u32>> {
    let head = map.free_head(slot);
    if head.load(Relaxed) >= map.geo.nelems {
        return Ok(None);
    }
    let _guard = lock::lock(map.free_lock(slot), cx)?;
    let e = head.load(Relaxed);
    if e >= map.geo.nelems {
        return Ok(None);
    }
    hold(map, e, cx);
    head.store(map.next(e).load(Relaxed), Release);
    Ok(Some(e))
}

/// A free element, `None` when there is none anywhere.
pub(super) fn pop(map: &Map, cx: &Cx) -> Result<Option<u32>> {
    for i in 0..map.geo.nslots {
        let slot = cx.slot.wrapping_add(i);
        let slot = if slot >= map.geo.nslots { slot - map.geo.nslots } else { slot };
        if slot < map.geo.nslots
            && let Some(e) = pop_from(map, slot, cx)?
        {
            return Ok(Some(e));
        }
    }
    Ok(None)
}

/// Gives an element back to the caller's free list. If the list's lock is not to be had, to another's.
pub(super) fn push(map: &Map, e: u32, cx: &Cx) {
    for i in 0..map.geo.nslots {
        let slot = (cx.slot + i) % map.geo.nslots.max(1);
        if let Ok(_guard) = lock::lock(map.free_lock(slot), cx) {
            let head = map.free_head(slot);
            map.next(e).store(head.load(Relaxed), Relaxed);
            head.store(e, Release);
            let_go(cx);
            return;
        }
    }
    map.count_lost();
}

/// Gives back an element that belongs to nobody: for repair.
#[cfg(feature = "std")]
pub(crate) fn give_back(map: &Map, e: u32, cx: &Cx) {
    push(map, e, cx);
}

/// Links to `e` in bucket `b`'s chain: the address of the word that holds `e`. The bucket is locked.
/// At most `limit` links are followed.
pub(crate) fn link_to<'m>(map: &'m Map, b: u32, e: u32, limit: u32) -> Option<&'m AtomicU32> {
    let mut link = map.bucket_head(b);
    for _ in 0..=limit {
        let next = link.load(Relaxed);
        if next == e {
            return Some(link);
        }
        if next >= map.geo.nelems {
            return None;
        }
        link = map.next(next);
    }
    None
}
