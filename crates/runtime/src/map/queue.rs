//! `BPF_MAP_TYPE_QUEUE` and `STACK` (kernel/bpf/queue_stack_maps.c).

use super::{BPF_EXIST, BPF_NOEXIST, Map, Result, copy_value, zero_value};
use crate::slot::Cx;
use core::sync::atomic::Ordering::{Relaxed, Release};
use stylet_uapi::MapType;
use stylet_uapi::errno::{E2BIG, EINVAL, ENOENT};

/// Places in the ring: one more than entries.
fn size(map: &Map) -> u32 {
    map.geo.max_entries + 1
}

fn elem(map: &Map, i: u32) -> *mut u8 {
    map.at(map.geo.values_off as usize + i as usize * map.geo.elem_size as usize)
}

/// The place after `i`.
fn after(map: &Map, i: u32) -> u32 {
    if i + 1 >= size(map) { 0 } else { i + 1 }
}

/// Head and tail, in range whatever is stored.
fn ends(map: &Map) -> (u32, u32) {
    let n = size(map);
    (map.hdr().head.load(Relaxed).min(n - 1), map.hdr().tail.load(Relaxed).min(n - 1))
}

/// `bpf_map_push_elem`: `EINVAL` unknown flags, `E2BIG` full (with `BPF_EXIST` the oldest is overwritten), `EBUSY`.
///
/// # Safety
/// `val` has `value_size` bytes.
pub unsafe fn push(map: &Map, val: *const u8, flags: u64, cx: &Cx) -> Result<()> {
    if flags & BPF_NOEXIST != 0 || flags > BPF_EXIST {
        return Err(EINVAL);
    }
    let _guard = map.lock(cx).inspect_err(|_| map.count_lost())?;
    let (head, tail) = ends(map);
    let next = after(map, head);
    if next == tail {
        if flags & BPF_EXIST == 0 {
            map.count_lost();
            return Err(E2BIG);
        }
        map.hdr().tail.store(after(map, tail), Release);
    }
    // SAFETY: elements have room for `value_size` rounded up to 8.
    unsafe { copy_value(elem(map, head), val, map.geo.value_size) };
    map.hdr().head.store(next, Release);
    Ok(())
}

/// `bpf_map_pop_elem` (`remove`) and `bpf_map_peek_elem`: `ENOENT` with `val` zeroed when empty, `EBUSY` likewise.
///
/// # Safety
/// `val` has `value_size` bytes.
pub unsafe fn pop(map: &Map, val: *mut u8, remove: bool, cx: &Cx) -> Result<()> {
    let size_bytes = map.geo.value_size as usize;
    let guard = map.lock(cx);
    let (head, tail) = ends(map);
    if guard.is_err() || head == tail {
        // SAFETY: promised by the caller.
        unsafe { val.write_bytes(0, size_bytes) };
        return guard.and(Err(ENOENT));
    }
    let is_stack = map.map_type() == MapType::STACK;
    let at = match is_stack {
        true if head == 0 => size(map) - 1,
        true => head - 1,
        false => tail,
    };
    // SAFETY: elements have `value_size` bytes.
    unsafe { val.copy_from_nonoverlapping(elem(map, at), size_bytes) };
    if remove {
        match is_stack {
            true => map.hdr().head.store(at, Release),
            false => map.hdr().tail.store(after(map, at), Release),
        }
        // SAFETY: as in `push`.
        unsafe { zero_value(elem(map, at), map.geo.value_size) };
    }
    Ok(())
}
