//! One probe at a time.

use crate::arena::{Arena, plain};
use crate::child::Traced;
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::proc::Maps;
use stylet_inject::{Kind, ProbeSpec, Target};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("entry_counts_and_detach_restores", entry),
        trial("return_of_a_recursive_function", recursive_return),
        trial("context_words", context),
        trial("cost", cost),
    ]
}

fn probe(site: u64, kind: Kind, prog: stylet_inject::ProgRef) -> ProbeSpec {
    ProbeSpec { site, kind, prog, func_ip: site, func: None }
}

fn entry() {
    let mut child = Traced::start("calls");
    let site = child.number("addr_sum");
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
    let site = child.number("addr_fact");
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
    let site = child.number("addr_sum");
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
    let site = child.number("addr_sum");
    let mut arena = Arena::new();
    let empty = arena.code(|_| {});
    let mut best = |child: &mut Traced| (0..20).map(|_| child.number("ns 200000")).min().unwrap();
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
