//! The kernel backend from end to end: `run --backend kernel`, `list` and `inspect` of the kernel. Only processes that a
//! test has started are probed.

use crate::command::{Output, Run, object, run};
use crate::target::Target;
use crate::{kernel, trial};
use libtest_mimic::Trial;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    vec![
        kernel("kernel_events_and_maps", events_and_maps),
        kernel("kernel_output_is_that_of_the_user_backend", same_output),
        kernel("kernel_methods", methods),
        kernel("kernel_only_the_process", only_the_process),
        kernel("kernel_leaves_nothing", leaves_nothing),
        kernel("kernel_rejects", rejects),
        kernel("kernel_missing_symbol", missing_symbol),
        kernel("kernel_effects", effects),
        kernel("kernel_pins", pins),
        kernel("kernel_btf_file", btf_file),
        kernel("list_as_bpftool", list_as_bpftool),
        kernel("list_perf_events_as_bpftool", list_perf_events),
        kernel("inspect_kernel_program", inspect_program),
        kernel("inspect_kernel_map", inspect_map),
        kernel("inspect_kernel_nothing", inspect_nothing),
        trial("kernel_without_root", without_root),
    ]
}

/// Why the kernel backend can not be used here, if so.
pub fn no_kernel() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    if !Path::new("/sys/bus/event_source/devices/uprobe").exists() {
        return Some("this kernel has no uprobes for perf events".into());
    }
    let output = run("list progs --json");
    (output.code != 0).then(|| format!("no bpf(2): {}", output.stderr.trim()))
}

/// `run --backend kernel` of an object against a target.
fn trace(name: &str, target: &Target, more: &[&str]) -> Run {
    let (file, option) = (object(name), target.option());
    let words = ["run", "--backend", "kernel", &file, &option[0], &option[1]];
    Run::start(words.into_iter().chain(more.iter().copied())).attached()
}

fn events_and_maps() {
    let mut target = Target::start();
    let tracer = trace("calls", &target, &[]);
    target.ask("call 3");
    let pid = target.pid();
    let output = tracer.interrupt();
    output.expect(0, &format!("attached 1 probe to process {pid}\n"));
    output.shows(&[
        &format!("{{pid: {pid}, tid: {pid}, number: 1, label: \"call\"}}\n"),
        "number: 3,",
        &format!("\nby_pid\n  {pid}  3\n"),
        "\ntotal: 3\n",
    ]);
    target.quit();
    let output = run(&format!("run --backend kernel {} --json -- sh -c :", object("calls")));
    output.expect(0, "");
    let lines = output.json();
    let of = |kind: &str| lines.iter().filter(|l| l["type"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of("event").len(), 1, "{}", output.stdout);
    assert_eq!(of("event")[0]["data"]["label"], "call");
    assert_eq!(of("summary")[0]["events"], 1);
    assert_eq!(of("summary")[0]["programs"][0]["run_cnt"], 1);
    let map = of("map").into_iter().find(|m| m["name"] == "by_pid").expect("the map");
    assert_eq!(map["entries"][0]["value"], 1);
}

/// The same objects and the same commands: apart from process ids, both backends print the same.
fn same_output() {
    if let Some(reason) = crate::command::no_tracing() {
        return println!("skipped: {reason}");
    }
    let plain = |output: &Output| {
        let digits = |word: &str| {
            let number = word.trim_matches(|c: char| !c.is_ascii_digit());
            if number.parse::<u64>().is_ok_and(|n| n > 99) { "N" } else { word }.to_owned()
        };
        let line = |l: &str| l.split_whitespace().map(digits).collect::<Vec<_>>().join(" ");
        output.stdout.lines().map(line).collect::<Vec<_>>()
    };
    for (name, more) in [
        ("calls", ""),
        ("multi", ""),
        ("flow", ""),
        ("kinds", ""),
        ("anywhere", "-a libc.so.6:getppid"),
        ("anywhere", "--prog enter -a libc.so.6:getppid --cookie 7"),
    ] {
        let [user, kernel] = ["user", "kernel"].map(|backend| {
            let output =
                run(&format!("run --backend {backend} {} {more} -- sh -c :", object(name)));
            output.expect(0, "attached ");
            plain(&output)
        });
        assert_eq!(user, kernel, "{name} {more}");
    }
}

fn methods() {
    let calls = object("calls");
    for method in ["auto", "link", "perf", "tracefs", "called=link"] {
        let output = run(&format!("run --backend kernel --method {method} {calls} -- sh -c :"));
        output.shows(&["total: 1\n"]);
    }
    let output = run(&format!("run --backend kernel --method moon {calls} -- true"));
    output.expect(2, "'moon' is no method (auto, link, perf, tracefs)");
    let output = run(&format!("run --backend kernel --method link {} -- true", object("multi")));
    output.error(2, "an explicit method is for single kprobes, uprobes and system calls");
}

/// Another process that calls the same function is not seen.
fn only_the_process() {
    let (mut one, mut two) = (Target::start(), Target::start());
    let tracer = trace("calls", &one, &[]);
    one.ask("call 2");
    two.ask("call 5");
    tracer.interrupt().shows(&["\ntotal: 2\n", &format!("  {}  2\n", one.pid())]);
    one.quit();
    two.quit();
}

/// Ids of the kernel's objects by kind, of those that a process holds.
fn held_by(pid: i32, kind: &str) -> Vec<u64> {
    let output = run(&format!("list {kind} --json"));
    output.expect(0, "");
    let is_its = |entry: &&Value| {
        entry["pids"].as_array().is_some_and(|pids| pids.iter().any(|p| p["pid"] == pid))
    };
    let all = output.json()[0].as_array().cloned().unwrap_or_default();
    all.iter().filter(is_its).filter_map(|e| e["id"].as_u64()).collect()
}

fn leaves_nothing() {
    use rustix::process::Signal;
    let mut target = Target::start();
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let tracer = trace("calls", &target, &[]);
        target.ask("call 1");
        let pid = tracer.pid().as_raw_pid();
        let [progs, maps, links] = ["progs", "maps", "links"].map(|kind| held_by(pid, kind));
        assert_eq!((progs.len(), links.len()), (1, 1));
        assert!(maps.len() >= 3, "{maps:?}");
        tracer.signal(signal);
        tracer.finish();
        // The kernel frees them a moment after the last descriptor is closed.
        let gone = || {
            progs.iter().all(|id| run(&format!("inspect prog:{id}")).code == 2)
                && links.iter().all(|id| run(&format!("inspect link:{id}")).code == 2)
                && maps.iter().all(|id| run(&format!("inspect map:{id}")).code == 2)
        };
        assert!(crate::command::eventually(gone), "{signal:?}");
        target.assert_answers();
    }
    target.quit();
}

fn rejects() {
    let output = run(&format!("run --backend kernel {} -- true", object("rejected")));
    output.error(1, "program 'careless' is rejected by the kernel");
    output.error(1, "R0 invalid mem access 'map_value_or_null'");
    output.error(1, "rejected.bpf.c:25");
    output.error(1, "*value += 1;");
    assert!(!output.stderr.contains("processed"), "{}", output.stderr);
    let output = run(&format!("run --backend kernel --verbose {} -- true", object("rejected")));
    output.error(1, "processed ");
    let output = run(&format!("run --backend kernel --json {} -- true", object("rejected")));
    output.expect(1, "error: ");
    assert_eq!(output.json()[0]["rejection"]["line"], 25);
}

fn missing_symbol() {
    let anywhere = format!("run --backend kernel {} --prog enter", object("anywhere"));
    let output = run(&format!("{anywhere} -a libc.so.6:getppidd -- true"));
    output.error(2, "getppidd");
    output.error(2, "getppid");
    run(&format!("{anywhere} -a libnope.so.9:f -- true")).error(2, "libnope.so.9");
    run(&format!("{anywhere} -a libc.so.6:getppid -p 2147483647")).error(2, "process 2147483647");
    run(&format!("{anywhere} -- true")).error(2, "names no function");
    let output = run(&format!("run --backend kernel {} -- true", object("no_progs")));
    output.error(2, "no program to attach");
}

fn effects() {
    let effects = object("effects");
    for (prog, what) in [
        ("replaces", "replaces a function's result (bpf_override_return)"),
        ("signals", "sends signals (bpf_send_signal)"),
        ("writes", "writes user memory (bpf_probe_write_user)"),
    ] {
        let output = run(&format!("run --backend kernel {effects} --prog {prog} -- true"));
        output.error(2, what);
        output.error(2, "allow it with --allow-write");
    }
    let words = format!("run --backend kernel --allow-write {effects} --prog signals -- sh -c :");
    let output = run(&words);
    output.expect(0, "warning: program 'signals' sends signals (bpf_send_signal)");
    output.expect(0, "was ended by signal 15");
}

/// A folder of a BPF file system that is removed with what is pinned in it.
struct Pins(PathBuf);

impl Pins {
    fn new(name: &str) -> Pins {
        let folder = format!("/sys/fs/bpf/stylet-test-{name}-{}", std::process::id());
        Pins(folder.into())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn pins() {
    let mut target = Target::start();
    let pins = Pins::new("pins");
    let folder = pins.0.display().to_string();
    let tracer = trace("calls", &target, &["--pin", &folder]);
    target.ask("call 2");
    tracer.interrupt().shows(&["\ntotal: 2\n"]);
    // Still attached, and the map still counts.
    target.ask("call 3");
    let output = run(&format!("inspect {folder}/by_pid"));
    output.shows(&[&format!("  {}  5\n", target.pid())]);
    run(&format!("inspect {folder}/called")).shows(&["PERF_EVENT", &folder]);
    // The same pins again.
    let (calls, option) = (object("calls"), target.option());
    let words = ["run", "--backend", "kernel", &calls, "--pin", &folder, &option[0], &option[1]];
    let output = Run::start(words).finish();
    output.error(2, "something is pinned there already");
    drop(pins);
    target.assert_answers();
    target.quit();
}

fn btf_file() {
    let calls = object("calls");
    let vmlinux = "/sys/kernel/btf/vmlinux";
    if Path::new(vmlinux).exists() {
        let output = run(&format!("run --backend kernel --btf {vmlinux} {calls} -- sh -c :"));
        output.shows(&["total: 1\n"]);
    }
    run(&format!("run --backend kernel --btf /no/such {calls} -- true")).error(2, "/no/such: ");
    run(&format!("run --backend kernel --btf Cargo.toml {calls} -- true"))
        .error(2, "Cargo.toml: BTF");
}

/// Field by field what bpftool says of the same objects.
fn list_as_bpftool() {
    let mut target = Target::start();
    let tracer = trace("calls", &target, &[]);
    target.ask("call 1");
    let pid = tracer.pid().as_raw_pid();
    for (kind, theirs) in [("progs", "prog"), ("maps", "map"), ("links", "link")] {
        let ids = held_by(pid, kind);
        assert!(!ids.is_empty(), "{kind}");
        let output = run(&format!("list {kind} --json"));
        let ours = output.json()[0].as_array().cloned().unwrap_or_default();
        for id in ids {
            let ours = ours.iter().find(|e| e["id"] == id).expect("listed");
            let Some(theirs) = bpftool(&["-j", theirs, "show", "id", &id.to_string()]) else {
                return println!("skipped: no bpftool");
            };
            for (name, value) in theirs.as_object().expect("an object") {
                // Seconds are rounded; newer ones say more.
                if !["loaded_at", "orphaned", "metadata"].contains(&name.as_str()) {
                    assert_eq!(&ours[name], value, "{kind} {id}: {name}");
                }
            }
        }
    }
    tracer.signal(rustix::process::Signal::INT);
    tracer.finish();
    target.quit();
}

/// A program that is attached by an ioctl is held by a perf event alone, once its own descriptor is closed; both tell who has it.
fn list_perf_events() {
    for method in ["perf", "link"] {
        let target = Target::start();
        let tracer = trace("calls", &target, &["--method", method]);
        let pid = tracer.pid().as_raw_pid();
        let of_tracer = |list: &Value| -> Vec<Value> {
            let list = list.as_array().cloned().unwrap_or_default();
            list.into_iter().filter(|event| event["pid"] == pid).collect()
        };
        let ours = of_tracer(&run("list perf --json").json()[0]);
        assert_eq!(ours.len(), 1, "{method}");
        assert_eq!(ours[0]["prog_id"], held_by(pid, "progs")[0], "{method}");
        assert_eq!(ours[0]["fd_type"], "uprobe");
        run("list perf").shows(&[&format!("stylet ({pid})"), "libc.so.6"]);
        match bpftool(&["-j", "perf", "show"]) {
            // It lists the link's descriptor, too, where there is one.
            Some(theirs) => assert!(of_tracer(&theirs).contains(&ours[0]), "{theirs}\n{ours:?}"),
            None => println!("skipped: no bpftool"),
        }
        tracer.signal(rustix::process::Signal::INT);
        tracer.finish();
        target.quit();
    }
}

/// What bpftool says as JSON; `None` where there is none that works.
fn bpftool(args: &[&str]) -> Option<Value> {
    let output = Command::new("bpftool").args(args).output().ok()?;
    let value: Value = serde_json::from_slice(&output.stdout).ok()?;
    output.status.success().then_some(value)
}

fn inspect_program() {
    let target = Target::start();
    let tracer = trace("calls", &target, &[]);
    let pid = tracer.pid().as_raw_pid();
    let id = held_by(pid, "progs")[0];
    run(&format!("inspect prog:{id}")).shows(&["KPROBE", "called", &format!("stylet ({pid})")]);
    run(&format!("inspect prog:{id} --disasm")).shows(&[
        "int called(struct pt_regs *ctx):\n",
        "    2: (b7) r8 = 1\n",
        "calls.bpf.c:41:",
        "= map[id:",
    ]);
    run(&format!("inspect prog:{id} --jited")).shows(&["called:\n", "ret\n", "calls.bpf.c:"]);
    run(&format!("inspect prog:{id} --btf")).shows(&["struct pt_regs {\n"]);
    let json = &run(&format!("inspect prog:{id} --disasm --jited --json")).json()[0][0];
    assert_eq!(json["id"], id);
    assert!(json["xlated"].as_array().is_some_and(|x| x.len() > 20), "{json}");
    let code = json["insns"][0]["insns"].as_array().expect("machine code");
    assert_eq!(code.last().expect("instructions")["insn"], "ret");
    let tag = json["tag"].as_str().expect("a tag");
    run(&format!("inspect prog:tag:{tag}")).shows(&[&id.to_string()]);
    run("inspect prog:called").shows(&[&id.to_string()]);
    tracer.signal(rustix::process::Signal::INT);
    tracer.finish();
    target.quit();
}

fn inspect_map() {
    let mut target = Target::start();
    let tracer = trace("calls", &target, &[]);
    target.ask("call 4");
    let pid = tracer.pid().as_raw_pid();
    let output = run("list maps --json");
    let ids = held_by(pid, "maps");
    let all = output.json()[0].as_array().cloned().unwrap_or_default();
    let of = |name: &str| {
        let is_it = |m: &&Value| m["name"] == name && ids.contains(&m["id"].as_u64().unwrap_or(0));
        all.iter().find(is_it).expect("the map")["id"].clone()
    };
    run(&format!("inspect map:{}", of("by_pid"))).shows(&[&format!("  {}  4\n", target.pid())]);
    run(&format!("inspect map:{}", of("calls.bss"))).shows(&["total: 4"]);
    let json = &run(&format!("inspect map:{} --json", of("by_pid"))).json()[0][0];
    assert_eq!(json["elements"][0]["key"], target.pid());
    assert_eq!(json["elements"][0]["value"], 4);
    run(&format!("inspect map:{}", of("calls"))).shows(&["RINGBUF"]);
    tracer.signal(rustix::process::Signal::INT);
    tracer.finish();
    target.quit();
}

fn inspect_nothing() {
    run("inspect prog:4294967295").error(2, "the kernel holds no prog '4294967295'");
    run("inspect map:no_such_map").error(2, "the kernel holds no map 'no_such_map'");
    run("inspect prog:tag:0000000000000000").error(2, "the kernel holds no prog");
    run("inspect link:named").error(2, "links have no names");
    run("inspect map:/sys/fs/bpf/no_such_pin").error(2, "/sys/fs/bpf/no_such_pin: ");
}

/// Without rights: an error that names what would help, and exit code 3.
fn without_root() {
    let root = rustix::process::geteuid().is_root();
    let calls = object("calls");
    for words in [format!("run --backend kernel {calls} -- true"), "list".into()] {
        let output = if root {
            let Some(output) = crate::command::run_as_nobody(&words) else {
                return println!("skipped: no other user to run as");
            };
            output
        } else {
            run(&words)
        };
        // As nobody even the program may be out of reach.
        assert_eq!(output.code, 3, "{}", output.stderr);
        assert!(output.stderr.contains("needs root"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
}
