//! Threads that call all the time and check every result.

use super::code;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: i32) {
    SIGNALS.fetch_add(1, Relaxed);
    // SAFETY: the function has this signature.
    if unsafe { code::probed_sum(1, 1, 1, 1, 1, 1) } != 6 {
        std::process::abort();
    }
}

#[derive(Default)]
struct Counts {
    rounds: AtomicU64,
    wrong: AtomicU64,
}

/// `threads N` starts N callers, `wrong` tells errors seen, `rounds` the work done, `signals` the signals handled.
pub fn new() -> impl FnMut(&str, u64) -> u64 {
    let counts = Arc::new(Counts::default());
    // SAFETY: the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGRTMIN(), &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
    move |word, n| match word {
        "threads" => {
            for _ in 0..n {
                let counts = counts.clone();
                std::thread::spawn(move || work(&counts));
            }
            n
        }
        "addr" => code::SITES[n as usize].1(),
        "wrong" => counts.wrong.load(Relaxed),
        "rounds" => counts.rounds.load(Relaxed),
        "signals" => SIGNALS.load(Relaxed),
        _ => panic!("unknown command {word}"),
    }
}

fn work(counts: &Counts) {
    loop {
        let mut wrong = code::wrong_results();
        for _ in 0..20 {
            wrong |= code::many_wrong() << 32;
        }
        if wrong != 0 {
            counts.wrong.store(wrong, Relaxed);
        }
        counts.rounds.fetch_add(1, Relaxed);
    }
}
