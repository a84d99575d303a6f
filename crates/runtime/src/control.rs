//! The control block at [`DATA_OFF`]: geometry of the arena, CPU slots, processes, program statistics, clock.
//!
//! Everything is at a fixed offset, so that the tracer needs nothing from the arena to find it.

use crate::abi::{DATA_OFF, PROC_PAGE_OFF};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

/// `Control::magic`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"stylet\0\x01");
/// `Control::version`: changes with any change of layout.
pub const VERSION: u32 = 2;
/// Largest number of CPU slots.
pub const MAX_SLOTS: u32 = 1024;
/// Entries of the process table; entry 0 is not used.
pub const MAX_PROCS: u32 = 4096;
/// Largest number of programs with statistics.
pub const MAX_PROGS: u32 = 1024;

/// Offset of the slot table from the window.
pub const SLOTS_OFF: u64 = DATA_OFF + 4096;
/// Offset of the process table from the window.
pub const PROCS_OFF: u64 = SLOTS_OFF + MAX_SLOTS as u64 * size_of::<Slot>() as u64;
/// Offset of the areas of the slots ([`SLOT_AREA`] bytes each) from the window; one more than there are slots: the last
/// is shared by runs without a slot.
pub const AREAS_OFF: u64 = PROCS_OFF + MAX_PROCS as u64 * size_of::<Proc>() as u64;
/// Bytes of a slot's area: program statistics, then scratch memory.
pub const SLOT_AREA: u64 = 32 << 10;
/// Offset of the scratch memory in an area.
pub const SCRATCH: u64 = MAX_PROGS as u64 * size_of::<ProgStats>() as u64;
/// Bytes of scratch memory of a slot.
pub const SCRATCH_SIZE: usize = (SLOT_AREA - SCRATCH) as usize;

/// [`Control::flags`]: `rdpid` works in user mode.
pub const CPU_RDPID: u32 = 1 << 0;
/// [`Control::flags`]: `lsl` of the kernel's per-CPU segment gives the CPU.
pub const CPU_LSL: u32 = 1 << 1;
/// [`Control::flags`]: `rdfsbase` works in user mode (`AT_HWCAP2` bit 1).
pub const FSGSBASE: u32 = 1 << 2;

/// The control block. Written by the tracer before the first process is attached, except where noted.
#[repr(C)]
pub struct Control {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// CPU slots in use, at most [`MAX_SLOTS`].
    pub nslots: u32,
    /// `CPU_*`, [`FSGSBASE`].
    pub flags: u32,
    /// Offset from the window of the ring of `bpf_trace_printk`.
    pub printk_off: u32,
    /// Bytes of that ring.
    pub printk_size: u32,
    /// Keeps what processes write off this cache line.
    pub _pad: [u8; 64 - 28],
    /// First process-table entry to try next; written by processes.
    pub proc_hint: AtomicU32,
    /// 1 while the tracer sleeps on it (futex); the waker stores 0.
    pub wake: AtomicU32,
    /// Runs that found no process entry or no slot and whose program number is out of range.
    pub lost_runs: AtomicU64,
    /// Clock parameters for time-stamp counter readings.
    pub clock: Clock,
}

/// `ns = base_ns + ((tsc - base_tsc) * mult >> 32)` while `tsc - base_tsc < limit`; a sequence lock written by the tracer.
#[derive(Default)]
#[repr(C)]
pub struct Clock {
    /// Odd while being written, 0 when never written.
    pub seq: AtomicU32,
    /// Keeps the next field aligned.
    pub _pad: u32,
    /// Time-stamp counter at the base.
    pub base_tsc: AtomicU64,
    /// `CLOCK_MONOTONIC` at the base, nanoseconds.
    pub base_ns: AtomicU64,
    /// Nanoseconds per tick, 32 fractional bits.
    pub mult: AtomicU64,
    /// Ticks after the base up to which the parameters hold.
    pub limit: AtomicU64,
    /// `CLOCK_BOOTTIME` minus `CLOCK_MONOTONIC`, nanoseconds.
    pub boot_ns: AtomicU64,
    /// `CLOCK_TAI` minus `CLOCK_MONOTONIC`, nanoseconds.
    pub tai_ns: AtomicU64,
}

/// A CPU slot: held by one run at a time. One cache line.
#[repr(C, align(64))]
pub struct Slot {
    /// 0 when free, else process index << 48 | thread identity.
    pub owner: AtomicU64,
    /// Address of the `RunCtx` of the run that holds the slot, in its process.
    pub run: AtomicU64,
    /// State of `bpf_get_prandom_u32`; 0 until first used.
    pub prandom: AtomicU64,
    /// Hash element in hand (see `map::hash`), for repair: window offset of its map, element + 1 in the upper half; 0 for
    /// none.
    pub pend: AtomicU64,
    /// Signal to send when the slot is left: number, [`SIGNAL_THREAD`]; 0 for none.
    pub signal: AtomicU32,
}

/// [`Slot::signal`]: to the thread (`bpf_send_signal_thread`), else to the process.
pub const SIGNAL_THREAD: u32 = 1 << 31;

/// A process that has run a program.
#[repr(C)]
pub struct Proc {
    /// Process id as the process itself sees it, 0 for a free entry.
    pub pid: AtomicU32,
    /// Keeps entries 8 bytes.
    pub _pad: u32,
}

/// Statistics of a program on one slot (`recursion_misses` and `run_cnt` of `struct bpf_prog_info`).
#[repr(C)]
pub struct ProgStats {
    /// Runs begun.
    pub runs: AtomicU64,
    /// Runs refused: recursion, no slot, no process entry.
    pub misses: AtomicU64,
}

/// The page below the window, private to a process and wiped on fork.
#[repr(C, align(64))]
pub struct ProcPage {
    /// Index in the process table, 0 until registered.
    pub index: AtomicU32,
    /// Process id, 0 until asked for; see [`crate::identity`].
    pub tgid: AtomicU32,
    /// Offset of the thread id from the FS base, 0 until found.
    pub tid_off: AtomicU32,
    /// Keeps the tables off the line of the index.
    pub _pad: [u32; 13],
    /// For threads by the hash of their identity: the slot used last, plus one. Asking for the CPU costs more than all the
    /// rest, and it is only a place to start from; a thread that finds the slot taken asks, and goes to its CPU's.
    pub hints: [AtomicU16; HINTS],
    /// FS bases by their hash: whether the thread id is there.
    pub tcbs: [AtomicU64; TCBS],
}

/// Entries of [`ProcPage::hints`], a power of two.
pub const HINTS: usize = 1024;
/// Entries of [`ProcPage::tcbs`], a power of two.
pub const TCBS: usize = 128;
const _: () = assert!(size_of::<ProcPage>() as i64 <= -PROC_PAGE_OFF);

/// The control block of the arena at `arena`.
///
/// # Safety
/// `arena` is the first byte of a mapped window.
#[inline]
pub unsafe fn control<'a>(arena: *mut u8) -> &'a Control {
    // SAFETY: the control block is at a fixed offset of every arena.
    unsafe { &*arena.add(DATA_OFF as usize).cast() }
}

/// Slot `i` of the arena; `i` must be below [`MAX_SLOTS`].
///
/// # Safety
/// `arena` is the first byte of a mapped window and `i < MAX_SLOTS`.
#[inline]
pub unsafe fn slot<'a>(arena: *mut u8, i: u32) -> &'a Slot {
    // SAFETY: the table has MAX_SLOTS entries.
    unsafe { &*arena.add(SLOTS_OFF as usize).cast::<Slot>().add(i as usize) }
}

/// Entry `i` of the process table; `i` must be below [`MAX_PROCS`].
///
/// # Safety
/// `arena` is the first byte of a mapped window and `i < MAX_PROCS`.
#[inline]
pub unsafe fn process<'a>(arena: *mut u8, i: u32) -> &'a Proc {
    // SAFETY: the table has MAX_PROCS entries.
    unsafe { &*arena.add(PROCS_OFF as usize).cast::<Proc>().add(i as usize) }
}

/// The private page of this process.
///
/// # Safety
/// `arena` is the first byte of a mapped window whose private page is mapped below it.
#[inline]
pub unsafe fn proc_page<'a>(arena: *mut u8) -> &'a ProcPage {
    // SAFETY: the page below the window is mapped with it.
    unsafe { &*arena.offset(PROC_PAGE_OFF as isize).cast() }
}

/// Window offset of the statistics of program `prog` on slot `slot` (`nslots` for runs without a slot).
#[inline]
pub const fn prog_stats_off(slot: u32, prog: u32) -> u64 {
    AREAS_OFF + slot as u64 * SLOT_AREA + prog as u64 * size_of::<ProgStats>() as u64
}

/// Window offset of the scratch memory of slot `slot`.
#[inline]
pub const fn scratch_off(slot: u32) -> u64 {
    AREAS_OFF + slot as u64 * SLOT_AREA + SCRATCH
}

/// Window offset of the first byte after the control structures of an arena with `nslots` slots.
pub const fn end_off(nslots: u32) -> u64 {
    AREAS_OFF + (nslots as u64 + 1) * SLOT_AREA
}
