//! Processes come and go: attaching to busy ones, detaching without a trace, the death of either side.

use crate::command::{Output, Run, object, run};
use crate::live;
use crate::target::{Footprint, Target};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::io::Write;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    vec![
        live("detach_leaves_no_trace", no_trace),
        live("detach_leaves_python_alone", python),
        live("several_processes", several),
        live("a_process_by_the_id_of_a_thread", by_thread),
        live("children_of_a_fork", children),
        live("tracer_killed", tracer_killed),
        live("tracer_killed_at_any_time", killed_at_any_time),
        live("target_killed", target_killed),
        live("targets_end", targets_end),
        live("two_tracers", two_tracers),
    ]
}

fn trace(target: &Target, more: &[&str]) -> Run {
    let calls = object("calls");
    let option = target.option();
    let words = ["run", &calls].into_iter().chain(option.iter().map(String::as_str));
    Run::start(words.chain(more.iter().copied())).attached()
}

/// The sum of the counts by process.
fn counted(output: &Output) -> u64 {
    let line = output.stdout.lines().find_map(|l| l.strip_prefix("total: "));
    line.and_then(|l| l.parse().ok()).unwrap_or_else(|| panic!("{}", output.stdout))
}

fn no_trace() {
    let mut target = Target::busy();
    let before = Footprint::of(target.pid());
    for signal in [Signal::INT, Signal::TERM] {
        let mut tracer = trace(&target, &[]);
        for _ in 0..20 {
            assert!(tracer.line().starts_with(&format!("{{pid: {}", target.pid())));
        }
        assert!(Footprint::of(target.pid()).is_marked());
        tracer.signal(signal);
        let output = tracer.finish();
        assert!(counted(&output) >= 20);
        before.assert_now(target.pid());
        target.assert_answers();
    }
    target.quit();
}

fn python() {
    const SCRIPT: &str = "import os, threading, sys\n\
        stop = threading.Event()\n\
        def work():\n    while not stop.wait(0.001): os.getppid()\n\
        threads = [threading.Thread(target=work) for _ in range(4)]\n\
        [t.start() for t in threads]\n\
        for line in sys.stdin:\n    if line.strip() == 'quit': break\n    print(os.getppid(), flush=True)\n\
        stop.set()\n";
    let found = Command::new("python3").args(["-c", "print(1)"]).output();
    if !found.is_ok_and(|o| o.status.success()) {
        return println!("skipped: no python3");
    }
    let mut target = Target::of(Command::new("python3").args(["-c", SCRIPT]));
    assert_eq!(target.ask("x"), std::process::id().to_string());
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid())).expect("maps");
    if !maps.contains("libc.so.6") {
        return println!("skipped: python3 has no libc.so.6");
    }
    let before = Footprint::of(target.pid());
    let mut tracer = trace(&target, &[]);
    let threads: std::collections::BTreeSet<String> =
        (0..400).map(|_| tracer.line().split(", ").nth(1).expect("a thread").to_owned()).collect();
    assert!(threads.len() >= 4, "{threads:?}");
    tracer.interrupt().expect(0, "");
    before.assert_now(target.pid());
    assert_eq!(target.ask("x"), std::process::id().to_string());
    target.quit();
}

fn several() {
    let (mut one, mut two) = (Target::start(), Target::start());
    let option = two.option();
    // The same process named twice is one process.
    let more = [&option[0], &option[1], &option[0], &option[1]].map(String::as_str);
    let tracer = trace(&one, &more);
    one.ask("call 3");
    two.ask("call 4");
    let output = tracer.interrupt();
    output.expect(0, &format!("attached 2 probes to processes {}, {}", one.pid(), two.pid()));
    output.shows(&[&format!("  {}  3\n", one.pid()), &format!("  {}  4\n", two.pid())]);
    assert_eq!(output.stdout.matches(&format!("{{pid: {}", two.pid())).count(), 4);
    one.quit();
    two.quit();
}

fn by_thread() {
    let mut target = Target::busy();
    let threads = std::fs::read_dir(format!("/proc/{}/task", target.pid())).expect("threads");
    let ids = threads.filter_map(|t| t.ok()?.file_name().into_string().ok());
    let other = ids.filter(|id| *id != target.pid().to_string()).last().expect("a thread");
    let calls = object("calls");
    let pid = target.pid().to_string();
    let words = ["run", "-p", &other, "-p", &pid, "--events", "3", &calls];
    let output = Run::start(words).finish();
    output.expect(0, &format!("attached 1 probe to process {pid}\n"));
    target.assert_answers();
    target.quit();
}

/// A child made while probes are in place is traced, and as clean as its parent after the detach.
fn children() {
    const SCRIPT: &str = "while read x; do case $x in \
        fork) (while read y; do echo \"child $y\"; done < \"$0\"; echo \"child gone\") & ;; \
        quit) wait; exit ;; \
        *) echo \"parent $x\" ;; esac; done";
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|s| s.success()), "mkfifo");
    let mut target = Target::of(Command::new("sh").args(["-c", SCRIPT]).arg(&pipe));
    assert_eq!(target.ask("one"), "parent one");
    let before = Footprint::of(target.pid());
    let mut tracer = trace(&target, &["-a", "called=libc.so.6:write"]);
    target.tell("fork");
    let mut to_child = std::fs::OpenOptions::new().write(true).open(&pipe).expect("a pipe");
    writeln!(to_child, "two").expect("the child reads");
    assert_eq!(target.hear(), "child two");
    let line = tracer.line();
    let pid = line.strip_prefix("{pid: ").and_then(|l| l.split(',').next()).expect("a process");
    let child: u32 = pid.parse().expect("a number");
    assert_ne!(child, target.pid());
    assert_eq!(target.ask("three"), "parent three");
    assert!(tracer.line().starts_with(&format!("{{pid: {},", target.pid())));
    assert!(Footprint::of(child).is_marked());
    let output = tracer.interrupt();
    output.shows(&[&format!("  {child}  1\n"), &format!("  {}  1\n", target.pid())]);
    before.assert_now(target.pid());
    let after = Footprint::of(child);
    assert!(!after.is_marked());
    before.assert_code(&after);
    writeln!(to_child, "four").expect("the child reads");
    assert_eq!(target.hear(), "child four");
    drop(to_child);
    assert_eq!(target.hear(), "child gone");
    target.quit();
}

fn tracer_killed() {
    let mut target = Target::busy();
    let before = Footprint::of(target.pid());
    let mut tracer = trace(&target, &[]);
    tracer.line();
    tracer.signal(Signal::KILL);
    assert_eq!(tracer.finish().code, -1);
    // The probes are still in place, and harmless.
    for _ in 0..100 {
        target.assert_answers();
    }
    // A later tracer works, and takes away what the killed one left.
    let mut tracer = trace(&target, &[]);
    assert!(tracer.line().starts_with(&format!("{{pid: {}", target.pid())));
    tracer.interrupt().expect(0, "");
    before.assert_now(target.pid());
    target.assert_answers();
    target.quit();
}

/// Also before its first probe, or while it detaches.
fn killed_at_any_time() {
    let mut target = Target::busy();
    let before = Footprint::of(target.pid());
    let (calls, option) = (object("calls"), target.option());
    for n in 0..16 {
        let tracer = Run::start(["run", "-d", "30ms", &calls, &option[0], &option[1]]);
        std::thread::sleep(std::time::Duration::from_millis(6 * n));
        let _ = rustix::process::kill_process(tracer.pid(), Signal::KILL);
        tracer.finish();
        target.assert_answers();
    }
    trace(&target, &[]).interrupt().expect(0, "");
    before.assert_now(target.pid());
    target.assert_answers();
    target.quit();
}

fn target_killed() {
    let mut target = Target::start();
    let tracer = trace(&target, &[]);
    target.ask("call 25");
    target.kill();
    let output = tracer.finish();
    output.expect(0, &format!("process {} has ended", target.pid()));
    assert_eq!(output.stdout.matches("{pid: ").count(), 25);
    assert_eq!(counted(&output), 25);
    // A command of ours as well: its signal is known.
    let output = run(&format!("run {} -- sh -c kill\u{20}-9\u{20}$$", object("calls")));
    output.expect(0, "");
    let calls = object("calls");
    let output = Run::start(["run", &calls, "--", "sh", "-c", "kill -9 $$"]).finish();
    output.expect(0, "was ended by signal 9");
    assert_eq!(counted(&output), 1);
}

fn targets_end() {
    let (one, mut two) = (Target::start(), Target::start());
    let option = two.option();
    let tracer = trace(&one, &[&option[0], &option[1]]);
    one.quit();
    two.ask("call 2");
    two.quit();
    assert_eq!(counted(&tracer.finish()), 2);
    let calls = object("calls");
    let output = Run::start(["run", &calls, "--", "sh", "-c", "exit 7"]).finish();
    output.expect(0, "exited with status 7");
}

/// Two tracers of one process: at different functions both work, at the same one the second is refused; whichever ends
/// first takes away only what is its own.
fn two_tracers() {
    let mut target = Target::start();
    let before = Footprint::of(target.pid());
    let first = trace(&target, &[]);
    let second = trace(&target, &["-a", "called=libc.so.6:getenv"]);
    let calls = object("calls");
    let option = target.option();
    let third = Run::start(["run", &calls, &option[0], &option[1]]).finish();
    third.error(2, "another tracer");
    target.ask("call 3");
    target.ask("env PATH");
    assert_eq!(counted(&first.interrupt()), 3);
    target.ask("env PATH");
    target.ask("call 3");
    assert_eq!(counted(&second.interrupt()), 2);
    before.assert_now(target.pid());
    target.assert_answers();
    target.quit();
}
