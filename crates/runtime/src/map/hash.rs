//! Hash maps: chained buckets over preallocated elements (kernel/bpf/hashtab.c).
//!
//! - Lookups take no lock. A chain ends in the number of its bucket, so that a reader which was led astray by an element
//!   moving to another bucket sees it and starts again (the kernel's `hlist_nulls`).
//! - Changes hold the bucket's lock. Every chain is whole after every single store, and the slot says which elements are
//!   in its hands (`Slot::pend`): a process may be killed between any two instructions, see `host::repair`.
//! - Freed elements are reused at once; there is a free list for each slot, others' are raided when one's own is empty.

use super::elements::{END, hold, let_go, link_to, pop, push};
use super::hash_fn::{hash, hash_n, key_eq};
use super::{BPF_EXIST, BPF_NOEXIST, Map, Result, copy_value, zero_value};
use crate::lock::{self, Guard};
use crate::slot::Cx;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use stylet_uapi::MapType;
use stylet_uapi::errno::{E2BIG, EEXIST, EINVAL, ENOENT};

/// Times a reader starts again before it gives up.
const RETRIES: u32 = 64;
/// Links followed in search of an element to evict; chains are much shorter.
const EVICT_CHAIN: u32 = 64;

/// Value of another slot or of all slots in an update of a per-CPU map.
#[derive(Clone, Copy)]
pub enum Values {
    /// `value_size` bytes for the slot of the caller; a new element's other values are zero.
    Own(*const u8),
    /// `value_stride` bytes for each slot: `bpf(BPF_MAP_UPDATE_ELEM)`.
    All(*const u8),
}

/// An element, by index below `nelems`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Elem(pub u32);

/// What a walk found: the element and the link that leads to it.
pub(super) type Found<'m> = Option<(&'m AtomicU32, u32)>;

/// Walks bucket `b`'s chain for `key`. `Err` when the walk left the bucket. `N` as for `hash_n`.
#[inline(always)]
pub(super) unsafe fn walk<'m, const N: u32>(
    map: &'m Map,
    b: u32,
    h: u32,
    key: *const u8,
) -> core::result::Result<Found<'m>, ()> {
    let mut link = map.bucket_head(b);
    let mut steps = map.geo.nelems;
    loop {
        let e = link.load(Acquire);
        if e >= map.geo.nelems {
            return if e == END | b { Ok(None) } else { Err(()) };
        }
        // SAFETY: `e` is an element; `key` has key_size bytes.
        let is_key = || unsafe { key_eq::<N>(map.elem_key(e), key, map.geo.key_size) };
        // Comparing a key of one word costs no more than comparing its hash.
        if (N != 0 || map.elem_hash(e).load(Relaxed) == h) && is_key() {
            return Ok(Some((link, e)));
        }
        if steps == 0 {
            return Err(());
        }
        steps -= 1;
        link = map.next(e);
    }
}

#[inline(always)]
unsafe fn find_n<const N: u32>(map: &Map, key: *const u8) -> Option<u32> {
    // SAFETY: promised by the callers.
    unsafe {
        let h = hash_n::<N>(key, map.geo.key_size, map.geo.seed);
        let b = h & map.geo.mask;
        match walk::<N>(map, b, h, key) {
            Ok(found) => found.map(|(_, e)| e),
            Err(()) => find_again(map, b, h, key),
        }
    }
}

/// Starts again after a walk that left its bucket.
#[cold]
#[inline(never)]
unsafe fn find_again(map: &Map, b: u32, h: u32, key: *const u8) -> Option<u32> {
    for _ in 0..RETRIES {
        // SAFETY: promised by the callers.
        if let Ok(found) = unsafe { walk::<0>(map, b, h, key) } {
            return found.map(|(_, e)| e);
        }
    }
    None
}

/// The element of `key`.
///
/// # Safety
/// `key` has `key_size` bytes.
#[inline]
pub unsafe fn find(map: &Map, key: *const u8) -> Option<Elem> {
    // SAFETY: promised by the caller.
    unsafe {
        match map.geo.key_size {
            4 => find_n::<4>(map, key),
            8 => find_n::<8>(map, key),
            _ => find_n::<0>(map, key),
        }
    }
    .map(Elem)
}

/// `bpf_map_lookup_elem` of a program: address of the value (of this slot). Marks elements of LRU maps as used.
///
/// # Safety
/// `key` has `key_size` bytes.
#[inline]
pub unsafe fn lookup(map: &Map, key: *const u8, slot: u32) -> Option<*mut u8> {
    // SAFETY: promised by the caller.
    let Elem(e) = unsafe { find(map, key) }?;
    if map.is_lru() && map.referenced(e).load(Relaxed) == 0 {
        map.referenced(e).store(1, Relaxed);
    }
    map.elem_value(e, slot)
}

/// Writes the value of element `e`.
unsafe fn set_values(map: &Map, e: u32, val: Values, fresh: bool, cx: &Cx) {
    let (size, stride) = (map.geo.value_size, map.geo.value_stride);
    if !map.is_percpu() {
        let (Values::Own(src) | Values::All(src)) = val;
        if let Some(dst) = map.elem_value(e, 0) {
            // Maps of maps store the distance, all 8 bytes of it.
            let size = if map.map_type() == MapType::HASH_OF_MAPS { stride } else { size };
            // SAFETY: room for `value_stride` bytes.
            unsafe { copy_value(dst, src, size) };
        }
        return;
    }
    for slot in 0..map.geo.nslots {
        let Some(dst) = map.percpu_value(e, slot) else { return };
        // SAFETY: values are `value_stride` bytes; `All` has as many for each slot.
        unsafe {
            match val {
                Values::All(src) => copy_value(dst, src.add(slot as usize * stride as usize), size),
                Values::Own(src) if slot == cx.slot => copy_value(dst, src, size),
                Values::Own(_) if fresh => zero_value(dst, stride),
                Values::Own(_) => {}
            }
        }
    }
}

/// A change of a bucket that is locked.
pub(super) struct Change<'m> {
    pub map: &'m Map<'m>,
    pub bucket: u32,
    pub hash: u32,
    pub key: *const u8,
    pub val: Values,
}

impl Change<'_> {
    /// Fills element `e` and puts it at `link`, before `next`.
    #[inline]
    unsafe fn put(&self, e: u32, link: &AtomicU32, next: u32, cx: &Cx) {
        let map = self.map;
        // SAFETY: keys have room for key_size rounded up to 8.
        unsafe {
            copy_value(map.elem_key(e), self.key, map.geo.key_size);
            set_values(map, e, self.val, true, cx);
        }
        map.elem_hash(e).store(self.hash, Relaxed);
        map.referenced(e).store(0, Relaxed);
        map.next(e).store(next, Relaxed);
        link.store(e, Release);
    }

    /// Puts the spare element in place of `old`, in one store; `old` becomes the spare one.
    #[inline]
    unsafe fn replace(&self, link: &AtomicU32, old: u32, cx: &Cx) -> Result<()> {
        let spare = self.map.spare(self.bucket);
        let e = spare.load(Relaxed);
        if e >= self.map.geo.nelems {
            return Err(E2BIG);
        }
        self.map.replaced(self.bucket).store(old + 1, Release);
        // SAFETY: as for `put`.
        unsafe { self.put(e, link, self.map.next(old).load(Relaxed), cx) };
        spare.store(old, Release);
        Ok(())
    }

    /// Links a free element at the head of the bucket; an LRU map makes room.
    unsafe fn add(&self, cx: &Cx) -> Result<()> {
        let map = self.map;
        let e = match pop(map, cx)? {
            Some(e) => e,
            None if map.is_lru() => evict(map, self.bucket, cx).ok_or(E2BIG)?,
            None => {
                map.count_lost();
                return Err(E2BIG);
            }
        };
        let head = map.bucket_head(self.bucket);
        // SAFETY: as for `put`.
        unsafe { self.put(e, head, head.load(Relaxed), cx) };
        let_go(cx);
        Ok(())
    }
}

/// An element that is not in use in an LRU map, taken out of its bucket: the first not used since the clock's hand passed.
/// `keep` is the bucket the caller has locked.
fn evict(map: &Map, keep: u32, cx: &Cx) -> Option<u32> {
    let geo = map.geo;
    for _ in 0..(2 * geo.max_entries as u64 + 2) {
        let hand = map.hdr().head.fetch_add(1, Relaxed);
        let e = hand.checked_rem(geo.nelems)?;
        if map.referenced(e).load(Relaxed) != 0 {
            map.referenced(e).store(0, Relaxed);
            continue;
        }
        let b = map.elem_hash(e).load(Relaxed) & geo.mask;
        let held = map.share_lock(b, keep);
        let guard: Option<Guard> = if held { None } else { lock::try_lock(map.bucket_lock(b), cx) };
        if !held && guard.is_none() {
            continue;
        }
        if let Some(link) = link_to(map, b, e, EVICT_CHAIN) {
            hold(map, e, cx);
            link.store(map.next(e).load(Relaxed), Release);
            return Some(e);
        }
    }
    None
}

/// `bpf_map_update_elem`: errors and their order as in `htab_map_update_elem`: `EINVAL` unknown flags or `BPF_F_LOCK`,
/// `EBUSY` bucket locked by this thread, `EEXIST`, `ENOENT`, `E2BIG` full.
///
/// # Safety
/// `key` has `key_size` bytes and `val` what [`Values`] says.
pub unsafe fn update(map: &Map, key: *const u8, val: Values, flags: u64, cx: &Cx) -> Result<()> {
    if flags > BPF_EXIST || cx.slot >= map.geo.nslots {
        return Err(EINVAL);
    }
    // SAFETY: promised by the caller.
    unsafe {
        match map.geo.key_size {
            4 => update_n::<4>(map, key, val, flags, cx),
            8 => update_n::<8>(map, key, val, flags, cx),
            _ => update_n::<0>(map, key, val, flags, cx),
        }
    }
}

#[inline]
unsafe fn update_n<const N: u32>(
    map: &Map,
    key: *const u8,
    val: Values,
    flags: u64,
    cx: &Cx,
) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe {
        let hash = hash_n::<N>(key, map.geo.key_size, map.geo.seed);
        let bucket = hash & map.geo.mask;
        let _guard = lock::lock(map.bucket_lock(bucket), cx).inspect_err(|_| map.count_lost())?;
        let found = walk::<N>(map, bucket, hash, key).unwrap_or(None);
        change(&Change { map, bucket, hash, key, val }, found, flags, cx)
    }
}

/// Updates the key of `todo`, whose bucket is locked and was searched.
#[inline(always)]
pub(super) unsafe fn change(todo: &Change, found: Found, flags: u64, cx: &Cx) -> Result<()> {
    match found {
        Some(_) if flags == BPF_NOEXIST => return Err(EEXIST),
        None if flags == BPF_EXIST => return Err(ENOENT),
        _ => {}
    }
    let map = todo.map;
    // SAFETY: promised by the callers.
    unsafe {
        match found {
            Some((_, e)) if map.is_percpu() => {
                set_values(map, e, todo.val, false, cx);
                if map.is_lru() {
                    map.referenced(e).store(1, Relaxed);
                }
                Ok(())
            }
            Some((link, e)) => todo.replace(link, e, cx),
            None => todo.add(cx),
        }
    }
}

/// `bpf_map_delete_elem`: `ENOENT`, or `EBUSY` when the bucket is locked by this thread.
///
/// # Safety
/// `key` has `key_size` bytes.
pub unsafe fn delete(map: &Map, key: *const u8, cx: &Cx) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe { take(map, key, cx, |_| ()) }
}

/// Deletes `key`, calling `f` with its element while it is still out of reach of others.
///
/// # Safety
/// `key` has `key_size` bytes.
pub unsafe fn take(map: &Map, key: *const u8, cx: &Cx, f: impl FnOnce(u32)) -> Result<()> {
    if cx.slot >= map.geo.nslots {
        return Err(EINVAL);
    }
    // SAFETY: promised by the caller.
    unsafe {
        let h = hash(key, map.geo.key_size, map.geo.seed);
        let b = h & map.geo.mask;
        let _guard = lock::lock(map.bucket_lock(b), cx)?;
        let Ok(Some((link, e))) = walk::<0>(map, b, h, key) else { return Err(ENOENT) };
        hold(map, e, cx);
        link.store(map.next(e).load(Relaxed), Release);
        f(e);
        push(map, e, cx);
    }
    Ok(())
}

/// The element after that of `key`, the first of the table for no key or one that is not there (`htab_map_get_next_key`).
///
/// # Safety
/// `key` is null or has `key_size` bytes.
pub unsafe fn next_key(map: &Map, key: *const u8) -> Result<Elem> {
    let mut from = 0;
    if !key.is_null() {
        // SAFETY: promised by the caller.
        unsafe {
            if let Some(Elem(e)) = find(map, key) {
                let next = map.next(e).load(Acquire);
                if next < map.geo.nelems {
                    return Ok(Elem(next));
                }
                from = (hash(key, map.geo.key_size, map.geo.seed) & map.geo.mask) + 1;
            }
        }
    }
    for b in from..=map.geo.mask {
        let e = map.bucket_head(b).load(Acquire);
        if e < map.geo.nelems {
            return Ok(Elem(e));
        }
    }
    Err(ENOENT)
}

/// The first element of bucket `b`.
pub fn first(map: &Map, b: u32) -> Option<u32> {
    Some(map.bucket_head(b).load(Acquire)).filter(|&e| e < map.geo.nelems)
}

/// The element after `e` in its bucket.
pub fn after(map: &Map, e: u32) -> Option<u32> {
    Some(map.next(e).load(Acquire)).filter(|&e| e < map.geo.nelems)
}
