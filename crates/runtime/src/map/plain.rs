//! `BPF_MAP_TYPE_HASH` and `LRU_HASH`, the commonest maps: lookup (of the former), and replacing the value of a key that
//! is there, by the shortest way.
//!
//! As in the kernel's preallocated maps, an update does not write over the value: it puts the slot's spare element in
//! place of the old one, which becomes the spare. A program that holds a pointer to the old value goes on seeing the old
//! value, until the next update of the map from the same CPU slot takes that element (`htab_map_update_elem` and
//! `extra_elems`, kernel/bpf/hashtab.c).

use super::elements::{hold, let_go};
use super::hash::{self, Change, Elem, Values, change, find, walk};
use super::hash_fn::hash_n;
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
pub unsafe fn try_lookup<const N: u32>(
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
            && replace::<N>(&map, link, old, hash, key, val, &cx)
        {
            return Ok(());
        }
        core::mem::forget(guard);
        let done = other(map, hash, key, val, flags, cx);
        word.store(0, Release);
        done
    }
}

/// Puts the slot's spare element in place of `old`; whether there was a spare one.
#[inline(always)]
unsafe fn replace<const N: u32>(
    map: &Map,
    link: &AtomicU32,
    old: u32,
    hash: u32,
    key: *const u8,
    val: *const u8,
    cx: &Cx,
) -> bool {
    let geo = map.geo;
    let spare = map.spare(cx.slot);
    let e = spare.load(Relaxed);
    if e >= geo.nelems {
        return false;
    }
    hold(map, e, old + 1, cx);
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
    let_go(cx);
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
