//! `BPF_MAP_TYPE_HASH` and `LRU_HASH`, the commonest maps: lookup (of the former), and replacing the value of a key that
//! is there, by the shortest way.
//!
//! As in the kernel's preallocated maps, an update does not write over the value: it puts a spare element in place of the
//! old one, which becomes the spare. A program that holds a pointer to the old value goes on seeing the old value, until
//! the next update takes that element (`htab_map_update_elem` and `extra_elems`, kernel/bpf/hashtab.c, where the spare is
//! the CPU's; here it is the lock's, so that an update in place needs no CPU slot).

use super::elements::{ELEM_HDR, ElemHdr};
use super::hash::{self, Change, Elem, Values, change, find, walk};
use super::hash_fn::{hash_n, key_eq};
use super::{BPF_EXIST, BPF_NOEXIST, Map, Result, copy_value};
use crate::lock;
use crate::slot::Cx;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, Release};
use stylet_uapi::errno::EINVAL;

/// Address of the value of `key` in a `BPF_MAP_TYPE_HASH`.
///
/// # Safety
/// `key` has `key_size` bytes.
#[inline]
pub unsafe fn lookup(map: &Map, key: *const u8) -> Option<*mut u8> {
    // SAFETY: promised by the caller.
    let Elem(e) = unsafe { find(map, key) }?;
    Some(map.at(map.elem(e) + map.geo.value_in_elem as usize))
}

/// One attempt at [`lookup`] of a key of `N` bytes: `Err` when an element moved meanwhile.
///
/// # Safety
/// `key` has `key_size` bytes, which is `N`.
#[inline(always)]
pub(crate) unsafe fn try_lookup<const N: u32>(
    map: &Map,
    key: *const u8,
) -> core::result::Result<Option<*mut u8>, ()> {
    // SAFETY: promised by the caller.
    unsafe {
        let h = hash_n::<N>(key, N, map.geo.seed);
        let found = walk::<N>(map, h & map.geo.mask, h, key)?;
        Ok(found.map(|(_, e)| map.at(map.elem(e) + map.geo.value_in_elem as usize)))
    }
}

/// [`hash::update`] of a `BPF_MAP_TYPE_HASH` or `LRU_HASH`.
///
/// # Safety
/// `key` has `key_size` bytes and `val` has `value_size`.
#[inline(always)]
pub unsafe fn update(map: &Map, key: *const u8, val: *const u8, flags: u64, cx: &Cx) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe {
        match map.geo.key_size {
            4 => update_n::<4>(*map, key, val, flags, *cx),
            8 => update_n::<8>(*map, key, val, flags, *cx),
            _ => update_n::<0>(*map, key, val, flags, *cx),
        }
    }
}

#[inline(always)]
unsafe fn update_n<const N: u32>(
    map: Map,
    key: *const u8,
    val: *const u8,
    flags: u64,
    cx: Cx,
) -> Result<()> {
    if flags > BPF_EXIST || cx.slot >= map.geo.nslots {
        return Err(EINVAL);
    }
    // SAFETY: promised by the caller.
    unsafe {
        let hash = hash_n::<N>(key, map.geo.key_size, map.geo.seed);
        let bucket = hash & map.geo.mask;
        let word = map.bucket_lock(bucket);
        let Some(guard) = lock::try_lock(word, &cx) else {
            return contended(map, key, val, flags, cx);
        };
        let found = walk::<N>(&map, bucket, hash, key).unwrap_or(None);
        if let Some((link, old)) = found
            && flags != BPF_NOEXIST
            && replace::<N>(&map, link, old, hash, key, val)
        {
            return Ok(());
        }
        core::mem::forget(guard);
        let done = other(map, hash, key, val, flags, cx);
        word.store(0, Release);
        done
    }
}

/// One attempt at replacing the value of a key of `N` bytes in a `BPF_MAP_TYPE_HASH`, under the lock name `name`: whether it
/// was. It was not if the key is not there, somebody else is at work in its bucket, or `flags` say otherwise.
///
/// # Safety
/// `key` has `key_size` bytes, which is `N`, and `val` has `value_size`.
#[inline(always)]
pub(crate) unsafe fn try_replace<const N: u32>(
    map: &Map,
    key: *const u8,
    val: *const u8,
    flags: u64,
    name: u32,
) -> bool {
    if flags & !BPF_EXIST != 0 {
        return false;
    }
    let nelems = map.geo.nelems;
    // SAFETY: promised by the caller; elements below `nelems` are inside the map and begin with `ElemHdr`.
    unsafe {
        let hash = hash_n::<N>(key, N, map.geo.seed);
        let bucket = hash & map.geo.mask;
        let line = map.lock_line(bucket);
        let Some(_guard) = lock::try_lock_as(&line.lock, name) else { return false };
        let (first, size) = (map.at(map.geo.values_off as usize), map.geo.elem_size as usize);
        let elem = |e: u32| first.wrapping_add(e as usize * size);
        let key_at = |at: *mut u8| at.wrapping_add(ELEM_HDR as usize);
        let (mut link, mut steps) = (map.bucket_head(bucket), nelems);
        let (old, old_at) = loop {
            let e = link.load(Relaxed);
            if e >= nelems || steps == 0 {
                return false;
            }
            let at = elem(e);
            if key_eq::<N>(key_at(at), key, N) {
                break (e, &*at.cast::<ElemHdr>());
            }
            steps -= 1;
            link = &(*at.cast::<ElemHdr>()).next;
        };
        let new = line.spare.load(Relaxed);
        if new >= nelems {
            return false;
        }
        line.replaced.store(old + 1, Release);
        let at = elem(new);
        copy_value(key_at(at), key, N);
        let to = at.wrapping_add(map.geo.value_in_elem as usize);
        match map.geo.value_size {
            8 => to.cast::<u64>().write_volatile(val.cast::<u64>().read_unaligned()),
            size => copy_value(to, val, size),
        }
        let hdr = &*at.cast::<ElemHdr>();
        hdr.hash.store(hash, Relaxed);
        hdr.next.store(old_at.next.load(Relaxed), Relaxed);
        link.store(new, Release);
        line.spare.store(old, Release);
        true
    }
}

/// Puts the spare element in place of `old`; whether there was a spare one.
#[inline(always)]
unsafe fn replace<const N: u32>(
    map: &Map,
    link: &AtomicU32,
    old: u32,
    hash: u32,
    key: *const u8,
    val: *const u8,
) -> bool {
    let geo = map.geo;
    let spare = map.spare(hash);
    let e = spare.load(Relaxed);
    if e >= geo.nelems {
        return false;
    }
    map.replaced(hash).store(old + 1, Release);
    // SAFETY: keys have room for key_size rounded up to 8; `key` and `val` as promised.
    unsafe {
        copy_value(map.elem_key(e), key, if N == 0 { geo.key_size } else { N });
        let to = map.at(map.elem(e) + geo.value_in_elem as usize);
        copy_value(to, val, geo.value_size);
    }
    map.elem_hash(e).store(hash, Relaxed);
    map.referenced(e).store(0, Relaxed);
    map.next(e).store(map.next(old).load(Relaxed), Relaxed);
    link.store(e, Release);
    spare.store(old, Release);
    true
}

/// An update of any kind, with the bucket locked.
#[cold]
#[inline(never)]
unsafe fn other(
    map: Map,
    hash: u32,
    key: *const u8,
    val: *const u8,
    flags: u64,
    cx: Cx,
) -> Result<()> {
    let bucket = hash & map.geo.mask;
    // SAFETY: promised by the caller.
    unsafe {
        let found = walk::<0>(&map, bucket, hash, key).unwrap_or(None);
        change(&Change { map: &map, bucket, hash, key, val: Values::Own(val) }, found, flags, &cx)
    }
}

/// An update whose bucket is locked by another.
#[cold]
#[inline(never)]
unsafe fn contended(map: Map, key: *const u8, val: *const u8, flags: u64, cx: Cx) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe { hash::update(&map, key, Values::Own(val), flags, &cx) }
}
