//! Loops and comparisons.

use super::{Helper, err};
use crate::abi::RunCtx;
use stylet_uapi::errno::{E2BIG, EINVAL};

/// `BPF_MAX_LOOPS`.
const BPF_MAX_LOOPS: u32 = 8 << 20;

/// `bpf_loop(nr_loops, callback, ctx, flags)`: iterations done, `-EINVAL` for flags, `-E2BIG` for too many.
///
/// # Safety
/// `callback` is the entry of a verified callback.
pub unsafe extern "C" fn bpf_loop(
    nr: u64,
    callback: u64,
    ctx: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    let nr = nr as u32;
    if flags != 0 {
        return err(EINVAL);
    }
    if nr > BPF_MAX_LOOPS {
        return err(E2BIG);
    }
    // SAFETY: promised by the caller.
    let callback: Helper = unsafe { core::mem::transmute(callback as *const ()) };
    for i in 0..nr {
        // SAFETY: as above.
        if unsafe { callback(i as u64, ctx, 0, 0, 0, rc) } != 0 {
            return i as u64 + 1;
        }
    }
    nr as u64
}

/// `bpf_strncmp(s1, s1_sz, s2)`: difference of the first bytes that differ, up to `s1_sz` bytes or a NUL.
///
/// # Safety
/// `s1` has `s1_sz` bytes, `s2` is NUL-terminated.
pub unsafe extern "C" fn strncmp(
    s1: u64,
    size: u64,
    s2: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    let (a, b) = (s1 as *const u8, s2 as *const u8);
    for i in 0..size as u32 as usize {
        // SAFETY: promised by the caller: neither is read beyond a NUL.
        let (x, y) = unsafe { (*a.add(i), *b.add(i)) };
        if x != y {
            return if x < y { -1i64 as u64 } else { 1 };
        }
        if x == 0 {
            break;
        }
    }
    0
}
