//! Locks that name their owner, are waited for only so long, and can be broken by the tracer.

use crate::control::{self, MAX_SLOTS};
use crate::identity::spread;
use crate::slot::{Cx, THREAD_BITS, THREAD_MASK};
use crate::sys;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use stylet_uapi::errno::EBUSY;

/// Tries with a pause in between, before giving the CPU away.
const SPINS: u32 = 200;
/// Times the CPU is given away before the operation fails with `EBUSY`: some tens of milliseconds, more than a preempted
/// owner is away.
const YIELDS: u32 = 20_000;
/// Set in the word by one who gave up: the owner is probably dead, nobody else waits for long.
pub const SUSPECT: u32 = 1 << 31;

/// Set in the lower half of a name: what follows is of the thread, not the slot it holds.
const THREAD: u32 = 1 << 15;

/// A name for lock words of a thread that holds no slot.
#[inline]
pub(crate) fn thread_name(index: u32, thread: u64) -> u32 {
    index << 16 | THREAD | (spread(thread) as u32 & (THREAD - 1))
}

/// Whether a lock word, or an owner in a record, names process `index`.
pub fn names(word: u32, index: u32) -> bool {
    word != 0 && (word & !SUSPECT) >> 16 == index
}

/// Takes the lock, or `EBUSY`: its owner is this very thread (interrupted by a signal), is dead, or does not let go.
/// (`htab_lock_bucket`, kernel/bpf/hashtab.c, gives `-EBUSY` to a nested run as well.)
#[inline]
pub fn lock<'a>(word: &'a AtomicU32, cx: &Cx) -> Result<Guard<'a>, i32> {
    if word.compare_exchange(0, cx.lock_id, Acquire, Relaxed).is_err() {
        lock_slow(word, cx)?;
    }
    Ok(Guard { word })
}

/// Takes the lock if it is free, in the name of a thread that may hold no slot.
#[inline]
pub fn try_lock_as(word: &AtomicU32, name: u32) -> Option<Guard<'_>> {
    word.compare_exchange(0, name, Acquire, Relaxed).ok()?;
    Some(Guard { word })
}

/// Takes the lock if it is free.
#[inline]
pub fn try_lock<'a>(word: &'a AtomicU32, cx: &Cx) -> Option<Guard<'a>> {
    word.compare_exchange(0, cx.lock_id, Acquire, Relaxed).ok()?;
    Some(Guard { word })
}

#[cold]
fn lock_slow(word: &AtomicU32, cx: &Cx) -> Result<(), i32> {
    let mut n = 0;
    loop {
        let held = word.load(Relaxed);
        if held == 0 {
            if word.compare_exchange(0, cx.lock_id, Acquire, Relaxed).is_ok() {
                return Ok(());
            }
        } else if held_by_this_thread(held, cx) && (held & THREAD == 0 || n > SPINS) {
            // Threads may share a name: then it will soon be another.
            return Err(EBUSY);
        }
        n += 1;
        if n > SPINS && held & SUSPECT != 0 {
            return Err(EBUSY);
        } else if n > SPINS + YIELDS {
            // Only if it is still the same owner; that it let go meanwhile is no harm.
            if held != 0 {
                let _ = word.compare_exchange(held, held | SUSPECT, Relaxed, Relaxed);
            }
            return Err(EBUSY);
        } else if n > SPINS {
            sys::sched_yield();
        } else {
            core::hint::spin_loop();
        }
    }
}

/// Whether a lock word names the thread that holds the slot of `cx`, or a slot that it holds.
fn held_by_this_thread(held: u32, cx: &Cx) -> bool {
    if held & THREAD != 0 {
        let owner = cx.slot_ref().owner.load(Relaxed);
        return held & !SUSPECT == thread_name((owner >> THREAD_BITS) as u32, owner & THREAD_MASK);
    }
    let slot = (held & 0xffff).wrapping_sub(1);
    if slot >= MAX_SLOTS {
        return false;
    }
    // SAFETY: below MAX_SLOTS, and `cx.arena` is a mapped window.
    let owner = unsafe { control::slot(cx.arena, slot) }.owner.load(Relaxed);
    owner == cx.slot_ref().owner.load(Relaxed)
}

/// A lock held; released when dropped.
pub struct Guard<'a> {
    word: &'a AtomicU32,
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.word.store(0, Release);
    }
}
