//! Changes under load: many threads, signals, waits in the kernel, many sites.

use crate::arena::{Arena, plain};
use crate::basic::{probe, wait_for};
use crate::child::{Snapshot, Traced};
use crate::parts::MANY;
use crate::trial;
use libtest_mimic::Trial;
use std::time::{Duration, Instant};
use stylet_inject::{Kind, ProbeSpec, ProgRef, Target};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("attach_and_detach_under_load", load),
        trial("signals_during_attach", signals),
        trial("waits_are_not_disturbed", waits),
        trial("all_of_libc", libc),
        trial("two_tracers_of_one_slot", two_tracers),
        trial("instructions_all_over_libc", instructions),
        trial("returns_of_waiting_functions", waiting_returns),
    ]
}

/// How long a test loops.
const TIME: Duration = Duration::from_millis(1500);

/// Attaches entry, return and offset probes to all functions, lets the process run, detaches; until time is up.
fn cycle(child: &mut Traced, mut between: impl FnMut(i32)) {
    let pid = child.pid();
    let names = [
        "sum", "fact", "tail", "even", "odd", "still", "moved", "branch", "call", "padded", "leave",
    ];
    let mut sites: Vec<u64> = names.iter().map(|n| child.addr(n)).collect();
    let inside = child.addr("inside") + 10;
    let many = child.addr("many");
    sites.extend((0..MANY).map(|i| many + 32 * i));
    let before = Snapshot::of(pid);
    let start = Instant::now();
    while start.elapsed() < TIME {
        let mut arena = Arena::new();
        let (enter, ret, at) = (arena.counter(0), arena.counter(1), arena.counter(2));
        let mut target = Target::attach(pid).unwrap();
        let window = target.map_window(&arena.spec()).unwrap();
        let mut specs: Vec<ProbeSpec> = vec![probe(inside, Kind::Offset, plain(window, at))];
        for &site in &sites {
            specs.push(probe(site, Kind::Return, plain(window, ret)));
            specs.push(probe(site, Kind::Entry, plain(window, enter)));
        }
        let ids: Vec<_> =
            target.attach_probes(&specs).unwrap().into_iter().map(|r| r.unwrap()).collect();
        wait_for(|| arena.word(0) > 1000 && arena.word(1) > 1000 && arena.word(2) > 10);
        between(pid);
        for id in ids.iter().step_by(7) {
            target.detach_probe(*id).unwrap();
        }
        between(pid);
        let report = target.detach().unwrap();
        assert_eq!(report.clean, [pid], "{report:?}");
        assert_eq!(child.number("wrong"), 0);
    }
    Snapshot::of(pid).assert_same(&before);
}

fn load() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    cycle(&mut child, |_| {});
    child.quit();
}

fn signals() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (pid, end) = (child.pid(), stop.clone());
    // Real-time signals are queued one by one: each must arrive.
    let sender = std::thread::spawn(move || {
        let mut sent = 0u64;
        while !end.load(std::sync::atomic::Ordering::Relaxed) {
            // SAFETY: a signal to a process of ours, which is not waited for before the thread ends.
            let rc = unsafe { libc::sigqueue(pid, libc::SIGRTMIN(), std::mem::zeroed()) };
            sent += u64::from(rc == 0);
            if sent.is_multiple_of(8) {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        sent
    });
    cycle(&mut child, |_| {});
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = sender.join().unwrap();
    let mut got = 0;
    for _ in 0..2000 {
        got = child.number("signals");
        if got == sent {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(got, sent);
    child.quit();
}

fn waits() {
    let mut child = Traced::start("waits");
    let start = Instant::now();
    let arena = Arena::new();
    while start.elapsed() < TIME {
        let mut target = Target::attach(child.pid()).unwrap();
        target.map_window(&arena.spec()).unwrap();
        target.detach().unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    // Waits that were interrupted start anew; now they can end.
    while child.number("rounds") < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.number("wrong"), 0, "bits as in parts::waits");
    child.quit();
}

/// Probes on every function of the C library that can be patched.
fn libc() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let code = arena.counter(0);
    // It has been loaded once it answers.
    child.addr("sum");
    let before = Snapshot::of(child.pid());
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let functions = match target.functions("libc", "*") {
        Ok(functions) => functions,
        Err(error) => return println!("skipped: {error}"),
    };
    let prog = plain(window, code);
    let specs: Vec<ProbeSpec> =
        functions.iter().map(|f| probe(f.site, Kind::Entry, prog)).collect();
    let results = target.attach_probes(&specs).unwrap();
    let done = results.iter().filter(|r| r.is_ok()).count();
    println!("{done} of {} functions", results.len());
    assert!(done * 100 > results.len() * 98);
    for (function, error) in
        functions.iter().zip(&results).filter_map(|(f, r)| Some((f, r.as_ref().err()?))).take(5)
    {
        println!("{}: {error}", function.name.as_deref().unwrap_or("?"));
    }
    child.number("malloc 100");
    assert_eq!(child.number("fact 10"), 3628800);
    assert!(arena.word(0) > 100);
    assert!(target.detach().unwrap().left_mapped.is_empty());
    child.number("malloc 100");
    Snapshot::of(child.pid()).assert_same(&before);
    child.quit();
}

/// Functions that wait for long are probed at their return, and let go while they wait.
fn waiting_returns() {
    let mut child = Traced::start("waits");
    child.number("rounds");
    let before = Snapshot::of(child.pid());
    let start = Instant::now();
    while start.elapsed() < TIME {
        let mut arena = Arena::new();
        let code = arena.counter(0);
        let mut target = Target::attach(child.pid()).unwrap();
        let window = target.map_window(&arena.spec()).unwrap();
        let names =
            ["nanosleep", "clock_nanosleep", "poll", "epoll_wait", "select", "read", "syscall"];
        for name in names {
            let Ok(site) = target.resolve(&format!("libc:{name}").parse().unwrap()) else {
                continue;
            };
            target.attach_probe(&probe(site.site, Kind::Return, plain(window, code))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(target.detach().unwrap().clean, [child.pid()]);
        assert!(arena.word(0) > 0);
    }
    assert_eq!(child.number("wrong"), 0, "bits as in parts::waits");
    Snapshot::of(child.pid()).assert_same(&before);
    child.quit();
}

/// Probes on instructions inside of functions all over the C library, by a program that changes all it may.
fn instructions() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let code = arena.code(|p| {
        p.count(0);
        p.clobber();
        p.clobber_xmm();
    });
    let want = child.number("work 1");
    let before = Snapshot::of(child.pid());
    for phase in 0..2 {
        let mut target = Target::attach(child.pid()).unwrap();
        let window = target.map_window(&arena.spec()).unwrap();
        let Ok(functions) = target.functions("libc", "*") else {
            return println!("skipped: no glibc");
        };
        let prog = ProgRef {
            has_calls: true,
            xmm_used: 0xffff,
            uses_run_ctx: true,
            ..plain(window, code)
        };
        let mut specs = Vec::new();
        let mut last = 0;
        for func in functions.iter().filter_map(|f| f.func.clone()) {
            let bytes = target
                .memory()
                .unwrap()
                .bytes(func.start, (func.end - func.start) as usize)
                .unwrap();
            let decoder = iced_x86::Decoder::with_ip(64, &bytes, func.start, 0);
            for insn in decoder.into_iter().skip(1 + phase).step_by(7) {
                if insn.ip() <= last + 24 {
                    continue;
                }
                last = insn.ip();
                specs.push(probe(insn.ip(), Kind::Offset, prog));
            }
        }
        let specs: Vec<ProbeSpec> = specs.into_iter().step_by(9).collect();
        let results = target.attach_probes(&specs).unwrap();
        let done = results.iter().filter(|r| r.is_ok()).count();
        println!("{done} of {} instructions", results.len());
        assert!(done * 10 > results.len() * 7, "{:?}", results.iter().find(|r| r.is_err()));
        let hits = arena.word(0);
        assert_eq!(child.number("work 20"), want * 20);
        assert!(arena.word(0) > hits + 20);
        assert!(target.detach().unwrap().left_mapped.is_empty());
    }
    assert_eq!(child.number("work 1"), want);
    Snapshot::of(child.pid()).assert_same_code(&before);
    child.quit();
}

/// A function of one tracer tail-calls one of another's; they leave in either order while calls are under way.
fn two_tracers() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    let sites = ["tail", "sum", "even", "odd"].map(|n| child.addr(n));
    let before = Snapshot::of(child.pid());
    let start = Instant::now();
    let mut first = 0;
    while start.elapsed() < TIME {
        let mut arenas = [Arena::new(), Arena::new()];
        let mut targets = Vec::new();
        for (i, arena) in arenas.iter_mut().enumerate() {
            let code = arena.counter(0);
            let mut target = Target::attach(child.pid()).unwrap();
            let window = target.map_window(&arena.spec()).unwrap();
            for &site in sites.iter().skip(i).step_by(2) {
                target.attach_probe(&probe(site, Kind::Return, plain(window, code))).unwrap();
            }
            targets.push(target);
        }
        wait_for(|| arenas.iter().all(|a| a.word(0) > 100));
        first = 1 - first;
        assert_eq!(targets.remove(first).detach().unwrap().clean, [child.pid()]);
        assert_eq!(targets.remove(0).detach().unwrap().clean, [child.pid()]);
        assert_eq!(child.number("wrong"), 0);
    }
    Snapshot::of(child.pid()).assert_same(&before);
    child.quit();
}
