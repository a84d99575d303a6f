//! Process and thread ids in every kind of process and thread, compared with what the kernel says.

mod common;

use common::{arena, call_held, ptr, ptr_mut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use stylet_runtime::abi::RunCtx;
use stylet_runtime::control::{self, FSGSBASE};
use stylet_runtime::sys;

const PID_TGID: u32 = 14;
const PROBE_READ: u32 = 4;
const PROBE_WRITE_USER: u32 = 36;

/// What the kernel says.
fn truth() -> u64 {
    (sys::getpid() as u64) << 32 | sys::gettid() as u64
}

/// What the helper says.
fn told(rc: &mut RunCtx) -> u64 {
    call_held(rc, PID_TGID, [0; 5]) as u64
}

/// The exit status of a forked child. It runs `f` and exits with 0 if that is true.
fn in_child(fork: impl Fn() -> i32, f: impl Fn() -> bool) -> i32 {
    let pid = fork();
    if pid == 0 {
        // SAFETY: ends the child without running anything of the test's.
        unsafe { libc::_exit(i32::from(!f())) };
    }
    assert!(pid > 0);
    let mut status = -1;
    // SAFETY: the child just made.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// Runs `f` in a task made by a bare clone, which has the thread control block of this thread.
fn in_clone(flags: i32, f: extern "C" fn(*mut libc::c_void) -> i32, arg: *mut libc::c_void) -> i32 {
    const SIZE: usize = 256 << 10;
    // The stack of a thread that nobody joins is never given back.
    let stack = Vec::leak(vec![0u128; SIZE / 16]).as_mut_ptr_range().end;
    // SAFETY: a stack of its own; `f` calls nothing that needs a thread control block of its own.
    let pid = unsafe { libc::clone(f, stack.cast(), flags, arg) };
    assert!(pid > 0);
    pid
}

#[test]
fn threads() {
    let a = arena(2);
    // One after the other: later threads get control blocks of earlier ones.
    for _ in 0..20 {
        std::thread::scope(|s| {
            s.spawn(|| (0..3).for_each(|_| assert_eq!(told(&mut a.run_ctx()), truth())));
        });
    }
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                barrier.wait();
                (0..100).for_each(|_| assert_eq!(told(&mut a.run_ctx()), truth()));
                barrier.wait();
            });
        }
    });
    // SAFETY: an arena of this process.
    let (ctl, page) = unsafe { (control::control(a.base()), control::proc_page(a.base())) };
    if cfg!(target_env = "gnu") && ctl.flags & FSGSBASE != 0 {
        assert_eq!(page.tid_off.load(Relaxed), 0x2d0, "the fast way is not taken");
    }
    assert_eq!(page.tgid.load(Relaxed), std::process::id());
}

#[test]
fn forks() {
    let a = arena(2);
    // SAFETY: the child calls helpers and exits.
    let fork = || unsafe { libc::fork() };
    // The C library does not learn of this one: its thread id is the parent's.
    // SAFETY: as above.
    let bare = || unsafe { libc::syscall(libc::SYS_fork) as i32 };
    let right = || told(&mut a.run_ctx()) == truth() && told(&mut a.run_ctx()) == truth();
    for used_before in [false, true] {
        if used_before {
            assert!(right());
        }
        assert_eq!(in_child(fork, right), 0);
        assert_eq!(in_child(bare, right), 0);
        assert_eq!(in_child(fork, || right() && in_child(bare, right) == 0 && right()), 0);
    }
    assert!(right());
}

struct Shared {
    rc: RunCtx,
    told: AtomicU64,
    truth: AtomicU64,
}

extern "C" fn tell(arg: *mut libc::c_void) -> i32 {
    // SAFETY: the creator's `Shared`, which it keeps until `truth` is set.
    let shared = unsafe { &*arg.cast::<Shared>() };
    shared.told.store(told(&mut { shared.rc }), SeqCst);
    shared.truth.store(truth(), SeqCst);
    0
}

#[test]
fn thread_without_a_control_block() {
    let a = arena(2);
    let shared = Shared { rc: a.run_ctx(), told: AtomicU64::new(0), truth: AtomicU64::new(0) };
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    in_clone(flags, tell, (&raw const shared).cast_mut().cast());
    while shared.truth.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(shared.told.load(SeqCst), shared.truth.load(SeqCst));
    assert_eq!(
        told(&mut a.run_ctx()),
        truth(),
        "its creator, whose control block was not believed"
    );
}

extern "C" fn copy(arg: *mut libc::c_void) -> i32 {
    // SAFETY: the creator's `Shared`, which it keeps until this task has exited.
    let shared = unsafe { &*arg.cast::<Shared>() };
    let (rc, from) = (&mut { shared.rc }, 0x1122_3344_5566_7788u64);
    let mut to = 0u64;
    let read = call_held(rc, PROBE_READ, [ptr_mut(&mut to), 8, ptr(&from), 0, 0]) == 0;
    shared.told.store(to, SeqCst);
    let written = call_held(rc, PROBE_WRITE_USER, [ptr(&shared.truth), ptr(&from), 8, 0, 0]) == 0;
    i32::from(!read || !written)
}

/// A process that shares memory with its parent, as a child of vfork does, reads through its parent's id.
#[test]
fn memory_of_a_process_that_shares_it() {
    let a = arena(2);
    assert_eq!(told(&mut a.run_ctx()), truth());
    let shared = Shared { rc: a.run_ctx(), told: AtomicU64::new(0), truth: AtomicU64::new(0) };
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    let status =
        in_child(|| in_clone(flags, copy, (&raw const shared).cast_mut().cast()), || false);
    assert_eq!(status, 0);
    assert_eq!(shared.told.load(SeqCst), 0x1122_3344_5566_7788);
    assert_eq!(shared.truth.load(SeqCst), 0x1122_3344_5566_7788);
}

/// The process by whose id memory is read may be gone.
#[test]
fn memory_by_a_stale_id() {
    let a = arena(2);
    let gone = AtomicU64::new(0);
    let fork = || {
        // SAFETY: the child exits at once.
        let pid = unsafe { libc::fork() };
        gone.store(pid as u64, Relaxed);
        pid
    };
    assert_eq!(in_child(fork, || true), 0);
    // SAFETY: an arena of this process.
    let page = unsafe { control::proc_page(a.base()) };
    page.tgid.store(gone.load(Relaxed) as u32, Relaxed);
    let (from, mut to) = (77u64, 0u64);
    let args = [ptr_mut(&mut to), 8, ptr(&from), 0, 0];
    assert_eq!(call_held(&mut a.run_ctx(), PROBE_READ, args), 0);
    assert_eq!(to, 77);
}
