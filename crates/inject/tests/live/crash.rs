//! Tracers that are killed at any moment.

use crate::arena::{Arena, plain};
use crate::basic::probe;
use crate::child::{Snapshot, Traced};
use crate::parts::MANY;
use crate::trial;
use libtest_mimic::Trial;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use stylet_inject::{Kind, Target};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("tracer_killed_at_any_time", killed),
        trial("tracer_killed_while_threads_wait", killed_waits),
    ]
}

/// The traced part's process and the function to probe, by environment; attaches and detaches until it is killed.
pub fn tracer() {
    let number =
        |name: &str| -> u64 { std::env::var(name).expect(name).parse().expect("a number") };
    let (pid, site) = (number("STYLET_PID") as i32, number("STYLET_SITE"));
    loop {
        let mut arena = Arena::new();
        let code = arena.counter(0);
        let Ok(mut target) = Target::attach(pid) else { continue };
        let Ok(window) = target.map_window(&arena.spec()) else { continue };
        if site != 0 {
            for kind in [Kind::Entry, Kind::Return] {
                let _ = target.attach_probe(&probe(site, kind, plain(window, code)));
            }
        }
        let _ = target.detach();
    }
}

/// Kinds of wait (bits as in `parts::waits`) that fail with EINTR after any stop; the tracer repairs that, unless it is killed
/// between the stop and the repair.
const FRAGILE: u64 = 1 << 2 | 1 << 4 | 1 << 7;

fn kill_tracers(child: &mut Traced, sites: &[u64]) -> usize {
    let exe = std::env::current_exe().unwrap();
    let start = Instant::now();
    let mut word = u64::from(std::process::id()) | 1;
    let mut done = 0;
    for site in sites {
        if start.elapsed() > Duration::from_secs(3) {
            break;
        }
        let mut command = Command::new(&exe);
        command.env("STYLET_TARGET", "tracer").env("STYLET_PID", child.pid().to_string());
        command.env("STYLET_SITE", site.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tracer = command.spawn().unwrap();
        word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        std::thread::sleep(Duration::from_micros(5_000 + (word >> 33) % 60_000));
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        assert_eq!(child.number("wrong") & !FRAGILE, 0);
        done += 1;
    }
    done
}

fn killed() {
    let mut child = Traced::start("busy");
    child.number("threads 2");
    let many = child.addr("many");
    let sites: Vec<u64> = (0..MANY).map(|i| many + 32 * i).collect();
    let before = Snapshot::of(child.pid());
    let done = kill_tracers(&mut child, &sites);
    assert!(done > 5);
    let rounds = child.number("rounds");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.number("rounds") > rounds, "all threads run on");
    // What the dead left can be removed, and their sites be used again.
    let mut arena = Arena::new();
    let code = arena.counter(0);
    let mut target = Target::attach(child.pid()).unwrap();
    let window = target.map_window(&arena.spec()).unwrap();
    let specs: Vec<_> =
        sites.iter().map(|&s| probe(s, Kind::Return, plain(window, code))).collect();
    assert!(target.attach_probes(&specs).unwrap().iter().all(|r| r.is_ok()));
    crate::basic::wait_for(|| arena.word(0) > 1000);
    target.detach().unwrap();
    Snapshot::of(child.pid()).assert_same_code(&before);
    assert_eq!(child.number("wrong"), 0);
    child.quit();
}

fn killed_waits() {
    let mut child = Traced::start("waits");
    kill_tracers(&mut child, &[0; 40]);
    child.quit();
}
