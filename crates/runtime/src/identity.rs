//! Who runs: process and thread id without a system call where that can be had.
//!
//! - The process id is kept in the private page, which is wiped when the process forks.
//! - The thread id is where the thread's C library keeps it, in the thread control block that the FS base points to. The
//!   C library, or the kernel for it, writes it anew for each thread and after a fork. Nothing is believed unseen: the
//!   place is accepted once a process, and each FS base once, when what is there is what `gettid` says.
//!
//! Two kinds of threads cannot be told from another and are reported as that one:
//! - a child of `vfork` (or `posix_spawn`) before `execve`: it shares the page and the FS base with its parent and gets
//!   its parent's ids; so does any process made by `clone` with `CLONE_VM` and without `CLONE_THREAD`, and memory is read
//!   through that parent;
//! - a thread made by a bare `clone` without `CLONE_SETTLS`, which uses the control block of its creator.

use crate::control::{self, FSGSBASE, ProcPage, TCBS};
use crate::sys;
use crate::usermem::UserMem;
use core::arch::asm;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Offsets of the thread id from the FS base that C libraries use: musl since 1.2 and before (`struct pthread`,
/// src/internal/pthread_impl.h), glibc since 2.4 (`struct pthread`, nptl/descr.h). glibc has a random number at the first
/// and nothing at the second.
const TID_OFFSETS: [u32; 3] = [0x30, 0x38, 0x2d0];
/// Set in an entry of [`ProcPage::tcbs`]: the id is not there.
const REFUSED: u64 = 1;

/// The FS base.
///
/// # Safety
/// [`FSGSBASE`] is among the machine's flags.
#[inline]
pub(crate) unsafe fn fs_base() -> u64 {
    let v: u64;
    // SAFETY: the kernel allows it, says the caller.
    unsafe { asm!("rdfsbase {}", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Spreads FS bases over tables whose sizes are powers of two.
#[inline]
pub(crate) fn spread(base: u64) -> usize {
    (base.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// Process id in the process's own pid namespace; see above for children of `vfork`.
#[inline]
pub fn tgid(page: &ProcPage) -> u32 {
    match page.tgid.load(Relaxed) {
        0 => tgid_slow(page),
        known => known,
    }
}

#[cold]
#[inline(never)]
fn tgid_slow(page: &ProcPage) -> u32 {
    loop {
        let pid = sys::getpid();
        page.tgid.store(pid, Relaxed);
        // Had a signal handler forked in between, the child would keep its parent's id.
        if sys::getpid() == pid {
            return pid;
        }
    }
}

/// Thread id in the process's own pid namespace; see above for threads that share a control block.
///
/// # Safety
/// `arena` is the first byte of a mapped window with its private page.
#[inline]
pub unsafe fn tid(arena: *mut u8) -> u32 {
    // SAFETY: promised by the caller.
    let (flags, page) = unsafe { (control::control(arena).flags, control::proc_page(arena)) };
    if flags & FSGSBASE == 0 {
        return sys::gettid();
    }
    // SAFETY: just checked.
    let base = unsafe { fs_base() };
    let entry = tcb_entry(page, base);
    if entry.load(Acquire) == base && base != 0 {
        let tid: u32;
        // SAFETY: this thread's control block was read at this offset before, and it lives as long as the thread.
        unsafe {
            let off = page.tid_off.load(Relaxed) as u64;
            asm!("mov {:e}, fs:[{}]", out(reg) tid, in(reg) off, options(readonly, nostack, preserves_flags));
        }
        if tid as i32 > 0 {
            return tid;
        }
    }
    // SAFETY: promised by the caller.
    unsafe { tid_slow(arena, base) }
}

/// Where the page says what is known of an FS base.
#[inline]
fn tcb_entry(page: &ProcPage, base: u64) -> &AtomicU64 {
    // SAFETY: the index is below TCBS.
    unsafe { page.tcbs.get_unchecked(spread(base) % TCBS) }
}

/// Asks the kernel, and notes whether the control block at `base` can be believed.
#[cold]
#[inline(never)]
unsafe fn tid_slow(arena: *mut u8, base: u64) -> u32 {
    // SAFETY: promised by the caller.
    let (page, mem) = unsafe { (control::proc_page(arena), UserMem::of(arena)) };
    let (tid, entry) = (sys::gettid(), tcb_entry(page, base));
    if base == 0 || base & REFUSED != 0 || entry.load(Relaxed) == base | REFUSED {
        return tid;
    }
    let mut this = 0u64;
    // SAFETY: 8 bytes. The first word of a control block is its own address, by the processor ABI.
    let is_tcb = unsafe { mem.read((&raw mut this).cast(), base, 8) } && this == base;
    let accepted = page.tid_off.load(Relaxed);
    let off = TID_OFFSETS
        .into_iter()
        .find(|&off| is_tcb && (accepted == 0 || accepted == off) && has_tid(mem, base, off, tid));
    if let Some(off) = off
        && page
            .tid_off
            .compare_exchange(0, off, Relaxed, Relaxed)
            .map_or_else(|o| o == off, |_| true)
    {
        entry.store(base, Release);
        // Had a signal handler forked in between, this would be about the parent's thread.
        if has_tid(mem, base, off, sys::gettid()) {
            return tid;
        }
    }
    entry.store(base | REFUSED, Release);
    tid
}

/// Whether the word at `base + off` can be read and is `tid`.
fn has_tid(mem: UserMem, base: u64, off: u32, tid: u32) -> bool {
    let mut word = 0u32;
    // SAFETY: 4 bytes.
    let read = unsafe { mem.read((&raw mut word).cast(), base.wrapping_add(off as u64), 4) };
    read && word == tid
}
