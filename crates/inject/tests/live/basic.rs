//! One probe at a time.

use crate::arena::{Arena, plain};
use crate::child::{Snapshot, Traced};
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::proc::Maps;
use stylet_inject::{Error, Kind, ProbeSpec, ProgRef, Target};
use stylet_runtime::abi::{RUN_OVERRIDE, RUN_RETURN, run_ctx};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("entry_counts_and_detach_restores", entry),
        trial("return_of_a_recursive_function", recursive_return),
        trial("context_words", context),
        trial("registers_flags_and_red_zone_survive", state),
        trial("displaced_instructions_work", displaced),
        trial("tail_calls_return_through_every_probe", tail_calls),
        trial("longjmp_over_a_return_probe", longjmp),
        trial("override_skips_the_function", overriding),
        trial("run_context_and_several_programs", several),
        trial("slots", slots),
        trial("two_windows", two_windows),
        trial("libc_functions_by_name", by_name),
        trial("cost", cost),
    ]
}

pub fn probe(site: u64, kind: Kind, prog: ProgRef) -> ProbeSpec {
    ProbeSpec { site, kind, prog, func_ip: site, func: None, counter: None }
}

fn entry() {
    let mut child = Traced::start("calls");
    let site = child.number("addr 0");
    let before = (Maps::of(child.pid()).unwrap(), child.number("sum 10"));
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let bytes = target.memory().unwrap().bytes(site, 32).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    target.attach_probe(&probe(site, Kind::Entry, plain(window, code))).unwrap();
    assert_eq!(child.number("sum 10"), before.1);
    assert_eq!(arena.word(0), 10);
    let report = target.detach().unwrap();
    assert_eq!(report.clean, [child.pid()]);
    assert_eq!(child.number("sum 10"), before.1);
    assert_eq!(arena.word(0), 10);
    assert_eq!(Maps::of(child.pid()).unwrap(), before.0);
    let memory = stylet_inject::proc::Memory::open(child.pid()).unwrap();
    assert_eq!(memory.bytes(site, 32).unwrap(), bytes);
    child.quit();
}

fn recursive_return() {
    let mut child = Traced::start("calls");
    let site = child.number("addr 1");
    let mut arena = Arena::new();
    let (enter, ret) = (
        arena.counter(0),
        arena.code(|p| {
            p.count(1);
            p.store_ctx(10, 2);
            p.store_ctx(16, 3);
        }),
    );
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let mut prog = plain(window, ret);
    prog.ctx_read = 1 << 10 | 1 << 16;
    target.attach_probe(&probe(site, Kind::Return, prog)).unwrap();
    target.attach_probe(&probe(site, Kind::Entry, plain(window, enter))).unwrap();
    assert_eq!(child.number("fact 10"), 3628800);
    assert_eq!((arena.word(0), arena.word(1), arena.word(2)), (10, 10, 3628800));
    assert_eq!(target.missed_returns().unwrap(), 0);
    assert!(target.detach().unwrap().left_mapped.is_empty());
    assert_eq!(child.number("fact 10"), 3628800);
    assert_eq!(arena.word(1), 10);
    child.quit();
}

fn context() {
    let mut child = Traced::start("calls");
    let site = child.number("addr 0");
    let mut arena = Arena::new();
    let code = arena.code(|p| {
        for i in 0..21 {
            p.store_ctx(i, i.into());
        }
        p.clobber();
        p.clobber_xmm();
    });
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let mut prog = plain(window, code);
    (prog.ctx_escapes, prog.has_calls, prog.xmm_used) = (true, true, 0xffff);
    target.attach_probe(&probe(site, Kind::Entry, prog)).unwrap();
    assert_eq!(child.number("sum 1"), 20);
    let word = |i| arena.word(i);
    // r9, r8, cx, dx, si, di
    assert_eq!([8, 9, 11, 12, 13, 14].map(word), [6, 5, 4, 3, 2, 0]);
    assert_eq!([15, 16, 17, 20].map(word), [u64::MAX, site, 0x33, 0x2b]);
    let maps = target.maps().unwrap();
    assert!(maps.at(word(19)).is_some_and(|m| m.write), "sp");
    assert_eq!(word(18) & 0x202, 0x202, "flags");
    target.detach().unwrap();
    child.quit();
}

/// Prints the cost; nothing is asserted about time.
fn cost() {
    let mut child = Traced::start("calls");
    let site = child.number("addr 0");
    let mut arena = Arena::new();
    let empty = arena.code(|_| {});
    let best = |child: &mut Traced| (0..50).map(|_| child.number("ns 50000")).min().unwrap();
    let bare = best(&mut child);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    target.attach_probe(&probe(site, Kind::Entry, plain(window, empty))).unwrap();
    let entry = best(&mut child);
    target.attach_probe(&probe(site, Kind::Return, plain(window, empty))).unwrap();
    let both = best(&mut child);
    println!(
        "ns per call: bare {}, entry {}, entry and return {}",
        bare as f64 / 1e3,
        entry as f64 / 1e3,
        both as f64 / 1e3
    );
    target.detach().unwrap();
    child.quit();
}

/// A program that changes all it may, and its reference.
fn clobberer(arena: &mut Arena, window: stylet_inject::WindowId) -> ProgRef {
    let code = arena.code(|p| {
        p.count(0);
        p.clobber();
        p.clobber_xmm();
    });
    ProgRef { has_calls: true, xmm_used: 0xffff, uses_run_ctx: true, ..plain(window, code) }
}

fn state() {
    let mut child = Traced::start("calls");
    let (still, inside) = (child.addr("still"), child.addr("inside") + 10);
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let prog = clobberer(&mut arena, window);
    target.attach_probe(&probe(still, Kind::Entry, prog)).unwrap();
    assert_eq!((child.number("state 0"), arena.word(0)), (0, 1));
    target.attach_probe(&probe(still, Kind::Return, prog)).unwrap();
    assert_eq!((child.number("state 0"), arena.word(0)), (0, 3));
    target.attach_probe(&probe(inside, Kind::Offset, prog)).unwrap();
    for _ in 0..20 {
        assert_eq!(child.number("state 1"), 0);
    }
    assert_eq!(arena.word(0), 23);
    target.detach().unwrap();
    child.quit();
}

fn displaced() {
    let mut child = Traced::start("busy");
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    for name in ["moved", "branch", "call", "tail", "padded"] {
        let site = child.addr(name);
        target.attach_probe(&probe(site, Kind::Entry, plain(window, code))).unwrap();
    }
    child.number("threads 1");
    wait_for(|| arena.word(0) > 1000);
    target.detach().unwrap();
    assert_eq!(child.number("wrong"), 0);
    child.quit();
}

fn tail_calls() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    for (i, name) in ["sum", "tail", "even", "odd"].into_iter().enumerate() {
        let (site, code) = (child.addr(name), arena.counter(i as u64));
        target.attach_probe(&probe(site, Kind::Return, plain(window, code))).unwrap();
    }
    assert_eq!(child.number("tail 7"), 12);
    assert_eq!((arena.word(0), arena.word(1)), (1, 1));
    assert_eq!(child.number("even 5"), 0);
    assert_eq!((arena.word(2), arena.word(3)), (3, 3));
    // Of 21 calls that share a slot eight are followed.
    assert_eq!(child.number("even 20"), 1);
    assert_eq!(arena.word(2) + arena.word(3), 6 + 8);
    assert_eq!(target.missed_returns().unwrap(), 13);
    target.detach().unwrap();
    assert_eq!(child.number("even 20"), 1);
    child.quit();
}

fn longjmp() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let site = child.addr("leave");
    target.attach_probe(&probe(site, Kind::Return, plain(window, code))).unwrap();
    assert_eq!(child.number("jumps 100000"), 100000);
    assert_eq!((arena.word(0), target.missed_returns().unwrap()), (0, 0));
    assert!(target.detach().unwrap().left_mapped.is_empty());
    assert_eq!(child.number("jumps 10"), 10);
    child.quit();
}

fn overriding() {
    let mut child = Traced::start("calls");
    let site = child.addr("sum");
    let mut arena = Arena::new();
    // Overrides with 99 while word 0 is below 3: run context in r9.
    let code = arena.code(|p| {
        p.count(0);
        p.raw(&[0x41, 0x83, 0x49, run_ctx::FLAGS as u8, RUN_OVERRIDE as u8]); // or dword [r9 + flags], RUN_OVERRIDE
        p.raw(&[0x49, 0xc7, 0x41, run_ctx::OVERRIDE_RC as u8, 99, 0, 0, 0]); // mov qword [r9 + override_rc], 99
    });
    let ret = arena.code(|p| {
        p.count(1);
        p.store_ctx(10, 2);
    });
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let prog = ProgRef { uses_run_ctx: true, can_override: true, ..plain(window, code) };
    let id = target.attach_probe(&probe(site, Kind::Entry, prog)).unwrap();
    assert_eq!(child.number("sum 2"), 198);
    let back = ProgRef { ctx_read: 1 << 10, ..plain(window, ret) };
    target.attach_probe(&probe(site, Kind::Return, back)).unwrap();
    assert_eq!(child.number("sum 1"), 99);
    assert_eq!((arena.word(0), arena.word(1), arena.word(2)), (3, 1, 99));
    target.detach_probe(id).unwrap();
    assert_eq!(child.number("sum 1"), 20);
    assert_eq!((arena.word(0), arena.word(1), arena.word(2)), (3, 2, 20));
    target.detach().unwrap();
    child.quit();
}

fn several() {
    let mut child = Traced::start("calls");
    let site = child.addr("sum");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let mut ids = Vec::new();
    for i in 0..4u64 {
        let code = arena.code(|p| {
            p.count(8 * i);
            let fields =
                [run_ctx::ARENA, run_ctx::COOKIE, run_ctx::FUNC_IP, run_ctx::SLOT, run_ctx::FLAGS];
            for (k, off) in fields.into_iter().enumerate() {
                p.store_run_ctx(off, 8 * i + 1 + k as u64);
            }
            p.clobber();
        });
        let prog = ProgRef {
            uses_run_ctx: true,
            reads_cookie: true,
            reads_func_ip: true,
            cookie: 0x1234_5678_9abc_0000 + i,
            prog: 7,
            ..plain(window, code)
        };
        let kind = if i % 2 == 0 { Kind::Entry } else { Kind::Return };
        ids.push(target.attach_probe(&probe(site, kind, prog)).unwrap());
    }
    assert_eq!(child.number("sum 1"), 20);
    let base = target.window_address(window).unwrap();
    for i in 0..4 {
        let word = |k| arena.word(8 * i + k);
        assert_eq!(
            [0, 1, 2, 3].map(word),
            [1, base, 0x1234_5678_9abc_0000 + i, site],
            "program {i}"
        );
        assert_eq!(word(4), u64::from(u32::MAX), "no slot, no tail calls");
        let flags = if i % 2 == 0 { 0 } else { u64::from(RUN_RETURN) };
        assert_eq!(word(5), 7 << 32 | flags);
    }
    for (i, &id) in ids.iter().enumerate() {
        target.detach_probe(id).unwrap();
        child.number("sum 1");
        assert_eq!(
            (arena.word(8 * i as u64), arena.word(24)),
            (1 + i as u64, 2 + (i as u64).min(2))
        );
    }
    assert!(matches!(target.detach_probe(ids[3]), Err(Error::Unknown { .. })));
    target.detach().unwrap();
    child.quit();
}

fn slots() {
    let mut child = Traced::start("calls");
    let site = child.addr("sum");
    let mut arena = Arena::new();
    // slot_enter: succeeds every second time.
    let enter = arena.code(|p| {
        p.count(0);
        p.load_word(0);
        p.raw(&[0x83, 0xe0, 1, 0xf7, 0xd8]); // and eax, 1; neg eax
    });
    let (leave, run) = (arena.counter(1), arena.counter(2));
    let mut target = Target::attach(child.pid()).unwrap();
    let spec = stylet_inject::WindowSpec { slot_enter: enter, slot_leave: leave, ..arena.spec() };
    let window = target.map_window(&spec).unwrap();
    let prog = ProgRef { needs_slot: true, ..plain(window, run) };
    for kind in [Kind::Entry, Kind::Return] {
        target.attach_probe(&probe(site, kind, prog)).unwrap();
    }
    assert_eq!(child.number("sum 3"), 63);
    assert_eq!((arena.word(0), arena.word(1), arena.word(2)), (6, 3, 3));
    target.detach().unwrap();
    child.quit();
}

fn two_windows() {
    let mut child = Traced::start("calls");
    let site = child.addr("sum");
    let mut arenas = [Arena::new(), Arena::new(), Arena::new()];
    let before = Snapshot::of(child.pid());
    let mut target = Target::attach(child.pid()).unwrap();
    for arena in &mut arenas {
        let window = target.map_window(&arena.spec()).unwrap();
        assert!(matches!(target.map_window(&arena.spec()), Err(Error::Window { .. })));
        for kind in [Kind::Entry, Kind::Return] {
            let code = arena.counter(kind as u64);
            target.attach_probe(&probe(site, kind, plain(window, code))).unwrap();
        }
    }
    assert_eq!(child.number("sum 3"), 63);
    assert!(arenas.iter().all(|a| a.word(0) == 3 && a.word(1) == 3));
    target.detach().unwrap();
    Snapshot::of(child.pid()).assert_same(&before);
    child.quit();
}

fn by_name() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let site = match target.resolve(&"libc:malloc".parse().unwrap()) {
        Ok(site) => site,
        Err(error) => return println!("skipped: {error}"),
    };
    assert_eq!((site.name.as_deref(), site.site), (Some("malloc"), site.func_ip));
    for kind in [Kind::Entry, Kind::Return] {
        target.attach_probe(&probe(site.site, kind, plain(window, code))).unwrap();
    }
    child.number("malloc 100");
    assert!(arena.word(0) >= 200);
    let own = std::env::current_exe().unwrap().display().to_string();
    let sum = target.resolve(&format!("{own}:probed_sum").parse().unwrap()).unwrap();
    assert_eq!(sum.site, child.addr("sum"));
    target.detach().unwrap();
    child.quit();
}

/// Waits for something the traced process does; a minute is never needed.
pub fn wait_for(done: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("it did not happen within a minute");
}
