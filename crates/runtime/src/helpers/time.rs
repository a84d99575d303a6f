//! Clocks. `CLOCK_MONOTONIC` comes from the time-stamp counter while the tracer keeps the parameters fresh, else from the
//! kernel.

use crate::abi::RunCtx;
use crate::control::{self, Clock};
use crate::sys;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// `CLOCK_MONOTONIC`.
pub(crate) const MONOTONIC: u32 = 1;
/// `CLOCK_MONOTONIC_COARSE`.
const MONOTONIC_COARSE: u32 = 6;
/// `CLOCK_BOOTTIME`.
pub(crate) const BOOTTIME: u32 = 7;
/// `CLOCK_TAI`.
pub(crate) const TAI: u32 = 11;
/// Rate of jiffies; the kernel's is a build option, this is its default.
const HZ: u64 = 250;

/// The time-stamp counter.
#[inline]
pub(crate) fn tsc() -> u64 {
    // SAFETY: rdtsc is allowed unless the process asked otherwise (PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds by the counter; `None` when the parameters are being written or too old.
#[inline]
fn by_tsc(clock: &Clock, extra: impl Fn(&Clock) -> u64) -> Option<u64> {
    let seq = clock.seq.load(Acquire);
    if seq == 0 || seq & 1 != 0 {
        return None;
    }
    let (base, ns) = (clock.base_tsc.load(Relaxed), clock.base_ns.load(Relaxed));
    let (mult, limit) = (clock.mult.load(Relaxed), clock.limit.load(Relaxed));
    let extra = extra(clock);
    let ticks = tsc().wrapping_sub(base);
    core::sync::atomic::fence(Acquire);
    if ticks >= limit || clock.seq.load(Relaxed) != seq {
        return None;
    }
    Some(ns.wrapping_add(((ticks as u128 * mult as u128) >> 32) as u64).wrapping_add(extra))
}

/// The clock of the arena of `rc`.
#[inline]
unsafe fn clock<'a>(rc: *mut RunCtx) -> &'a Clock {
    // SAFETY: promised by the callers.
    unsafe { &control::control((*rc).arena).clock }
}

/// `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`.
///
/// # Safety
/// `rc` is valid; so for every helper here.
pub unsafe extern "C" fn ktime_get_ns(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { by_tsc(clock(rc), |_| 0) }.unwrap_or_else(|| sys::clock_ns(MONOTONIC))
}

/// `bpf_ktime_get_boot_ns()`: `CLOCK_BOOTTIME`.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn ktime_get_boot_ns(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { by_tsc(clock(rc), |c| c.boot_ns.load(Relaxed)) }
        .unwrap_or_else(|| sys::clock_ns(BOOTTIME))
}

/// `bpf_ktime_get_tai_ns()`: `CLOCK_TAI`.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn ktime_get_tai_ns(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { by_tsc(clock(rc), |c| c.tai_ns.load(Relaxed)) }.unwrap_or_else(|| sys::clock_ns(TAI))
}

/// `bpf_ktime_get_coarse_ns()`: `CLOCK_MONOTONIC_COARSE`.
///
/// # Safety
/// None needed.
pub unsafe extern "C" fn ktime_get_coarse_ns(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    sys::clock_ns(MONOTONIC_COARSE)
}

/// `bpf_jiffies64()`: counts 250 a second from `INITIAL_JIFFIES` (include/linux/jiffies.h) at boot.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn jiffies64(_: u64, _: u64, _: u64, _: u64, _: u64, rc: *mut RunCtx) -> u64 {
    const INITIAL_JIFFIES: u64 = (300 * HZ as u32).wrapping_neg() as u64;
    // SAFETY: promised by the caller.
    INITIAL_JIFFIES + unsafe { ktime_get_ns(0, 0, 0, 0, 0, rc) } / (1_000_000_000 / HZ)
}
