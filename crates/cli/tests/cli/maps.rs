//! Maps at the end of a run: kinds, order, histograms, stacks; as text and as JSON.

use crate::command::{Output, Run, object};
use crate::live;
use crate::target::Target;
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub fn trials() -> Vec<Trial> {
    vec![live("maps_as_text", text), live("maps_as_json", as_json), live("full_maps_say_so", full)]
}

/// Looks up one name that is there and others that are not.
fn traced(more: &[&str]) -> (Output, u32) {
    let mut target = Target::start();
    let option = target.option();
    let kinds = object("kinds");
    let words = ["run", &kinds, &option[0], &option[1]];
    let tracer = Run::start(words.into_iter().chain(more.iter().copied())).attached();
    for (name, answer) in [
        ("PATH", "found"),
        ("NO", "missing"),
        ("PATH", "found"),
        ("NOT_THERE", "missing"),
        ("PATH", "found"),
    ] {
        assert_eq!(target.ask(&format!("env {name}")), answer);
    }
    let output = tracer.interrupt();
    let pid = target.pid();
    target.quit();
    output.expect(0, "attached 2 probes");
    (output, pid)
}

/// The lines below a map's name.
fn section<'a>(output: &'a Output, name: &str) -> Vec<&'a str> {
    let mut lines = output.stdout.lines();
    assert!(lines.any(|l| l == name), "no {name}: {}", output.stdout);
    lines.take_while(|l| !l.is_empty()).collect()
}

fn text() {
    let (output, pid) = traced(&[]);
    // Counts ascending.
    assert_eq!(
        section(&output, "by_name"),
        ["  {text: \"NO\"}         1", "  {text: \"NOT_THERE\"}  1", "  {text: \"PATH\"}       3"]
    );
    assert_eq!(section(&output, "by_outcome"), ["  MISSING  2", "  FOUND    3"]);
    // The least recently used of three is gone.
    let mut recent = section(&output, "recent");
    recent.sort_unstable();
    assert_eq!(recent, ["  4  {text: \"PATH\"}", "  9  {text: \"NOT_THERE\"}"]);
    // Elements of arrays that are zero are not shown.
    assert_eq!(section(&output, "totals"), ["  1  5"]);
    let bars = |counts: [(&str, u64); 3]| {
        counts.map(|(label, count)| {
            let bar = "@".repeat(count as usize * 52 / 3);
            format!("{label:<16}{count:>8} |{bar:<52}|")
        })
    };
    let expected = bars([("[2, 4)", 1), ("[4, 8)", 3), ("[8, 16)", 1)]);
    assert_eq!(section(&output, "length_hist"), expected);
    assert_eq!(section(&output, "lengths_hist"), expected);
    assert_eq!(section(&output, "by_pid")[0], format!("  {pid}"));
    assert_eq!(section(&output, "by_pid")[1..], expected);
    assert!(output.stdout.contains("last_length: 4\n"), "{}", output.stdout);
    let stacks = section(&output, "stack_count");
    assert!(stacks[0].starts_with(&format!("  {{pid: {pid}, stack_id: ")), "{stacks:?}");
    assert!(stacks[1].starts_with("      getenv+0x0 (libc.so.6)"), "{stacks:?}");
}

fn as_json() {
    let (output, pid) = traced(&["--json"]);
    let lines = output.json();
    let map = |name: &str| -> &Value {
        let found = lines.iter().find(|l| l["type"] == "map" && l["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {}", output.stdout))
    };
    assert_eq!(map("totals")["entries"], json!([{"key": 1, "value": 5}]));
    assert_eq!(map("totals")["map_type"], "array");
    assert_eq!(map("recent")["map_type"], "lru_hash");
    let outcomes = map("by_outcome")["entries"].as_array().expect("a list");
    for (key, count) in [("FOUND", 3), ("MISSING", 2)] {
        let entry = outcomes.iter().find(|e| e["key"] == key).expect("an outcome");
        let values = entry["values"].as_array().expect("values by CPU");
        assert_eq!(values.iter().filter_map(|v| v["value"].as_u64()).sum::<u64>(), count);
        assert_eq!(values[0]["cpu"], 0);
    }
    let by_pid = &map("by_pid")["entries"][0];
    assert_eq!(by_pid["key"], pid);
    assert_eq!(by_pid["value"]["slots"][2], 3);
    let stack = &map("stack_count")["entries"][0];
    assert_eq!(stack["key"]["pid"], pid);
    let frames = stack["frames"].as_array().unwrap_or_else(|| panic!("no frames: {stack}"));
    assert_eq!(frames[0], "getenv+0x0 (libc.so.6)");
    assert_eq!(lines.last().expect("a summary")["type"], "summary");
}

/// 70 names for a map that has room for 64.
fn full() {
    let mut target = Target::start();
    let option = target.option();
    let kinds = object("kinds");
    let tracer = Run::start(["run", &kinds, &option[0], &option[1]]).attached();
    for n in 0..70 {
        assert_eq!(target.ask(&format!("env N{n}")), "missing");
    }
    let output = tracer.interrupt();
    target.quit();
    let lines = section(&output, "by_name");
    assert_eq!(lines.len(), 65);
    assert_eq!(lines[64], "  (6 updates found no room)");
    assert_eq!(section(&output, "recent").len(), 2);
}
