//! The current task: ids, name, CPU, signals, random numbers.

use super::err;
use crate::abi::{NO_SLOT, RunCtx};
use crate::control::{self, MAX_SLOTS, SIGNAL_THREAD};
use crate::identity;
use crate::slot::with_slot;
use crate::sys;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use stylet_uapi::errno::{EBUSY, EINVAL};

/// Highest signal number (`_NSIG`).
const NSIG: u64 = 64;

/// `bpf_get_current_pid_tgid()`: process id << 32 | thread id, both as the process itself sees them. A child of `vfork`
/// gets its parent's until it calls `execve`, see [`crate::identity`].
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn get_current_pid_tgid(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        let arena = (*rc).arena;
        (identity::tgid(control::proc_page(arena)) as u64) << 32 | identity::tid(arena) as u64
    }
}

/// `bpf_get_current_uid_gid()`: gid << 32 | uid.
///
/// # Safety
/// None needed.
pub unsafe extern "C" fn get_current_uid_gid(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    (sys::getgid() as u64) << 32 | sys::getuid() as u64
}

/// `bpf_get_current_comm(buf, size)`: the thread's name, cut to `size - 1` bytes, the rest of `buf` zeroed.
///
/// # Safety
/// `buf` has `size` bytes.
pub unsafe extern "C" fn get_current_comm(
    buf: u64,
    size: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    let (buf, size) = (buf as *mut u8, size as u32 as usize);
    let name = sys::comm();
    // SAFETY: promised by the caller.
    unsafe {
        buf.write_bytes(0, size);
        let mut bytes = name.iter();
        for i in 0..size.saturating_sub(1).min(15) {
            *buf.add(i) = bytes.next().copied().unwrap_or(0);
        }
    }
    0
}

/// `bpf_get_smp_processor_id()`: the CPU slot, which is what per-CPU maps go by.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn get_smp_processor_id(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    let slot = unsafe { (*rc).slot };
    if slot == NO_SLOT { sys::getcpu().0 as u64 } else { slot as u64 }
}

/// `bpf_get_numa_node_id()`.
///
/// # Safety
/// None needed.
pub unsafe extern "C" fn get_numa_node_id(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    sys::getcpu().1 as u64
}

/// `bpf_get_prandom_u32()`: xorshift64*, one state a slot.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn get_prandom_u32(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    let (arena, slot) = unsafe { ((*rc).arena, (*rc).slot) };
    // Without a slot all runs share slot 0's state; a race only repeats a number.
    // SAFETY: below MAX_SLOTS.
    let state = unsafe { &control::slot(arena, if slot < MAX_SLOTS { slot } else { 0 }).prandom };
    let mut x = state.load(Relaxed);
    if x == 0 {
        x = crate::helpers::time::tsc() ^ (slot as u64) << 32 | 1;
    }
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    state.store(x, Relaxed);
    x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
}

/// Notes the signal in the slot: it is sent when the slot is left, since a handler may never return.
unsafe fn signal(sig: u64, to: u32, rc: *mut RunCtx) -> u64 {
    if sig > NSIG {
        return err(EINVAL);
    }
    if sig == 0 {
        return 0;
    }
    // SAFETY: promised by the callers.
    let noted = unsafe {
        with_slot(rc, |cx| {
            let pending = &cx.slot_ref().signal;
            pending.compare_exchange(0, sig as u32 | to, SeqCst, Relaxed).is_ok()
        })
    };
    if noted == Some(true) { 0 } else { err(EBUSY) }
}

/// `bpf_send_signal(sig)`: to the process, when the program has ended. One a run; `-EBUSY` for more.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn send_signal(
    sig: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { signal(sig as u32 as u64, 0, rc) }
}

/// `bpf_send_signal_thread(sig)`: to the thread, likewise.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn send_signal_thread(
    sig: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { signal(sig as u32 as u64, SIGNAL_THREAD, rc) }
}
