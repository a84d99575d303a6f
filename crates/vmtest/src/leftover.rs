//! What a test has left in the kernel after its processes ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Files of tracefs with one event a line.
const EVENTS: [&str; 2] =
    ["/sys/kernel/tracing/kprobe_events", "/sys/kernel/tracing/uprobe_events"];

/// Where pins are.
const PINS: &str = "/sys/fs/bpf";

/// Objects that have ids: what they are called, and the command that gives the next id (`BPF_{PROG,MAP,LINK}_GET_NEXT_ID`).
const IDS: [(&str, libc::c_long); 3] = [("program", 11), ("map", 12), ("link", 31)];

/// How long the kernel may take to free what has no owner any more (it waits for grace periods).
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that is there: tracefs events, pins, programs, maps, links.
pub fn all() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in EVENTS {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        found.extend(text.lines().map(|line| format!("event {line}")));
    }
    pins(Path::new(PINS), &mut found);
    for (kind, command) in IDS {
        let mut id = 0_u32;
        while let Some(next) = next_id(command, id) {
            found.insert(format!("{kind} {next}"));
            id = next;
        }
    }
    found
}

/// What is there now and was not `before`.
pub fn since(before: &BTreeSet<String>) -> Vec<String> {
    all().difference(before).cloned().collect()
}

/// What is there now and was not `before`; waits a while for it to go.
pub fn wait(before: &BTreeSet<String>) -> Vec<String> {
    let start = Instant::now();
    loop {
        let left = since(before);
        if left.is_empty() || start.elapsed() > PATIENCE {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what can be removed, so that the next test starts clean.
pub fn remove(before: &BTreeSet<String>) {
    for file in EVENTS {
        // Opening for writing, truncated, removes all events.
        let _ = std::fs::write(file, "");
    }
    // Backwards: what is in a folder comes before the folder.
    for left in all().iter().rev().filter(|left| !before.contains(*left)) {
        if let Some(pin) = left.strip_prefix("pin ") {
            let _ = std::fs::remove_file(pin).or_else(|_| std::fs::remove_dir(pin));
        }
    }
}

/// Files and folders below `folder`.
fn pins(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(format!("pin {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pins(&entry.path(), found);
        }
    }
}

/// The id after `id`.
fn next_id(command: libc::c_long, id: u32) -> Option<u32> {
    let mut attr = [id, 0, 0];
    // SAFETY: the attributes are as long as said; the kernel writes the second word.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(&attr)) };
    (result == 0).then_some(attr[1])
}
