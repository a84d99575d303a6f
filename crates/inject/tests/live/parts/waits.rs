//! Threads that wait in the kernel and check that no wait ends early or with EINTR.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

type Wait = fn() -> bool;

const MS20: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Each is true if the wait ended as it should.
const WAITS: [(&str, Wait); 8] = [
    ("nanosleep", || {
        // SAFETY: valid pointers.
        unsafe { libc::nanosleep(&MS20, std::ptr::null_mut()) == 0 }
    }),
    // SAFETY: no descriptors.
    ("poll", || unsafe { libc::poll(std::ptr::null_mut(), 0, 20) == 0 }),
    ("epoll_wait", || {
        // SAFETY: `event` outlives the call.
        unsafe {
            let epoll = libc::epoll_create1(0);
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let rc = libc::epoll_wait(epoll, &mut event, 1, 20);
            libc::close(epoll);
            rc == 0
        }
    }),
    ("select", || {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        let none = std::ptr::null_mut();
        // SAFETY: `time` outlives the call.
        unsafe { libc::select(0, none, none, none, &mut time) == 0 }
    }),
    ("sigtimedwait", || {
        // SAFETY: `set` outlives the call.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR2);
            let rc = libc::sigtimedwait(&set, std::ptr::null_mut(), &MS20);
            rc == -1 && *libc::__errno_location() == libc::EAGAIN
        }
    }),
    ("futex", || {
        let word = 0u32;
        // SAFETY: `word` outlives the call.
        unsafe {
            let rc = libc::syscall(libc::SYS_futex, &word, libc::FUTEX_WAIT, 0, &MS20);
            rc == -1 && *libc::__errno_location() == libc::ETIMEDOUT
        }
    }),
    ("read", || {
        let mut ends = [0; 2];
        // SAFETY: pipe ends are closed once each.
        unsafe {
            libc::pipe(ends.as_mut_ptr());
            let write = ends[1];
            let writer = std::thread::spawn(move || {
                libc::usleep(20_000);
                libc::write(write, [1u8].as_ptr().cast(), 1);
            });
            let mut byte = 0u8;
            let rc = libc::read(ends[0], (&raw mut byte).cast(), 1);
            let _ = writer.join();
            libc::close(ends[0]);
            libc::close(ends[1]);
            rc == 1
        }
    }),
    ("semtimedop", || {
        let mut op = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: 0 };
        // SAFETY: the set is removed again.
        unsafe {
            let set = libc::semget(libc::IPC_PRIVATE, 1, 0o600);
            let rc = libc::syscall(libc::SYS_semtimedop, set, &mut op, 1, &MS20);
            let errno = *libc::__errno_location();
            libc::semctl(set, 0, libc::IPC_RMID);
            rc == -1 && errno == libc::EAGAIN
        }
    }),
];

/// `wrong`: bits of the kinds of wait that went wrong; `rounds`: waits made.
pub fn new() -> impl FnMut(&str, u64) -> u64 {
    let wrong = Arc::new(AtomicU64::new(0));
    let rounds = Arc::new(AtomicU64::new(0));
    for (i, (_, wait)) in WAITS.iter().enumerate() {
        let (wrong, rounds) = (wrong.clone(), rounds.clone());
        std::thread::spawn(move || {
            loop {
                let start = std::time::Instant::now();
                if !wait() || start.elapsed().as_millis() < 19 {
                    wrong.fetch_or(1 << i, Relaxed);
                }
                rounds.fetch_add(1, Relaxed);
            }
        });
    }
    move |word, _| match word {
        "wrong" => wrong.load(Relaxed),
        "rounds" => rounds.load(Relaxed),
        _ => panic!("unknown command {word}"),
    }
}
