//! Forked children and processes that end.

use crate::arena::{Arena, plain};
use crate::basic::{probe, wait_for};
use crate::child::{Snapshot, Traced};
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::{Error, Kind, Target};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("children_inherit_and_are_detached", children),
        trial("a_killed_process_is_gone", killed),
        trial("a_stopped_process_stays_stopped", stopped),
    ]
}

fn children() {
    let mut child = Traced::start("calls");
    let (sum, fact) = (child.addr("sum"), child.addr("fact"));
    let before = Snapshot::of(child.pid());
    let mut arena = Arena::new();
    let (enter, ret, late) = (arena.counter(0), arena.counter(1), arena.counter(2));
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    target.attach_probe(&probe(fact, Kind::Return, plain(window, ret))).unwrap();
    target.attach_probe(&probe(sum, Kind::Entry, plain(window, enter))).unwrap();
    let heir = child.number("fork") as i32;
    wait_for(|| arena.word(0) > 10 && arena.word(1) > 10);
    // The child was forked before this change.
    target.attach_probe(&probe(sum, Kind::Entry, plain(window, late))).unwrap();
    child.number("sum 1");
    let report = target.detach().unwrap();
    assert_eq!((report.clean, report.left_mapped), (vec![child.pid(), heir], vec![]));
    assert_eq!(arena.word(2), 1);
    for pid in [child.pid(), heir] {
        Snapshot::of(pid).assert_same(&before);
    }
    let hits = arena.word(0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(arena.word(0), hits);
    child.quit();
}

fn killed() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    let (sum, pid) = (child.addr("sum"), child.pid());
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(pid).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    target.attach_probe(&probe(sum, Kind::Entry, plain(window, code))).unwrap();
    // SAFETY: our own child, not yet waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait_for(|| Target::attach(pid).is_err());
    let error = target.attach_probe(&probe(sum, Kind::Return, plain(window, code))).unwrap_err();
    assert!(matches!(error, Error::Gone { .. } | Error::Zombie { .. }), "{error:?}");
    assert_eq!(target.detach().unwrap().gone, [pid]);
}

/// A process stopped by job control stays stopped.
fn stopped() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    let (sum, pid) = (child.addr("sum"), child.pid());
    let state = || stylet_inject::proc::Status::of(pid).unwrap().state;
    // SAFETY: signals to our own child.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    wait_for(|| state() == 'T');
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(pid).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    target.attach_probe(&probe(sum, Kind::Entry, plain(window, code))).unwrap();
    wait_for(|| state() == 'T');
    assert_eq!(arena.word(0), 0);
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    wait_for(|| arena.word(0) > 100);
    target.detach().unwrap();
    assert_eq!(child.number("wrong"), 0);
    child.quit();
}
