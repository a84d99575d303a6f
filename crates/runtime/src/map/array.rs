//! `BPF_MAP_TYPE_ARRAY`, `PERCPU_ARRAY`, and arrays of programs and maps (kernel/bpf/arraymap.c).

use super::{BPF_EXIST, BPF_F_LOCK, BPF_NOEXIST, Map, Result, copy_value};
use core::sync::atomic::AtomicI64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use stylet_uapi::errno::{E2BIG, EEXIST, EINVAL, ENOENT};

/// Address of value `i` of an array; `slot` picks the copy of a per-CPU array.
#[inline]
pub fn value(map: &Map, i: u32, slot: u32) -> Option<*mut u8> {
    if i >= map.geo.max_entries {
        return None;
    }
    if map.is_percpu() {
        return map.percpu_value(i, slot);
    }
    Some(map.at(map.geo.values_off as usize + i as usize * map.geo.elem_size as usize))
}

/// Checks of `array_map_update_elem`, in its order.
#[inline]
pub fn check_update(map: &Map, i: u32, flags: u64) -> Result<()> {
    if flags & !BPF_F_LOCK > BPF_EXIST {
        return Err(EINVAL);
    }
    if i >= map.geo.max_entries {
        return Err(E2BIG);
    }
    if flags & BPF_NOEXIST != 0 {
        return Err(EEXIST);
    }
    // No value here has a spin lock.
    if flags & BPF_F_LOCK != 0 { Err(EINVAL) } else { Ok(()) }
}

/// Replaces value `i` (of one slot, for per-CPU arrays).
///
/// # Safety
/// `val` has `value_size` bytes.
#[inline]
pub unsafe fn update(map: &Map, i: u32, val: *const u8, flags: u64, slot: u32) -> Result<()> {
    check_update(map, i, flags)?;
    let dst = value(map, i, slot).ok_or(EINVAL)?;
    // SAFETY: values have room for `value_size` rounded up to 8.
    unsafe { copy_value(dst, val, map.geo.value_size) };
    Ok(())
}

/// The index after `key` (`array_map_get_next_key`): the first for none or one out of range.
pub fn next_key(map: &Map, key: Option<u32>) -> Result<u32> {
    match key {
        Some(i) if i < map.geo.max_entries => {
            if i + 1 == map.geo.max_entries {
                Err(ENOENT)
            } else {
                Ok(i + 1)
            }
        }
        _ => Ok(0),
    }
}

/// Reference `i` of an array of programs or maps.
#[inline]
fn reference<'a>(map: &Map<'a>, i: u32) -> Option<&'a AtomicI64> {
    if i >= map.geo.max_entries {
        return None;
    }
    // SAFETY: entries of 8 bytes, aligned, inside the map.
    Some(unsafe { &*map.at(map.geo.values_off as usize + 8 * i as usize).cast() })
}

/// Distance from the header to what entry `i` refers to, `None` for an empty entry or one out of range.
#[inline]
pub fn get_ref(map: &Map, i: u32) -> Option<i64> {
    match reference(map, i)?.load(Acquire) {
        0 => None,
        d => Some(d),
    }
}

/// Sets entry `i`. Only the tracer can (`bpf_fd_array_map_update_elem`): `flags` must be `BPF_ANY`.
pub fn set_ref(map: &Map, i: u32, distance: i64, flags: u64) -> Result<()> {
    if flags != 0 {
        return Err(EINVAL);
    }
    reference(map, i).ok_or(E2BIG)?.store(distance, Release);
    Ok(())
}

/// Empties entry `i` (`fd_array_map_delete_elem`).
pub fn clear_ref(map: &Map, i: u32) -> Result<()> {
    match reference(map, i).ok_or(E2BIG)?.swap(0, AcqRel) {
        0 => Err(ENOENT),
        _ => Ok(()),
    }
}
