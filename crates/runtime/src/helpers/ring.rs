//! Ring buffers and perf events.

use super::err;
use crate::abi::RunCtx;
use crate::control::MAX_SLOTS;
use crate::map::Map;
use crate::map::ring::{self, FORCE_WAKEUP, NO_WAKEUP};
use crate::slot::{Cx, with_slot};
use stylet_uapi::errno::{E2BIG, EAGAIN, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP};

/// `BPF_F_INDEX_MASK`, also `BPF_F_CURRENT_CPU`.
const INDEX_MASK: u64 = 0xffff_ffff;
/// Largest sample of perf: the record's size is 16 bits.
const PERF_SAMPLE_MAX: u64 = u16::MAX as u64 - 24;

#[inline]
unsafe fn ring_of<'a>(r1: u64) -> (Map<'a>, Option<ring::Ring>) {
    // SAFETY: the verifier saw that R1 is a map.
    let map = unsafe { Map::from_ptr(r1 as *mut u8) };
    (map, map.ring(0))
}

/// `bpf_ringbuf_output(ringbuf, data, size, flags)`: 0, `-EINVAL` unknown flags, `-EAGAIN` no room.
///
/// # Safety
/// Verified arguments; so for every helper here.
pub unsafe extern "C" fn ringbuf_output(
    r1: u64,
    data: u64,
    size: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
        return err(EINVAL);
    }
    // SAFETY: verified arguments.
    unsafe {
        let (_, Some(ring)) = ring_of(r1) else { return err(EINVAL) };
        let sent = with_slot(rc, |cx| ring.output(data as *const u8, size, flags, cx));
        if sent == Some(true) { 0 } else { err(EAGAIN) }
    }
}

/// `bpf_ringbuf_reserve(ringbuf, size, flags)`: address of the data or 0.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_reserve(
    r1: u64,
    size: u64,
    flags: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    if flags != 0 {
        return 0;
    }
    // SAFETY: verified arguments.
    unsafe {
        let (_, Some(ring)) = ring_of(r1) else { return 0 };
        with_slot(rc, |cx| ring.reserve(size, cx)).flatten().map_or(0, |p| p as u64)
    }
}

/// `bpf_ringbuf_submit(data, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_submit(
    data: u64,
    flags: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: `data` is a reservation, as verified.
    unsafe { ring::commit((*rc).arena, data as *mut u8, flags, false) };
    0
}

/// `bpf_ringbuf_discard(data, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_discard(
    data: u64,
    flags: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: `data` is a reservation, as verified.
    unsafe { ring::commit((*rc).arena, data as *mut u8, flags, true) };
    0
}

/// `bpf_ringbuf_query(ringbuf, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_query(
    r1: u64,
    flags: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    unsafe { ring_of(r1) }.1.map_or(0, |ring| ring.query(flags))
}

/// `bpf_perf_event_output(ctx, map, flags, data, size)`: 0, `-EINVAL` unknown flags, `-E2BIG` index out of range or sample
/// too large, `-EOPNOTSUPP` another CPU's ring, `-ENOENT` no ring, `-ENOSPC` no room. "CPU" is the CPU slot.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn perf_event_output(
    _: u64,
    r2: u64,
    flags: u64,
    data: u64,
    size: u64,
    rc: *mut RunCtx,
) -> u64 {
    if flags & !INDEX_MASK != 0 {
        return err(EINVAL);
    }
    // SAFETY: verified arguments.
    unsafe {
        let (arena, slot) = ((*rc).arena, (*rc).slot);
        let map = Map::from_ptr(r2 as *mut u8);
        if slot >= MAX_SLOTS {
            return err(ENOENT);
        }
        let index = if flags == INDEX_MASK { slot } else { flags as u32 };
        if index >= map.geo.max_entries || size > PERF_SAMPLE_MAX {
            return err(E2BIG);
        }
        if index != slot {
            return err(EOPNOTSUPP);
        }
        let Some(ring) = map.ring(slot) else { return err(ENOENT) };
        let cx = Cx::new(arena, slot);
        // The slot is this run's alone, and with it the ring.
        let Some(to) = ring.reserve_single(size, &cx) else { return err(ENOSPC) };
        to.copy_from_nonoverlapping(data as *const u8, size as usize);
        ring::commit(arena, to, 0, false);
    }
    0
}
