//! What the traced processes do.

use std::io::BufRead;

mod busy;
mod code;
mod waits;

use code::*;
pub use code::{MANY, SITES};

/// Runs a part until its input ends or says `quit`.
pub fn run(part: &str) {
    match part {
        "calls" => obey(calls),
        "busy" => obey(busy::new()),
        "waits" => obey(waits::new()),
        "tracer" => crate::crash::tracer(),
        // SAFETY: the function has this signature.
        "once" => std::process::exit(unsafe { probed_sum(1, 1, 1, 1, 1, 2) } as i32),
        _ => panic!("unknown part {part}"),
    }
}

fn obey(mut act: impl FnMut(&str, u64) -> u64) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("reads");
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        if word == "quit" {
            return;
        }
        println!("{}", act(word, number.parse().expect("a number")));
    }
}

fn calls(word: &str, n: u64) -> u64 {
    // SAFETY: the functions above have these signatures.
    unsafe {
        match word {
            "addr_sum" => probed_sum as *const () as u64,
            "addr" => SITES[n as usize].1(),
            "addr_fact" => probed_fact as *const () as u64,
            "sum" => (0..n).map(|i| probed_sum(i, 2, 3, 4, 5, 6)).sum(),
            "fact" => probed_fact(n),
            "ns" => per_call(n),
            "tail" => probed_tail(n),
            "even" => probed_even(n),
            "jumps" => jumps(n),
            "state" => code::state_errors(n),
            "work" => (0..n).map(|_| work()).sum(),
            "filter" => seccomp_filter(),
            "strict" => libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) as u64,
            "fork" => fork_caller(),
            "malloc" => (0..n)
                .map(|i| vec![1u8; 100 + i as usize].iter().map(|&b| b as u64).sum::<u64>())
                .sum(),
            _ => panic!("unknown command {word}"),
        }
    }
}

/// Picoseconds of processor time per call of `probed_sum`, of `n` calls.
fn per_call(n: u64) -> u64 {
    let now = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` outlives the call.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let start = now();
    for i in 0..n {
        // SAFETY: as above.
        std::hint::black_box(unsafe { probed_sum(i, 2, 3, 4, 5, 6) });
    }
    (now() - start) * 1000 / n
}

/// Calls of the recursive function that are left by longjmp, `n` of them; the signal mask and stack stay right.
fn jumps(n: u64) -> u64 {
    // SAFETY: `probed_leave` unwinds to `call_leaver`, which is written for that.
    (0..n).map(|_| unsafe { call_leaver() }).sum()
}

/// Forks a child that calls until this process ends or kills it; gives its id.
fn fork_caller() -> u64 {
    // SAFETY: the child makes only system calls and calls of the functions above.
    unsafe {
        let parent = libc::getpid();
        match libc::fork() {
            0 => {
                while libc::getppid() == parent {
                    if probed_sum(1, 2, 3, 4, 5, 6) != 21 || probed_fact(5) != 120 {
                        libc::_exit(9);
                    }
                    libc::usleep(200);
                }
                libc::_exit(0)
            }
            pid => pid as u64,
        }
    }
}

/// Forbids socketpair(2) by killing the process.
fn seccomp_filter() -> u64 {
    let insn = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_socketpair as u32),
        insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let prog = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter outlives the calls.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &prog) as u64
    }
}

/// Uses many functions of the C library, and always gives the same.
fn work() -> u64 {
    let mut text = [0u8; 256];
    let mut sum = 0;
    // SAFETY: the buffer is larger than what is written, and ends with a zero.
    unsafe {
        let to = text.as_mut_ptr().cast();
        let len = libc::snprintf(
            to,
            256,
            c"%d %s %.6f %lx".as_ptr(),
            12345,
            c"text".as_ptr(),
            3.25f64,
            77u64,
        );
        sum += len as u64 + libc::strtol(to, std::ptr::null_mut(), 10) as u64;
        sum += libc::strtod(c"2.5e3".as_ptr(), std::ptr::null_mut()) as u64;
        sum += (libc::strstr(to, c"text".as_ptr()) as u64).wrapping_sub(to as u64);
        extern "C" fn order(a: *const libc::c_void, b: *const libc::c_void) -> i32 {
            // SAFETY: qsort gives pointers to elements.
            unsafe { (*a.cast::<u32>()).cmp(&*b.cast::<u32>()) as i32 }
        }
        let mut numbers: Vec<u32> = (0..200u32).map(|i| i.wrapping_mul(2654435761)).collect();
        libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(order));
        sum += u64::from(numbers[100]);
        let mut time: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&86_400_000, &mut time);
        sum += time.tm_year as u64;
    }
    let thread =
        std::thread::spawn(|| std::fs::read("/proc/self/comm").map_or(0, |c| c.len() as u64));
    let map: std::collections::BTreeMap<u64, String> =
        (0..50).map(|i| (i, format!("{i}"))).collect();
    sum + u64::from(thread.join().expect("ends") > 0)
        + map.values().map(|s| s.len() as u64).sum::<u64>()
}
