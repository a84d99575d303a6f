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

/// What tells this thread from others of its process.
#[inline]
fn thread_identity(flags: u32) -> u64 {
    if flags & FSGSBASE == 0 {
        return sys::gettid() as u64;
    }
    // SAFETY: the kernel reported FSGSBASE to the tracer.
    unsafe { fs_base() & ((1 << 48) - 1) }
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
/// longjmp. Then its frame is gone: it was on the signal stack, which is not in use, or below the frame of `rc`.
#[cold]
unsafe fn is_abandoned(rc: &RunCtx, i: u32) -> bool {
    // SAFETY: below MAX_SLOTS, as it could be tried.
    let run = unsafe { control::slot(rc.arena, i) }.run.load(Relaxed);
    let (stack, size, in_use) = sys::sigaltstack();
    !in_use && (run.wrapping_sub(stack) < size || run <= core::ptr::from_ref(rc) as u64)
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
    unsafe { enter(rc, Machine::of((*rc).arena)) }
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

#[inline]
unsafe fn enter(rc: *mut RunCtx, machine: Machine) -> i32 {
    // SAFETY: `rc` is valid, and its arena as promised.
    let (rc, ctl) = unsafe { (&mut *rc, control::control((*rc).arena)) };
    let Machine { flags, nslots } = machine;
    // SAFETY: promised by the caller.
    let index = unsafe { process_index(rc.arena, ctl) };
    let thread = thread_identity(flags);
    let me = (index as u64) << 48 | thread;
    if index != 0 {
        // SAFETY: promised by the caller.
        let taken = unsafe {
            let hint = hint(rc.arena, thread);
            let start = (hint.load(Relaxed) as u32).wrapping_sub(1);
            match take(rc.arena, start, nslots, me) {
                Take::Other => take_near(rc.arena, machine, me, hint),
                Take::Recursion if is_abandoned(rc, start) => Take::Taken(start),
                done => done,
            }
        };
        if let Take::Taken(i) = taken {
            rc.slot = i;
            // SAFETY: slot `i` is held and has an area.
            unsafe {
                let run = core::ptr::from_ref(rc) as u64;
                control::slot(rc.arena, i).run.store(run, Relaxed);
                count_run(rc, i);
            }
            return i as i32;
        }
    }
    rc.slot = NO_SLOT;
    // SAFETY: as above.
    unsafe { count_miss(rc, ctl, nslots) };
    -1
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
unsafe fn take(arena: *mut u8, i: u32, nslots: u32, me: u64) -> Take {
    if i >= nslots {
        return Take::Other;
    }
    // SAFETY: below MAX_SLOTS.
    match unsafe { control::slot(arena, i) }.owner.compare_exchange(0, me, Acquire, Relaxed) {
        Ok(_) => Take::Taken(i),
        Err(owner) if owner == me => Take::Recursion,
        Err(_) => Take::Other,
    }
}

/// Takes a free slot starting from the current CPU's and notes it for the thread's next run.
#[cold]
#[inline(never)]
unsafe fn take_near(arena: *mut u8, machine: Machine, me: u64, hint: &AtomicU16) -> Take {
    let Machine { flags, nslots } = machine;
    let cpu = current_cpu(flags);
    let mut i = if cpu < nslots { cpu } else { cpu.checked_rem(nslots).unwrap_or(0) };
    for _ in 0..nslots {
        // SAFETY: promised by the caller.
        match unsafe { take(arena, i, nslots, me) } {
            Take::Other => i = if i + 1 < nslots { i + 1 } else { 0 },
            Take::Taken(i) => {
                hint.store(i as u16 + 1, Relaxed);
                return Take::Taken(i);
            }
            Take::Recursion => return Take::Recursion,
        }
    }
    Take::Other
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
unsafe fn count_miss(rc: &RunCtx, ctl: &Control, nslots: u32) {
    if rc.prog < MAX_PROGS {
        // SAFETY: the area after the last slot's exists.
        let stats = unsafe {
            &*rc.arena.add(control::prog_stats_off(nslots, rc.prog) as usize).cast::<ProgStats>()
        };
        stats.misses.fetch_add(1, Relaxed);
    } else {
        ctl.lost_runs.fetch_add(1, Relaxed);
    }
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
        // SAFETY: below MAX_SLOTS.
        let slot = unsafe { control::slot(rc.arena, rc.slot) };
        let signal = slot.signal.load(Relaxed);
        if signal != 0 {
            slot.signal.store(0, Relaxed);
        }
        slot.owner.store(0, Release);
        rc.slot = NO_SLOT;
        if signal != 0 {
            send(signal);
        }
    }
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
    let (arena, slot) = unsafe { ((*rc).arena, (*rc).slot) };
    if slot < MAX_SLOTS {
        // SAFETY: the run holds `slot`.
        return Some(f(&unsafe { Cx::new(arena, slot) }));
    }
    // SAFETY: as promised. It is no run and counted as none.
    unsafe {
        let mut own = RunCtx { prog: u32::MAX, ..*rc };
        let slot = enter(&mut own, Machine::of(arena));
        if slot < 0 {
            return None;
        }
        let result = f(&Cx::new(arena, slot as u32));
        slot_leave(&mut own);
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
    mut rc: RunCtx,
    machine: Machine,
    f: impl FnOnce(&Cx) -> T,
) -> Option<T> {
    // SAFETY: as promised.
    unsafe {
        let slot = enter(&mut rc, machine);
        if slot < 0 {
            return None;
        }
        let cx = Cx::new(rc.arena, slot as u32);
        let result = f(&cx);
        cx.slot_ref().owner.store(0, Release);
        Some(result)
    }
}
