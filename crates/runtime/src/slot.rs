//! CPU slots: what a run holds instead of a CPU with preemption off.
//!
//! A thread takes the slot it used last, at first its CPU's; if another run holds it, a free one from its CPU's on. So
//! threads that run at the same time meet in no cache line. A nested run of the same thread (a signal handler) finds its
//! own name in the slot and is refused, like a recursing kernel program; should it start from another slot, because two
//! threads share a hint, it gets a slot of its own, which is as safe.

use crate::abi::{NO_SLOT, RunCtx};
use crate::control::{
    self, CPU_LSL, CPU_RDPID, Control, FSGSBASE, HINTS, MAX_PROCS, MAX_PROGS, MAX_SLOTS, ProgStats,
    SIGNAL_THREAD,
};
use crate::identity::{fs_base, spread};
use crate::lock;
use crate::sys;
use core::arch::asm;
use core::sync::atomic::AtomicU16;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Who runs: what map operations need to know.
#[derive(Clone, Copy)]
pub struct Cx {
    /// First byte of the window.
    pub arena: *mut u8,
    /// The slot held.
    pub slot: u32,
    /// Name written into locks and ring buffer records: process index << 16 | slot + 1.
    pub lock_id: u32,
}

impl Cx {
    /// The context of a run that holds slot `slot`.
    ///
    /// # Safety
    /// `arena` is the first byte of a mapped window with its private page, and this thread holds `slot`.
    #[inline]
    pub unsafe fn new(arena: *mut u8, slot: u32) -> Cx {
        // SAFETY: promised by the caller.
        let index = unsafe { control::proc_page(arena) }.index.load(Relaxed);
        Cx { arena, slot, lock_id: lock_id(index, slot) }
    }

    /// The slot held.
    #[inline]
    pub fn slot_ref(&self) -> &control::Slot {
        // SAFETY: `new`'s promise; slots held are below MAX_SLOTS.
        unsafe { control::slot(self.arena, self.slot) }
    }

    /// Scratch memory of the slot, `SCRATCH_SIZE` bytes, 8-aligned.
    #[inline]
    pub fn scratch(&self) -> *mut u8 {
        // SAFETY: each slot in use has its area.
        unsafe { self.arena.add(control::scratch_off(self.slot) as usize) }
    }
}

/// The name of slot `slot` held by process `index` in lock words.
#[inline]
pub const fn lock_id(index: u32, slot: u32) -> u32 {
    index << 16 | (slot + 1)
}

/// The CPU this thread runs on.
#[inline]
fn current_cpu(flags: u32) -> u32 {
    const CPU_MASK: u64 = 0xfff;
    if flags & CPU_RDPID != 0 {
        let v: u64;
        // SAFETY: the tracer saw that the processor has it; TSC_AUX is node << 12 | cpu.
        unsafe { asm!("rdpid {}", out(reg) v, options(nomem, nostack, preserves_flags)) };
        (v & CPU_MASK) as u32
    } else if flags & CPU_LSL != 0 {
        let v: u64;
        // SAFETY: the limit of segment __CPUNODE_SEG (arch/x86/include/asm/segment.h) is node << 12 | cpu.
        unsafe {
            asm!("lsl {v}, {s}", v = out(reg) v, s = in(reg) 0x7bu64, options(nomem, nostack))
        };
        (v & CPU_MASK) as u32
    } else {
        sys::getcpu().0
    }
}

/// Bits of a slot's owner that tell threads of a process apart.
pub(crate) const THREAD_BITS: u32 = 48;
/// Those bits.
pub(crate) const THREAD_MASK: u64 = (1 << THREAD_BITS) - 1;

/// What tells this thread from others of its process.
#[inline]
fn thread_identity(flags: u32) -> u64 {
    if flags & FSGSBASE == 0 {
        return sys::gettid() as u64;
    }
    // SAFETY: the kernel reported FSGSBASE to the tracer.
    unsafe { fs_base() & THREAD_MASK }
}

/// The process's index, registering it on first use; 0 if the table is full.
#[inline]
unsafe fn process_index(arena: *mut u8, ctl: &Control) -> u32 {
    // SAFETY: promised by the caller.
    let index = unsafe { control::proc_page(arena) }.index.load(Relaxed);
    if index != 0 && index < MAX_PROCS {
        return index;
    }
    // SAFETY: as above.
    unsafe { register(arena, ctl) }
}

/// Whether the run of this thread that holds slot `i` will never go on: a signal handler that interrupted it left by
/// longjmp. Then its frame is gone: it was on the signal stack, which is not in use, or below `frame`.
#[cold]
unsafe fn is_abandoned(arena: *mut u8, i: u32, frame: u64) -> bool {
    // SAFETY: below MAX_SLOTS, as it could be tried.
    let run = unsafe { control::slot(arena, i) }.run.load(Relaxed);
    let (stack, size, in_use) = sys::sigaltstack();
    !in_use && (run.wrapping_sub(stack) < size || run <= frame)
}

/// Finds a free entry for this process. Threads may race: the loser gives its entry back.
#[cold]
unsafe fn register(arena: *mut u8, ctl: &Control) -> u32 {
    let pid = sys::getpid();
    let start = ctl.proc_hint.fetch_add(1, Relaxed);
    for i in 0..MAX_PROCS {
        let index = start.wrapping_add(i) % MAX_PROCS;
        // SAFETY: `index` is below MAX_PROCS.
        let entry = unsafe { control::process(arena, index) };
        if index == 0
            || entry.pid.load(Relaxed) != 0
            || entry.pid.compare_exchange(0, pid, Acquire, Relaxed).is_err()
        {
            continue;
        }
        // SAFETY: promised by the caller.
        let page = unsafe { control::proc_page(arena) };
        return match page.index.compare_exchange(0, index, Acquire, Relaxed) {
            Ok(_) => index,
            Err(other) => {
                entry.pid.store(0, Release);
                other
            }
        };
    }
    0
}

/// Takes a CPU slot for a run and counts it.
///
/// Sets [`RunCtx::slot`] and returns the slot (≥ 0), or returns -1 and counts a miss of program [`RunCtx::prog`]: the
/// thread holds its CPU's slot already, every slot is held, or the process table is full.
///
/// # Safety
/// `rc.arena` is the first byte of a mapped window with its private page.
#[inline]
pub unsafe fn slot_enter(rc: *mut RunCtx) -> i32 {
    // SAFETY: `rc` is valid, and its arena as promised.
    unsafe {
        let arena = (*rc).arena;
        let slot = acquire(arena, Machine::of(arena), rc as u64);
        (*rc).slot = slot;
        if slot == NO_SLOT {
            count_miss(&*rc);
        } else {
            count_run(&*rc, slot);
        }
        slot as i32
    }
}

/// What is known of the machine: in traced processes from the control block, in the tracer from itself.
#[derive(Clone, Copy)]
pub struct Machine {
    /// `Control::flags`.
    pub flags: u32,
    /// CPU slots in use.
    pub nslots: u32,
}

impl Machine {
    /// What the control block says.
    #[inline]
    unsafe fn of(arena: *mut u8) -> Machine {
        // SAFETY: promised by the caller.
        let ctl = unsafe { control::control(arena) };
        Machine { flags: ctl.flags, nslots: ctl.nslots.min(MAX_SLOTS) }
    }
}

/// Takes a slot: the one this thread used last if it is free. [`NO_SLOT`] if there is none. `frame` is an address in the
/// stack frame of the holder.
///
/// One locked instruction; a slot is given back with a plain store.
#[inline]
unsafe fn acquire(arena: *mut u8, machine: Machine, frame: u64) -> u32 {
    // SAFETY: promised by the caller.
    let index = unsafe { control::proc_page(arena) }.index.load(Relaxed);
    if machine.flags & FSGSBASE != 0 && index.wrapping_sub(1) < MAX_PROCS - 1 {
        let thread = thread_identity(FSGSBASE);
        // SAFETY: as above; a hint is 0 or names a slot in use.
        let slot = unsafe { (hint(arena, thread).load(Relaxed) as u32).wrapping_sub(1) };
        // SAFETY: as above.
        if let Take::Taken(i) = unsafe { take(arena, slot, MAX_SLOTS, owner(index, thread), frame) }
        {
            return i;
        }
    }
    // SAFETY: as above.
    unsafe { acquire_slow(arena, machine, frame) }
}

/// As [`acquire`], whatever is in the way of the short path.
#[cold]
#[inline(never)]
unsafe fn acquire_slow(arena: *mut u8, machine: Machine, frame: u64) -> u32 {
    let Machine { flags, nslots } = machine;
    // SAFETY: promised by the caller.
    let index = unsafe { process_index(arena, control::control(arena)) };
    if index == 0 {
        return NO_SLOT;
    }
    let thread = thread_identity(flags);
    let me = owner(index, thread);
    // SAFETY: promised by the caller.
    unsafe {
        let hint = hint(arena, thread);
        let last = (hint.load(Relaxed) as u32).wrapping_sub(1);
        match take(arena, last, nslots, me, frame) {
            Take::Taken(i) => i,
            Take::Other => take_near(arena, machine, me, hint, frame),
            Take::Recursion if is_abandoned(arena, last, frame) => {
                control::slot(arena, last).run.store(frame, Relaxed);
                last
            }
            Take::Recursion => NO_SLOT,
        }
    }
}

/// What is written into a slot by the thread that takes it.
#[inline]
fn owner(index: u32, thread: u64) -> u64 {
    (index as u64) << THREAD_BITS | thread
}

/// Outcome of an attempt to take a slot.
enum Take {
    /// It is this run's now.
    Taken(u32),
    /// This thread holds it already.
    Recursion,
    /// It is another's.
    Other,
}

/// Where this process keeps the slot that `thread` used last.
#[inline]
unsafe fn hint<'a>(arena: *mut u8, thread: u64) -> &'a AtomicU16 {
    let i = spread(thread) % HINTS;
    // SAFETY: promised by the caller; `i` is below HINTS.
    unsafe { control::proc_page(arena).hints.get_unchecked(i) }
}

#[inline]
unsafe fn take(arena: *mut u8, i: u32, nslots: u32, me: u64, frame: u64) -> Take {
    if i >= nslots {
        return Take::Other;
    }
    // SAFETY: below MAX_SLOTS.
    let slot = unsafe { control::slot(arena, i) };
    match slot.owner.compare_exchange(0, me, Acquire, Relaxed) {
        Ok(_) => {
            slot.run.store(frame, Relaxed);
            Take::Taken(i)
        }
        Err(owner) if owner == me => Take::Recursion,
        Err(_) => Take::Other,
    }
}

/// Takes a free slot starting from the current CPU's and notes it for the thread's next run; or [`NO_SLOT`].
unsafe fn take_near(
    arena: *mut u8,
    machine: Machine,
    me: u64,
    hint: &AtomicU16,
    frame: u64,
) -> u32 {
    let Machine { flags, nslots } = machine;
    let cpu = current_cpu(flags);
    let mut i = if cpu < nslots { cpu } else { cpu.checked_rem(nslots).unwrap_or(0) };
    for _ in 0..nslots {
        // SAFETY: promised by the caller.
        match unsafe { take(arena, i, nslots, me, frame) } {
            Take::Other => i = if i + 1 < nslots { i + 1 } else { 0 },
            Take::Taken(i) => {
                hint.store(i as u16 + 1, Relaxed);
                return i;
            }
            Take::Recursion => return NO_SLOT,
        }
    }
    NO_SLOT
}

/// Counts a run; the slot is held, so a plain addition does.
#[inline]
unsafe fn count_run(rc: &RunCtx, slot: u32) {
    if rc.prog < MAX_PROGS {
        // SAFETY: in the slot's area.
        let stats = unsafe {
            &*rc.arena.add(control::prog_stats_off(slot, rc.prog) as usize).cast::<ProgStats>()
        };
        stats.runs.store(stats.runs.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Counts a miss in the area shared by runs without a slot.
#[cold]
unsafe fn count_miss(rc: &RunCtx) {
    // SAFETY: promised by the callers; the area after the last slot's exists.
    unsafe {
        if rc.prog >= MAX_PROGS {
            return count_lost(control::control(rc.arena));
        }
        let off = control::prog_stats_off(Machine::of(rc.arena).nslots, rc.prog);
        (*rc.arena.add(off as usize).cast::<ProgStats>()).misses.fetch_add(1, Relaxed);
    }
}

/// Counts a miss of no program.
#[cold]
fn count_lost(ctl: &Control) {
    ctl.lost_runs.fetch_add(1, Relaxed);
}

/// Gives back the slot of `rc`, if it holds one.
///
/// # Safety
/// As for [`slot_enter`].
#[inline]
pub unsafe fn slot_leave(rc: *mut RunCtx) {
    // SAFETY: `rc` is valid.
    let rc = unsafe { &mut *rc };
    if rc.slot < MAX_SLOTS {
        // SAFETY: this thread holds it.
        unsafe { release(rc.arena, core::mem::replace(&mut rc.slot, NO_SLOT)) };
    }
}

/// The name of this run in lock words, whether it holds a slot or not; `None` where that takes longer to find out.
///
/// # Safety
/// As for [`slot_enter`].
#[inline]
pub(crate) unsafe fn lock_name(rc: *mut RunCtx) -> Option<u32> {
    // SAFETY: promised by the caller.
    unsafe {
        let (arena, slot) = ((*rc).arena, (*rc).slot);
        let index = control::proc_page(arena).index.load(Relaxed);
        if slot < MAX_SLOTS {
            return Some(lock_id(index, slot));
        }
        let known =
            control::control(arena).flags & FSGSBASE != 0 && index.wrapping_sub(1) < MAX_PROCS - 1;
        if !known {
            return None;
        }
        Some(lock::thread_name(index, thread_identity(FSGSBASE)))
    }
}

/// Gives back slot `i`, and sends the signal that was asked for meanwhile.
#[inline]
unsafe fn release(arena: *mut u8, i: u32) {
    // SAFETY: below MAX_SLOTS.
    let slot = unsafe { control::slot(arena, i) };
    let signal = slot.signal.load(Relaxed);
    if signal == 0 {
        slot.owner.store(0, Release);
        return;
    }
    slot.signal.store(0, Relaxed);
    slot.owner.store(0, Release);
    send(signal);
}

/// Sends the signal that the program asked for, now that a handler can do what it likes.
#[cold]
fn send(signal: u32) {
    if signal & SIGNAL_THREAD != 0 {
        sys::tgkill(sys::getpid(), sys::gettid(), signal & !SIGNAL_THREAD);
    } else {
        sys::kill(sys::getpid(), signal);
    }
}

/// Calls `f` with the slot of `rc`, taking one for the time of the call if the run has none. `None` if there is none.
///
/// # Safety
/// As for [`slot_enter`].
#[inline]
pub unsafe fn with_slot<T>(rc: *mut RunCtx, f: impl FnOnce(&Cx) -> T) -> Option<T> {
    // SAFETY: `rc` is valid.
    let (arena, held) = unsafe { ((*rc).arena, (*rc).slot) };
    let frame = 0u8;
    let mut slot = held;
    // SAFETY: as promised. A slot taken here is no run's and counted as none.
    unsafe {
        if held >= MAX_SLOTS {
            slot = acquire(arena, Machine::of(arena), &raw const frame as u64);
            if slot == NO_SLOT {
                count_lost(control::control(arena));
                return None;
            }
        }
        // The one call, so that it is made part of the caller.
        let result = f(&Cx::new(arena, slot));
        if held >= MAX_SLOTS {
            release(arena, slot);
        }
        Some(result)
    }
}

/// Calls `f` with a slot taken for the time of the call, for the tracer: no run, and no signal is sent whatever the slot
/// asks for.
///
/// # Safety
/// As for [`slot_enter`]; `machine` tells the truth.
#[cfg(feature = "std")]
pub unsafe fn with_own_slot<T>(
    arena: *mut u8,
    machine: Machine,
    f: impl FnOnce(&Cx) -> T,
) -> Option<T> {
    let frame = 0u8;
    // SAFETY: as promised.
    unsafe {
        let slot = acquire(arena, machine, &raw const frame as u64);
        if slot == NO_SLOT {
            return None;
        }
        let cx = Cx::new(arena, slot);
        let result = f(&cx);
        cx.slot_ref().owner.store(0, Release);
        Some(result)
    }
}
