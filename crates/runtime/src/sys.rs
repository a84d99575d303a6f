//! Raw system calls: no libc, so that `errno` of the traced program is never touched.

use core::arch::asm;

/// `read`-free subset of x86-64 system call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
pub mod nr {
    #![allow(missing_docs)]
    pub const SCHED_YIELD: u64 = 24;
    pub const GETPID: u64 = 39;
    pub const KILL: u64 = 62;
    pub const GETUID: u64 = 102;
    pub const GETGID: u64 = 104;
    pub const SIGALTSTACK: u64 = 131;
    pub const PRCTL: u64 = 157;
    pub const GETTID: u64 = 186;
    pub const FUTEX: u64 = 202;
    pub const CLOCK_GETTIME: u64 = 228;
    pub const TGKILL: u64 = 234;
    pub const GETCPU: u64 = 309;
    pub const PROCESS_VM_READV: u64 = 310;
    pub const PROCESS_VM_WRITEV: u64 = 311;
}

/// A system call with up to six arguments; the result is the kernel's: a value, or `-errno`.
///
/// # Safety
/// As for the system call: pointers must be valid for what it reads and writes.
#[inline]
pub unsafe fn syscall(nr: u64, a: [u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: `syscall` clobbers rcx and r11 only; memory effects are the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") nr as i64 => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
             in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

/// A system call without pointers.
#[inline]
fn plain(nr: u64, a: u64, b: u64, c: u64) -> i64 {
    // SAFETY: callers in this file pass no addresses.
    unsafe { syscall(nr, [a, b, c, 0, 0, 0]) }
}

/// Process id (thread group id) in the caller's pid namespace.
#[inline]
pub fn getpid() -> u32 {
    plain(nr::GETPID, 0, 0, 0) as u32
}

/// Thread id in the caller's pid namespace.
#[inline]
pub fn gettid() -> u32 {
    plain(nr::GETTID, 0, 0, 0) as u32
}

/// Real user id.
pub fn getuid() -> u32 {
    plain(nr::GETUID, 0, 0, 0) as u32
}

/// Real group id.
pub fn getgid() -> u32 {
    plain(nr::GETGID, 0, 0, 0) as u32
}

/// Lets other threads run.
pub fn sched_yield() {
    plain(nr::SCHED_YIELD, 0, 0, 0);
}

/// Sends `sig` to a process; 0 or `-errno`.
pub fn kill(pid: u32, sig: u32) -> i64 {
    plain(nr::KILL, pid as u64, sig as u64, 0)
}

/// Sends `sig` to a thread; 0 or `-errno`.
pub fn tgkill(tgid: u32, tid: u32, sig: u32) -> i64 {
    plain(nr::TGKILL, tgid as u64, tid as u64, sig as u64)
}

/// CPU and NUMA node the caller runs on.
pub fn getcpu() -> (u32, u32) {
    let (mut cpu, mut node) = (0u32, 0u32);
    // SAFETY: two valid u32 pointers, no cache pointer.
    unsafe { syscall(nr::GETCPU, [&raw mut cpu as u64, &raw mut node as u64, 0, 0, 0, 0]) };
    (cpu, node)
}

/// `clock_gettime(clock)` in nanoseconds; 0 when the clock is refused.
pub fn clock_ns(clock: u32) -> u64 {
    let mut ts = [0u64; 2];
    // SAFETY: `ts` has the layout of `struct timespec`.
    let ret =
        unsafe { syscall(nr::CLOCK_GETTIME, [clock as u64, ts.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    if ret < 0 { 0 } else { ts[0].wrapping_mul(1_000_000_000).wrapping_add(ts[1]) }
}

/// The calling thread's name, `TASK_COMM_LEN` bytes, zero-padded.
pub fn comm() -> [u8; 16] {
    const PR_GET_NAME: u64 = 16;
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes 16 bytes.
    unsafe { syscall(nr::PRCTL, [PR_GET_NAME, name.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    name
}

/// The alternate signal stack of this thread: first byte, size, and whether it is in use now.
pub fn sigaltstack() -> (u64, u64, bool) {
    const SS_ONSTACK: u64 = 1;
    // stack_t: ss_sp, ss_flags, ss_size.
    let mut stack = [0u64; 3];
    // SAFETY: no new stack, and room for the old one.
    unsafe { syscall(nr::SIGALTSTACK, [0, stack.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    (stack[0], stack[2], stack[1] & SS_ONSTACK != 0)
}

/// Wakes every waiter of a shared futex word.
pub fn futex_wake(word: *const u32) {
    const FUTEX_WAKE: u64 = 1;
    // SAFETY: FUTEX_WAKE only looks the address up; it does not access it.
    unsafe { syscall(nr::FUTEX, [word as u64, FUTEX_WAKE, i32::MAX as u64, 0, 0, 0]) };
}
