//! Operations on any map, as programs do them: by type.

use super::hash::Values;
use super::{Map, Result, array, hash, queue};
use crate::slot::Cx;
use stylet_uapi::MapType;
use stylet_uapi::errno::{EINVAL, EOPNOTSUPP};

/// Whether values of this type are one for each CPU slot.
pub fn is_percpu(map_type: MapType) -> bool {
    matches!(map_type, MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH)
}

/// Whether a program that names a map of this type must hold a CPU slot for all of its run: values live with the slot.
/// Changes of other maps take one for the call when there is none.
pub fn needs_slot(map_type: MapType) -> bool {
    is_percpu(map_type) || map_type == MapType::PERF_EVENT_ARRAY
}

/// `bpf_map_lookup_elem`: address of the value, or of the inner map's header. `slot` is the one held, for per-CPU maps.
///
/// # Safety
/// `key` has `key_size` bytes.
#[inline]
pub unsafe fn lookup(map: &Map, key: *const u8, slot: u32) -> Option<*mut u8> {
    // SAFETY: promised by the caller.
    unsafe {
        match map.map_type() {
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                hash::lookup(map, key, slot)
            }
            MapType::ARRAY | MapType::PERCPU_ARRAY => {
                array::value(map, key.cast::<u32>().read_unaligned(), slot)
            }
            MapType::ARRAY_OF_MAPS => array::get_ref(map, key.cast::<u32>().read_unaligned())
                .map(|d| map.base().wrapping_offset(d as isize)),
            MapType::HASH_OF_MAPS => {
                let d = hash::lookup(map, key, slot)?.cast::<i64>().read_volatile();
                Some(map.base().wrapping_offset(d as isize))
            }
            _ => None,
        }
    }
}

/// `bpf_map_update_elem`.
///
/// # Safety
/// `key` has `key_size` bytes, `val` has `value_size` bytes.
#[inline]
pub unsafe fn update(map: &Map, key: *const u8, val: *const u8, flags: u64, cx: &Cx) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe {
        match map.map_type() {
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                hash::update(map, key, Values::Own(val), flags, cx)
            }
            MapType::ARRAY | MapType::PERCPU_ARRAY => {
                array::update(map, key.cast::<u32>().read_unaligned(), val, flags, cx.slot)
            }
            _ => Err(EINVAL),
        }
    }
}

/// `bpf_map_delete_elem`.
///
/// # Safety
/// `key` has `key_size` bytes.
#[inline]
pub unsafe fn delete(map: &Map, key: *const u8, cx: &Cx) -> Result<()> {
    match map.map_type() {
        MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
            // SAFETY: promised by the caller.
            unsafe { hash::delete(map, key, cx) }
        }
        _ => Err(EINVAL),
    }
}

/// `bpf_map_push_elem`.
///
/// # Safety
/// `val` has `value_size` bytes.
pub unsafe fn push(map: &Map, val: *const u8, flags: u64, cx: &Cx) -> Result<()> {
    match map.map_type() {
        // SAFETY: promised by the caller.
        MapType::QUEUE | MapType::STACK => unsafe { queue::push(map, val, flags, cx) },
        _ => Err(EOPNOTSUPP),
    }
}

/// `bpf_map_pop_elem` (`remove`) and `bpf_map_peek_elem`.
///
/// # Safety
/// `val` has `value_size` bytes.
pub unsafe fn pop(map: &Map, val: *mut u8, remove: bool, cx: &Cx) -> Result<()> {
    match map.map_type() {
        // SAFETY: promised by the caller.
        MapType::QUEUE | MapType::STACK => unsafe { queue::pop(map, val, remove, cx) },
        _ => Err(EOPNOTSUPP),
    }
}
