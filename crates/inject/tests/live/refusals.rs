//! Sites and processes that are refused, and the reason given.

use crate::arena::{Arena, plain};
use crate::basic::probe;
use crate::child::Traced;
use crate::trial;
use libtest_mimic::Trial;
use stylet_inject::{Error, Kind, Target, Unpatchable};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("unpatchable_sites", sites),
        trial("processes", processes),
        trial("seccomp", seccomp),
    ]
}

fn sites() {
    let mut child = Traced::start("calls");
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let short = child.addr("short");
    let cases = [
        (child.addr("loop"), Kind::Entry, "a branch at"),
        (short, Kind::Entry, "only 1 bytes long"),
        (child.addr("inside") + 2, Kind::Offset, "not the start of an instruction"),
        (0x1000, Kind::Entry, "not in executable"),
    ];
    for (site, kind, want) in cases {
        let error = target.attach_probe(&probe(site, kind, plain(window, code))).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
    // Another tracer's probe is there.
    let sum = child.addr("sum");
    target.attach_probe(&probe(sum, Kind::Entry, plain(window, code))).unwrap();
    let mut other = Target::attach(child.pid()).unwrap();
    let second = Arena::new();
    let window = other.map_window(&second.spec()).unwrap();
    let error = other.attach_probe(&probe(sum, Kind::Entry, plain(window, 64))).unwrap_err();
    assert!(
        matches!(error, Error::Unpatchable { why: Unpatchable::Patched { .. }, .. }),
        "{error}"
    );
    other.detach().unwrap();
    assert_eq!(child.number("sum 1"), 20);
    target.detach().unwrap();
    child.quit();
}

fn processes() {
    assert!(matches!(Target::attach(i32::MAX), Err(Error::Gone { .. })));
    let child = Traced::start("calls");
    // SAFETY: plain ptrace requests on our own child; the stop is not needed to be seized.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, child.pid(), 0, 0), 0);
        let error = Target::attach(child.pid()).unwrap_err();
        assert!(matches!(error, Error::AlreadyTraced { .. }), "{error}");
        libc::ptrace(libc::PTRACE_INTERRUPT, child.pid(), 0, 0);
        libc::waitpid(child.pid(), std::ptr::null_mut(), libc::__WALL);
        libc::ptrace(libc::PTRACE_DETACH, child.pid(), 0, 0);
    }
    Target::attach(child.pid()).unwrap();
    child.quit();
}

fn seccomp() {
    let mut child = Traced::start("calls");
    assert_eq!(child.number("filter"), 0);
    // SAFETY: no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    match Target::attach(child.pid()) {
        // The filter is suspended while we map.
        Ok(mut target) => {
            let mut arena = Arena::new();
            let code = arena.counter(0);
            let window = target.map_window(&arena.spec()).unwrap();
            let sum = child.addr("sum");
            target.attach_probe(&probe(sum, Kind::Entry, plain(window, code))).unwrap();
            child.number("sum 5");
            assert_eq!(arena.word(0), 5);
            target.detach().unwrap();
        }
        Err(error) => {
            assert!(!root && matches!(error, Error::Seccomp { mode: "filter", .. }), "{error}")
        }
    }
    let mut child = Traced::start("calls");
    assert_eq!(child.number("strict"), 0);
    let error = Target::attach(child.pid()).unwrap_err();
    assert!(matches!(error, Error::Seccomp { mode: "strict", .. }), "{error}");
}
