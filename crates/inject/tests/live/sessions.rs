//! Programs that run at a call and at its return.

use crate::arena::{Arena, plain};
use crate::basic::{probe, wait_for};
use crate::child::{Snapshot, Traced};
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::{Error, Kind, ProgRef, Target, WindowId};
use stylet_runtime::abi::{RUN_RETURN, run_ctx};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_session_keeps_its_cookie_and_suppresses_returns", recursive),
        trial("sessions_of_threads_and_children", threads),
        trial("sessions_and_tail_calls", tail_calls),
        trial("longjmp_over_a_session", longjmp),
        trial("several_sessions_of_a_function", several),
    ]
}

/// At entry: counts in word `at`, leaves the first argument as cookie, gives its lowest bit (odd ones want no return).
/// At the return: counts in the next word, adds the cookie to the second next and the result to the third.
fn session(arena: &mut Arena, window: WindowId, at: u64) -> ProgRef {
    let code = arena.code(|p| {
        p.raw(&[0x41, 0xf7, 0x41, run_ctx::FLAGS as u8, RUN_RETURN as u8, 0, 0, 0]); // test dword [r9 + flags], RUN_RETURN
        p.raw(&[0x75, 8 + 4 + 4 + 3 + 1]); // jnz
        p.count(at);
        p.raw(&[0x48, 0x8b, 0x47, 14 * 8]); // mov rax, [rdi + di]
        p.raw(&[0x49, 0x89, 0x41, run_ctx::SESSION_COOKIE as u8]); // mov [r9 + session_cookie], rax
        p.raw(&[0x83, 0xe0, 1, 0xc3]); // and eax, 1; ret
        p.count(at + 1);
        p.raw(&[0x49, 0x8b, 0x41, run_ctx::SESSION_COOKIE as u8]);
        p.add_rax(at + 2);
        p.raw(&[0x48, 0x8b, 0x47, 10 * 8]); // mov rax, [rdi + ax]
        p.add_rax(at + 3);
        p.clobber();
    });
    ProgRef { uses_run_ctx: true, ctx_read: 1 << 14 | 1 << 10, ..plain(window, code) }
}

fn words(arena: &Arena, at: u64) -> [u64; 4] {
    std::array::from_fn(|i| arena.word(at + i as u64))
}

fn recursive() {
    let mut child = Traced::start("calls");
    let site = child.addr("fact");
    let before = Snapshot::of(child.pid());
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let prog = session(&mut arena, window, 0);
    target.attach_probe(&probe(site, Kind::Session, prog)).unwrap();
    assert_eq!(child.number("fact 10"), 3628800);
    let results = 2 + 24 + 720 + 40320 + 3628800;
    assert_eq!(words(&arena, 0), [10, 5, 2 + 4 + 6 + 8 + 10, results]);
    assert_eq!(child.number("fact 1"), 1);
    assert_eq!(words(&arena, 0), [11, 5, 30, results]);
    assert_eq!(target.missed_returns().unwrap(), 0);
    assert!(target.detach().unwrap().left_mapped.is_empty());
    Snapshot::of(child.pid()).assert_same(&before);
    child.quit();
}

fn threads() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    // sum(1, ..) is odd, fact(5) has two even levels of five.
    for (i, name) in ["sum", "fact"].into_iter().enumerate() {
        let prog = session(&mut arena, window, 8 * i as u64);
        target.attach_probe(&probe(child.addr(name), Kind::Session, prog)).unwrap();
    }
    child.number("fork");
    wait_for(|| arena.word(8) >= 500);
    assert_eq!(arena.word(1), 0);
    assert!(target.detach().unwrap().left_mapped.is_empty());
    let [entries, returns, cookies, results] = words(&arena, 8);
    assert_eq!(
        (entries % 5, returns, cookies, results),
        (0, entries / 5 * 2, entries / 5 * 6, entries / 5 * 26)
    );
    child.quit();

    let mut child = Traced::start("busy");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let prog = session(&mut arena, window, 0);
    target.attach_probe(&probe(child.addr("fact"), Kind::Session, prog)).unwrap();
    child.number("threads 4");
    wait_for(|| arena.word(0) > 10_000);
    target.detach().unwrap();
    assert_eq!(child.number("wrong"), 0);
    let [_, returns, cookies, _] = words(&arena, 0);
    assert!(returns > 1000 && cookies > returns, "{returns} {cookies}");
    child.quit();
}

fn tail_calls() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    for (i, name) in ["even", "odd"].into_iter().enumerate() {
        let prog = session(&mut arena, window, 8 * i as u64);
        target.attach_probe(&probe(child.addr(name), Kind::Session, prog)).unwrap();
    }
    // even(5) odd(4) even(3) odd(2) even(1) odd(0): all of even's are suppressed.
    assert_eq!(child.number("even 5"), 0);
    assert_eq!(words(&arena, 0), [3, 0, 0, 0]);
    assert_eq!(words(&arena, 8), [3, 3, 6, 0]);
    assert_eq!(child.number("even 6"), 1);
    assert_eq!(words(&arena, 0), [7, 4, 12, 4]);
    target.detach().unwrap();
    child.quit();
}

fn longjmp() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let prog = session(&mut arena, window, 0);
    target.attach_probe(&probe(child.addr("leave"), Kind::Session, prog)).unwrap();
    assert_eq!(child.number("jumps 10000"), 10000);
    assert_eq!((arena.word(0), arena.word(1), target.missed_returns().unwrap()), (10000, 0, 0));
    target.detach().unwrap();
    child.quit();
}

fn several() {
    let mut child = Traced::start("calls");
    let site = child.addr("fact");
    let mut arena = Arena::new();
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let ret = arena.counter(100);
    let mut ids = Vec::new();
    for i in 0..7 {
        let prog = session(&mut arena, window, 8 * i);
        ids.push(target.attach_probe(&probe(site, Kind::Session, prog)).unwrap());
    }
    let more = session(&mut arena, window, 64);
    let refused = target.attach_probe(&probe(site, Kind::Session, more));
    assert!(matches!(refused, Err(Error::TooManySessions { most: 7, .. })), "{refused:?}");
    let plain = target.attach_probe(&probe(site, Kind::Return, plain(window, ret))).unwrap();
    assert_eq!(child.number("fact 4"), 24);
    assert_eq!(arena.word(100), 4);
    for i in 0..7 {
        assert_eq!(words(&arena, 8 * i), [4, 2, 6, 26], "session {i}");
    }
    target.detach_probe(ids.remove(2)).unwrap();
    target.detach_probe(plain).unwrap();
    target.attach_probe(&probe(site, Kind::Session, more)).unwrap();
    assert_eq!(child.number("fact 4"), 24);
    assert_eq!(words(&arena, 8), [8, 4, 12, 52]);
    assert_eq!(words(&arena, 16), [4, 2, 6, 26]);
    assert_eq!(words(&arena, 64), [4, 2, 6, 26]);
    assert_eq!(arena.word(100), 4);
    target.detach().unwrap();
    child.quit();
}
