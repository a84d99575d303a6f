//! `stylet inspect`.

use crate::command::{object, run};
use crate::trial;
use libtest_mimic::Trial;
use serde_json::json;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("inspect_text", text),
        trial("inspect_json", as_json),
        trial("inspect_disasm", disasm),
        trial("inspect_jited", jited),
        trial("inspect_btf", btf),
        trial("inspect_unknown_program", || {
            let output = run(&format!("inspect {} --prog nope", object("output")));
            output.error(2, "no program 'nope' (it has: sends_perf, prints, sends_ring)");
        }),
        trial("inspect_bad_files", || {
            run("inspect no/such.bpf.o").error(2, "No such file");
            run("inspect Cargo.toml").error(2, "not an ELF file");
            run(&format!("inspect --jited {}", object("rejected"))).error(1, "'careless'");
        }),
    ]
}

fn text() {
    let output = run(&format!("inspect {}", object("calls")));
    let first = format!("{}: license \"Dual MIT/GPL\", 1 program, 4 maps, ", object("calls"));
    assert!(output.stdout.starts_with(&first), "{}", output.stdout);
    output.shows(&[
        "\nprograms\n  name    type    section                   insns\n  called  KPROBE  uprobe/libc.so.6:getppid  ",
        "\nmaps\n  name          type     key  value  max_entries  flags\n",
        "  calls         RINGBUF  0    0      65536        0x0\n",
        "  by_pid        HASH     4    8      64           0x0\n",
    ]);
    // What may not run here can be looked at.
    run(&format!("inspect {}", object("kprobe"))).shows(&["kprobe/do_unlinkat"]);
    run(&format!("inspect {}", object("no_progs"))).shows(&["0 programs, 1 map", "lonely"]);
}

fn as_json() {
    let output = run(&format!("inspect --json -d --btf {}", object("calls")));
    let [root] = &output.json()[..] else { panic!("{}", output.stdout) };
    assert_eq!(root["license"], "Dual MIT/GPL");
    let prog = &root["programs"][0];
    assert_eq!(prog["name"], "called");
    assert_eq!(prog["type"], "kprobe");
    assert_eq!(prog["section"], "uprobe/libc.so.6:getppid");
    let list = prog["xlated"].as_array().expect("instructions");
    assert_eq!(list[0]["pc"], 0);
    let lookup = list.iter().find(|i| i["disasm"] == "call bpf_map_lookup_elem#1");
    let lookup = lookup.expect("a lookup");
    assert_eq!(lookup["src"], "count = bpf_map_lookup_elem(&by_pid, &pid);");
    assert!(lookup["line"].as_str().is_some_and(|l| l.contains("calls.bpf.c:")), "{lookup}");
    assert!(root["btf"].as_str().is_some_and(|t| t.contains("struct call {")));
    assert_eq!(
        root["maps"].as_array().and_then(|m| m.iter().find(|m| m["name"] == "by_pid")),
        Some(
            &json!({"name": "by_pid", "type": "hash", "bytes_key": 4, "bytes_value": 8, "max_entries": 64, "flags": 0})
        )
    );
}

fn disasm() {
    let output = run(&format!("inspect --disasm {} --prog prints", object("output")));
    output.shows(&[
        "prints: # uprobe/libc.so.6:getppid\n",
        "; bpf_printk(\"process %d called\", (int)(bpf_get_current_pid_tgid() >> 32)); @ ",
        "    0: (85) call bpf_get_current_pid_tgid#14\n",
        "call bpf_trace_printk#6\n",
        "(95) exit\n",
    ]);
    assert!(!output.stdout.contains("sends_ring:"), "{}", output.stdout);
    let output = run(&format!("inspect -d {}", object("flow")));
    output.shows(&["map[progs]", "call bpf_tail_call#12"]);
}

fn jited() {
    let output = run(&format!("inspect --jited {}", object("multi")));
    output.shows(&["any: # ", " bytes of x86-64\n", "    0: ", "ret"]);
    let output = run(&format!("inspect --jited --json {}", object("multi")));
    let [root] = &output.json()[..] else { panic!("{}", output.stdout) };
    let prog = &root["programs"][0];
    assert!(prog["bytes_jited"].as_u64().is_some_and(|n| n > 0));
    assert_eq!(prog["jited"][0]["pc"], "0x0");
}

fn btf() {
    let output = run(&format!("inspect --btf {}", object("calls")));
    output.shows(&[
        "struct call {\n\t__u32 pid;\n\t__u32 tid;\n\t__u64 number;\n\tchar label[8];\n};\n",
    ]);
}
