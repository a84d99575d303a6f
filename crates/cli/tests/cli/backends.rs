//! One source of tests, two backends: the same objects, the same commands, the same assertions.

use crate::command::{Output, Run, no_tracing, object};
use crate::kernel::no_kernel;
use crate::target::Target;
use crate::trial;
use libtest_mimic::Trial;

/// What the programs have in common.
const BOTH: &str = "filetests/kernel/both.bpf.o";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("both_backends_entry", || each("entry", entry)),
        trial("both_backends_return", || each("return", returns)),
        trial("both_backends_session", || each("session", session)),
        trial("both_backends_copy_string", || each("copy_string", copy_string)),
        trial("both_backends_write", || each("write", write)),
        trial("both_backends_perf_events", || each("perf_events", perf_events)),
    ]
}

/// Runs a test on each backend that is there.
fn each(name: &str, test: fn(&str)) {
    match no_tracing() {
        Some(reason) => println!("skipped {name} on the user backend: {reason}"),
        None => test("user"),
    }
    match no_kernel() {
        Some(reason) => println!("skipped {name} on the kernel backend: {reason}"),
        None => test("kernel"),
    }
}

/// Traces a target while it does as it is told; gives what Stylet printed.
fn trace(backend: &str, file: &str, more: &[&str], asks: &[&str]) -> (Output, Vec<String>) {
    let mut target = Target::start();
    let option = target.option();
    let words = ["run", "--backend", backend, file, &option[0], &option[1]];
    let tracer = Run::start(words.into_iter().chain(more.iter().copied())).attached();
    let answers = asks.iter().map(|ask| target.ask(ask)).collect();
    let output = tracer.interrupt();
    target.assert_answers();
    target.quit();
    (output, answers)
}

fn entry(backend: &str) {
    let more = ["--prog", "enter", "--cookie", "enter=0x1234567890", "-a", "libc.so.6:getppid"];
    let (output, _) = trace(backend, BOTH, &more, &["call 5"]);
    output.shows(&["\nentries: 5\n", "\ncookie: 78187493520\n", "\nreturns: 0\n"]);
    assert_eq!(output.stdout.matches("{first: ").count(), 5, "{}", output.stdout);
}

fn returns(backend: &str) {
    let more = ["--prog", "leave", "--cookie", "7", "-a", "libc.so.6:getppid"];
    let (output, answers) = trace(backend, BOTH, &more, &["call 3"]);
    let result = format!("\nresult: {}\n", answers[0]);
    output.shows(&["\nreturns: 3\n", "\nreturn_cookie: 7\n", &result, "\nentries: 0\n"]);
}

/// Entry and return of each call by one program, which hands a word from the one to the other.
fn session(backend: &str) {
    let more = ["--prog", "session", "-a", "libc.so.6:getppid"];
    let (output, _) = trace(backend, BOTH, &more, &["call 4"]);
    output.shows(&["\nentries: 4\n", "\nreturns: 4\n"]);
}

/// A kfunc with a dynptr, from a program that may sleep: length with the NUL, and contents.
fn copy_string(backend: &str) {
    let more = ["--prog", "copies", "-a", "libc.so.6:getenv"];
    let (output, _) = trace(backend, BOTH, &more, &["env STYLET_TARGET"]);
    output.shows(&["copied: 14\n", "text: \"STYLET_TARGET\"\n"]);
    // 31 bytes of 34 fit, and a NUL.
    let (output, _) = trace(backend, BOTH, &more, &["env STYLET_0123456789abcdefghijklmnopq"]);
    output.shows(&["copied: 32\n", "text: \"STYLET_0123456789abcdefghijklmn\"\n"]);
}

fn write(backend: &str) {
    let effects = object("effects");
    let more = ["--prog", "writes", "--allow-write"];
    if backend == "kernel" {
        let words = ["run", "--backend", "kernel", &effects, "--prog", "writes", "--allow-write"];
        let output = Run::start(words.into_iter().chain(["--", "true"])).finish();
        if output.code != 0 {
            output.error(3, "the kernel withholds bpf_probe_write_user: it is locked down");
            return println!("skipped write on the kernel backend: {}", output.stderr.trim());
        }
    }
    let (output, answers) = trace(backend, &effects, &more, &["env STYLET_LIVE"]);
    output.expect(0, "warning: program 'writes' writes user memory (bpf_probe_write_user)");
    // The program makes STYLET_MARK of it.
    assert_eq!(answers, ["found"]);
}

/// Events of every kind, decoded by their types.
fn perf_events(backend: &str) {
    let (output, _) = trace(backend, &object("output"), &["--json"], &["call 1"]);
    output.expect(0, "");
    let lines = output.json();
    let of = |name: &str| {
        let is_it = |l: &&serde_json::Value| l["type"] == "event" && l["map"] == name;
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {}", output.stdout))["data"]
            .clone()
    };
    assert_eq!(of("perf")["kind"], 7);
    assert_eq!(of("ring")["number"], 1);
    let printed = lines.iter().find(|l| l["type"] == "printk");
    if let Some(printed) = printed {
        assert!(printed["text"].as_str().is_some_and(|t| t.ends_with(" called")), "{printed}");
    } else {
        assert_eq!((backend, output.stderr.contains("is not shown")), ("kernel", true));
    }
}
