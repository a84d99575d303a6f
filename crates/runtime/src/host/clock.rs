//! Keeping the time-stamp counter's parameters fresh, and waiting for records.

use super::{Arena, Error, Result};
use crate::abi::DATA_OFF;
use crate::control::Control;
use crate::helpers::time::{BOOTTIME, MONOTONIC, TAI, tsc};
use crate::sys;
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use core::sync::atomic::fence;
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The counter and the clock at one moment.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    tsc: u64,
    ns: u64,
}

/// Shortest time between samples that a rate is computed from: readings are some 50 ns off, so 2.5 ppm.
const MIN_BASELINE: u64 = 20_000_000;
/// Longest time parameters hold without being refreshed.
const MAX_LIMIT: u64 = 3_000_000_000;
/// Baseline after which the older sample is replaced, so that the rate follows the clock's adjustment.
const MAX_BASELINE: u64 = 10_000_000_000;

fn now(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

/// The best of some readings: the one with the shortest time around it.
fn sample() -> Sample {
    let reading = || {
        let (before, ns, after) = (tsc(), now(ClockId::Monotonic), tsc());
        (
            after.wrapping_sub(before),
            Sample { tsc: before.wrapping_add(after.wrapping_sub(before) / 2), ns },
        )
    };
    let mut best = reading();
    for _ in 0..8 {
        let next = reading();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

/// Whether the counter runs at one rate on all CPUs and the kernel trusts it.
pub(super) fn tsc_is_clock() -> bool {
    let cpuid = |leaf| core::arch::x86_64::__cpuid(leaf);
    let invariant = cpuid(0x8000_0000).eax >= 0x8000_0007 && cpuid(0x8000_0007).edx & (1 << 8) != 0;
    let source =
        std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    invariant && source.is_ok_and(|s| matches!(s.trim(), "tsc" | "kvm-clock"))
}

impl Arena {
    fn control(&self) -> &Control {
        // SAFETY: the control block is at this offset.
        unsafe { &*self.at(DATA_OFF).cast() }
    }

    /// Tells programs how the time-stamp counter maps to `CLOCK_MONOTONIC`. To be called about once a second; while it is
    /// not, or where the counter is no clock, `bpf_ktime_get_ns` is a system call. Two calls at least 20 ms apart are
    /// needed before it has any effect; whether it had.
    pub fn refresh_clock(&self) -> bool {
        let mut anchor = self.clock.lock().unwrap_or_else(|e| e.into_inner());
        if !self.tsc_is_clock {
            return false;
        }
        let new = sample();
        let Some(old) = *anchor else {
            *anchor = Some(new);
            return false;
        };
        let (ticks, ns) = (new.tsc.wrapping_sub(old.tsc), new.ns.wrapping_sub(old.ns));
        if ns < MIN_BASELINE || ticks == 0 {
            return false;
        }
        if ns > MAX_BASELINE {
            *anchor = Some(new);
        }
        let mult = (((ns as u128) << 32) / ticks as u128) as u64;
        let limit =
            (ns.saturating_mul(50).min(MAX_LIMIT) as u128 * ticks as u128 / ns as u128) as u64;
        let clock = &self.control().clock;
        let seq = clock.seq.load(Relaxed) | 1;
        clock.seq.store(seq, Relaxed);
        fence(SeqCst);
        clock.base_tsc.store(new.tsc, Relaxed);
        clock.base_ns.store(new.ns, Relaxed);
        clock.mult.store(mult, Relaxed);
        clock.limit.store(limit, Relaxed);
        clock
            .boot_ns
            .store(sys::clock_ns(BOOTTIME).wrapping_sub(sys::clock_ns(MONOTONIC)), Relaxed);
        clock.tai_ns.store(sys::clock_ns(TAI).wrapping_sub(sys::clock_ns(MONOTONIC)), Relaxed);
        clock.seq.store(seq.wrapping_add(1).max(2), Release);
        true
    }

    /// Sleeps until a record is committed anywhere in the arena, `ready` is true beforehand, or the time is over.
    pub fn wait(&self, timeout: Duration, ready: impl FnOnce() -> bool) -> Result<()> {
        let wake = &self.control().wake;
        wake.store(1, SeqCst);
        fence(SeqCst);
        if !ready() {
            let timeout = rustix::time::Timespec {
                tv_sec: timeout.as_secs().min(i32::MAX as u64) as i64,
                tv_nsec: timeout.subsec_nanos().into(),
            };
            use rustix::io::Errno;
            match futex::wait(wake, futex::Flags::empty(), 1, Some(&timeout)) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
                Err(e) => return Err(Error::Os { call: "futex", errno: e.raw_os_error() }),
            }
        }
        wake.store(0, Relaxed);
        Ok(())
    }
}
