//! Map helpers. R1 is the address of the map's header.

use super::{err, status};
use crate::abi::RunCtx;
use crate::control::MAX_SLOTS;
use crate::map::{Map, array, hash, ops, plain};
use crate::slot::{lock_name, with_slot};
use stylet_uapi::MapType;
use stylet_uapi::errno::{EBUSY, EINVAL};

/// Most entries that `bpf_for_each_map_elem` visits, so that a map others grow meanwhile cannot hold it.
const MAX_VISITS: u32 = 1 << 26;

/// The map in R1.
#[inline]
unsafe fn map<'a>(r1: u64) -> Map<'a> {
    // SAFETY: the verifier saw that R1 is a map.
    unsafe { Map::from_ptr(r1 as *mut u8) }
}

#[inline]
fn address(value: Option<*mut u8>) -> u64 {
    value.map_or(0, |p| p as u64)
}

/// `bpf_map_lookup_elem(map, key)`: address of the value or 0.
///
/// # Safety
/// Arguments are as the verifier admits them; so for every helper here.
pub unsafe extern "C" fn lookup_elem(
    r1: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        let map = map(r1);
        if map.map_type() == MapType::HASH {
            return address(plain::lookup(&map, key as *const u8));
        }
        lookup_other(map.base(), key as *const u8, (*rc).slot)
    }
}

/// [`lookup_elem`] of a `BPF_MAP_TYPE_HASH` whose keys have 4 bytes.
///
/// # Safety
/// Verified arguments, and the map is such a one.
pub unsafe extern "C" fn hash_lookup_4(
    r1: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe { hash_lookup_n::<4>(r1, key) }
}

/// [`lookup_elem`] of a `BPF_MAP_TYPE_HASH` whose keys have 8 bytes.
///
/// # Safety
/// Verified arguments, and the map is such a one.
pub unsafe extern "C" fn hash_lookup_8(
    r1: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe { hash_lookup_n::<8>(r1, key) }
}

/// Written so that the common path saves no register: what is rare comes last, as a jump.
#[inline(always)]
unsafe fn hash_lookup_n<const N: u32>(r1: u64, key: u64) -> u64 {
    // SAFETY: promised by the callers.
    unsafe {
        match plain::try_lookup::<N>(&map(r1), key as *const u8) {
            Ok(value) => address(value),
            Err(()) => lookup_other(r1 as *mut u8, key as *const u8, 0),
        }
    }
}

/// [`update_elem`] of a `BPF_MAP_TYPE_HASH` whose keys have 4 bytes.
///
/// # Safety
/// Verified arguments, and the map is such a one.
pub unsafe extern "C" fn hash_update_4(
    r1: u64,
    key: u64,
    val: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe { hash_update_n::<4>(r1, key, val, flags, rc) }
}

/// [`update_elem`] of a `BPF_MAP_TYPE_HASH` whose keys have 8 bytes.
///
/// # Safety
/// Verified arguments, and the map is such a one.
pub unsafe extern "C" fn hash_update_8(
    r1: u64,
    key: u64,
    val: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe { hash_update_n::<8>(r1, key, val, flags, rc) }
}

/// Replaces the value of a key that is there; everything else is [`update_elem`]'s.
#[inline(always)]
unsafe fn hash_update_n<const N: u32>(
    r1: u64,
    key: u64,
    val: u64,
    flags: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the callers.
    unsafe {
        if let Some(name) = lock_name(rc)
            && plain::try_replace::<N>(&map(r1), key as *const u8, val as *const u8, flags, name)
        {
            return 0;
        }
        update_elem(r1, key, val, flags, 0, rc)
    }
}

/// Lookups of all types but the commonest.
#[inline(never)]
unsafe fn lookup_other(map: *mut u8, key: *const u8, slot: u32) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { address(ops::lookup(&Map::from_ptr(map), key, slot)) }
}

/// `bpf_map_update_elem(map, key, value, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn update_elem(
    r1: u64,
    key: u64,
    val: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        let (map, key, val) = (map(r1), key as *const u8, val as *const u8);
        if !matches!(map.map_type(), MapType::HASH | MapType::LRU_HASH) {
            return update_other(map.base(), key, val, flags, rc);
        }
        let done = with_slot(rc, |cx| plain::update(&map, key, val, flags, cx));
        status(done.unwrap_or(Err(EBUSY)))
    }
}

/// Updates of all types but the commonest.
#[inline(never)]
unsafe fn update_other(
    map: *mut u8,
    key: *const u8,
    val: *const u8,
    flags: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        let done = with_slot(rc, |cx| ops::update(&Map::from_ptr(map), key, val, flags, cx));
        status(done.unwrap_or(Err(EBUSY)))
    }
}

/// `bpf_map_delete_elem(map, key)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn delete_elem(
    r1: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        status(
            with_slot(rc, |cx| ops::delete(&map(r1), key as *const u8, cx)).unwrap_or(Err(EBUSY)),
        )
    }
}

/// `bpf_map_push_elem(map, value, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn push_elem(
    r1: u64,
    val: u64,
    flags: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        status(
            with_slot(rc, |cx| ops::push(&map(r1), val as *const u8, flags, cx))
                .unwrap_or(Err(EBUSY)),
        )
    }
}

/// `bpf_map_pop_elem(map, value)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn pop_elem(
    r1: u64,
    val: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        status(
            with_slot(rc, |cx| ops::pop(&map(r1), val as *mut u8, true, cx)).unwrap_or(Err(EBUSY)),
        )
    }
}

/// `bpf_map_peek_elem(map, value)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn peek_elem(
    r1: u64,
    val: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe {
        status(
            with_slot(rc, |cx| ops::pop(&map(r1), val as *mut u8, false, cx)).unwrap_or(Err(EBUSY)),
        )
    }
}

/// `bpf_map_lookup_percpu_elem(map, key, cpu)`: "cpu" is a CPU slot.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn lookup_percpu_elem(
    r1: u64,
    key: u64,
    cpu: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let map = unsafe { map(r1) };
    if cpu >= MAX_SLOTS as u64 || !map.is_percpu() {
        return 0;
    }
    // SAFETY: verified arguments.
    unsafe { address(ops::lookup(&map, key as *const u8, cpu as u32)) }
}

/// `bpf_for_each_map_elem(map, callback, ctx, flags)`: entries visited, or `-EINVAL`. The callback gets the map, the
/// addresses of key and value, and ctx, and ends the walk with 1.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn for_each_elem(
    r1: u64,
    cb: u64,
    ctx: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    if flags != 0 {
        return err(EINVAL);
    }
    // SAFETY: verified arguments.
    unsafe {
        let map = map(r1);
        let callback: super::Helper = core::mem::transmute(cb as *const ());
        let visit = |key: u64, val: u64| callback(r1, key, val, ctx, 0, rc) != 0;
        match map.map_type() {
            MapType::ARRAY | MapType::PERCPU_ARRAY => {
                for i in 0..map.geo.max_entries {
                    let key = i;
                    let val = address(array::value(&map, i, (*rc).slot));
                    if val == 0 || visit(&raw const key as u64, val) {
                        return i as u64 + 1;
                    }
                }
                map.geo.max_entries as u64
            }
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                for_each_hash(&map, (*rc).slot, visit)
            }
            _ => err(EINVAL),
        }
    }
}

/// Walks bucket by bucket without a lock; the callback may delete the element it is given.
fn for_each_hash(map: &Map, slot: u32, visit: impl Fn(u64, u64) -> bool) -> u64 {
    let mut visits = 0;
    for b in 0..=map.geo.mask {
        let mut next = hash::first(map, b);
        while let Some(e) = next {
            next = hash::after(map, e);
            let val = address(map.elem_value(e, slot));
            if val == 0 || visits >= MAX_VISITS {
                return visits as u64;
            }
            visits += 1;
            if visit(map.elem_key(e) as u64, val) {
                return visits as u64;
            }
        }
    }
    visits as u64
}
