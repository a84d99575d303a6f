//! Live events: ring buffers, perf events, printed lines; what ends them, what is lost.

use crate::command::{ALONE, Run, object, run, stylet};
use crate::live;
use crate::target::Target;
use libtest_mimic::Trial;
use std::process::Stdio;

pub fn trials() -> Vec<Trial> {
    vec![
        live("exactly_so_many_events", exact),
        live("duration", duration),
        live("quiet", quiet),
        live("json_lines", json),
        live("perf_events", || {
            let output = run(&format!("run {} --prog sends_perf -- sh -c :", object("output")));
            output.shows(&["perf {pid: ", ", kind: 7}"]);
        }),
        live("printed_lines", printed),
        live("lost_events", lost),
        live("event_type", event_type),
        live("global_variables_are_set", globals),
        live("closed_output", closed),
        live("full_disk", full_disk),
        live("several_objects", several_objects),
    ]
}

/// Words of a run against a target, with an object of these tests.
fn words(target: &Target, text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(str::to_owned);
    ["run".to_owned()].into_iter().chain(target.option()).chain(words).collect()
}

fn exact() {
    let mut target = Target::busy();
    let output = Run::start(words(&target, &format!("{} --events 5", object("calls")))).finish();
    output.expect(0, "attached 1 probe to process");
    let events: Vec<&str> = output.stdout.lines().filter(|l| l.starts_with("{pid: ")).collect();
    assert_eq!(events.len(), 5, "{}", output.stdout);
    for (n, line) in events.iter().enumerate() {
        assert!(line.starts_with(&format!("{{pid: {}, tid: ", target.pid())), "{line}");
        assert!(line.ends_with(&format!("number: {}, label: \"call\"}}", n + 1)), "{line}");
    }
    target.assert_answers();
    target.quit();
}

fn duration() {
    let mut target = Target::start();
    let calls = object("calls");
    let output = Run::start(words(&target, &format!("{calls} --duration 200ms"))).finish();
    output.shows(&["total: 0"]);
    target.assert_answers();
    target.quit();
    // A command that is still there goes on.
    let output = run(&format!("run {calls} --duration 10ms -- sleep 0.5"));
    output.expect(0, "goes on, untraced");
}

fn quiet() {
    let output = run(&format!("run {} --quiet -- sh -c :", object("calls")));
    output.shows(&["by_pid", "total: 1"]);
    assert!(!output.stdout.contains("{pid: "), "{}", output.stdout);
}

fn json() {
    let output = run(&format!("run {} --json -- sh -c :", object("calls")));
    let lines = output.json();
    let kinds: Vec<&str> = lines.iter().filter_map(|l| l["type"].as_str()).collect();
    assert_eq!(kinds, ["event", "map", "map", "summary"], "{}", output.stdout);
    let (event, map, data, summary) = (&lines[0], &lines[1], &lines[2], &lines[3]);
    assert_eq!(event["map"], "calls");
    assert_eq!(event["data"]["number"], 1);
    assert_eq!(event["data"]["label"], "call");
    let pid = &event["data"]["pid"];
    assert_eq!(map["name"], "by_pid");
    assert_eq!(map["map_type"], "hash");
    assert_eq!(map["entries"], serde_json::json!([{"key": pid, "value": 1}]));
    assert_eq!(data["entries"][0]["value"]["total"], 1);
    assert_eq!(summary["events"], 1);
    assert_eq!(summary["lost"], serde_json::json!({}));
    assert_eq!(summary["programs"][0]["name"], "called");
}

fn printed() {
    let words = format!("run {} --prog prints", object("output"));
    let output = run(&format!("{words} -- sh -c :"));
    let line = output.lines()[0];
    let (task, text) = line.split_once(" [").expect("a CPU");
    let (comm, pid) = task.trim_start().split_once('-').expect("a thread");
    assert_eq!(comm, "sh");
    assert!(text.ends_with(&format!(": bpf_trace_printk: process {pid} called")), "{line}");
    let line = &run(&format!("{words} --json -- sh -c :")).json()[0];
    assert_eq!(line["type"], "printk");
    assert_eq!(line["prog"], "prints");
    assert_eq!(line["text"], format!("process {} called", line["pid"]));
}

/// A ring of a page overflows: events seen and lost together are the calls made.
fn lost() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut target = Target::start();
    let text = format!("{} --prog sends_ring --json", object("output"));
    let tracer = Run::start(words(&target, &text)).attached();
    target.ask("call 50000");
    let output = tracer.interrupt();
    let lines = output.json();
    let lost = lines.last().expect("a summary")["lost"]["ring"].as_u64().expect("lost events");
    let seen = lines.iter().filter(|l| l["type"] == "event").count() as u64;
    assert!(lost > 0 && seen > 0, "{lost} {seen}");
    assert_eq!(lost + seen, 50_000);
    output.expect(0, &format!("ring: {lost} events lost"));
    target.quit();
}

fn event_type() {
    let ambiguous = object("ambiguous");
    let words = format!("run {ambiguous} -- sh -c :");
    run(&words).shows(&["01 00 02 00 03 00 00 00"]);
    for choice in ["second", "struct second", "ring=second"] {
        let args = ["run", &ambiguous, "--event", choice, "--", "sh", "-c", ":"];
        Run::start(args).finish().shows(&["{low: 1, high: 2, two: 3}"]);
    }
    run(&format!("run {ambiguous} --event first -- sh -c :")).shows(&["{pid: 131073, one: 3}"]);
}

fn globals() {
    let mut target = Target::start();
    let text = format!("{} -G every=3 -G label=third", object("calls"));
    let tracer = Run::start(words(&target, &text)).attached();
    target.ask("call 7");
    let output = tracer.interrupt();
    output.shows(&["number: 3, label: \"third\"}", "number: 6, label: \"third\"}", "total: 7"]);
    assert!(!output.stdout.contains("number: 4"), "{}", output.stdout);
    target.quit();
}

/// Standard output closed early, as by `| head -1`, ends the run without a complaint.
fn closed() {
    let mut target = Target::busy();
    let mut child = stylet()
        .args(words(&target, &object("calls")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut pipe = std::io::BufReader::with_capacity(1, child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut pipe, &mut line).expect("a line");
    assert!(line.starts_with("{pid: "), "{line}");
    drop(pipe);
    let status = crate::command::wait(&mut child);
    let mut said = String::new();
    let mut pipe = child.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut pipe, &mut said).expect("text");
    assert!(status.success(), "{status} {said}");
    assert_eq!(said, format!("attached 1 probe to process {}\n", target.pid()));
    target.assert_answers();
    target.quit();
}

/// Output that can not be written for another reason is an error.
fn full_disk() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    for words in [&["run", "--quiet"][..], &["run"], &["inspect"]] {
        let mut command = stylet();
        command.args(words).arg(object("calls")).stdout(full()).stderr(Stdio::piped());
        if words[0] == "run" {
            command.args(["--", "sh", "-c", ":"]);
        }
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("error: standard output: No space left on device"), "{said}");
    }
}

/// Two objects at one function; each has maps of its own, also when it is the same object twice.
fn several_objects() {
    let mut target = Target::start();
    let (calls, output) = (object("calls"), object("output"));
    let text = format!("{calls} {output} {calls} --prog called --prog sends_perf");
    let tracer = Run::start(words(&target, &text)).attached();
    target.ask("call 2");
    let output = tracer.interrupt();
    output.shows(&["calls {pid: ", "perf {pid: "]);
    output.expect(0, "attached 3 probes to process ");
    assert_eq!(output.stdout.matches("number: 2").count(), 2, "{}", output.stdout);
    assert_eq!(output.stdout.matches("total: 2").count(), 2, "{}", output.stdout);
    target.quit();
}
