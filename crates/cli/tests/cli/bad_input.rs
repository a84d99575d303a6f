//! Files, names and options that are wrong: exit code, message, and nothing on standard output.

use crate::command::{object, run};
use crate::trial;
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("missing_file", || run("run no/such.bpf.o -- true").error(2, "No such file")),
        trial("directory", || run("run examples -- true").error(2, "Is a directory")),
        trial("empty_file", empty),
        trial("endless_file", || {
            run("run /dev/zero -- true").error(2, "/dev/zero: file too large")
        }),
        trial("not_elf", || run("run Cargo.toml -- true").error(2, "not an ELF file")),
        trial("x86_elf", || run("run /bin/sh -- true").error(2, "not a BPF object")),
        trial("truncated", truncated),
        trial("big_endian", || {
            run("run filetests/object/big_endian.bpf.o -- true").error(2, "big-endian")
        }),
        trial("unknown_section", || {
            let output = run("run filetests/object/section_unknown.bpf.o -- true");
            output.error(2, "unknown section name SEC(\"kretprob/do_unlinkat\"); did you mean SEC(\"kretprobe\")");
        }),
        trial("no_programs", || {
            run(&format!("run {} -- true", object("no_progs"))).error(2, "no program to attach");
        }),
        trial("kernel_function", || {
            let output = run(&format!("run {} -- true", object("kprobe")));
            output.error(3, "kernel function 'do_unlinkat'");
            output.error(3, "--backend kernel");
        }),
        trial("kernel_options", || {
            let calls = object("calls");
            for option in ["--pin /sys/fs/bpf/no", "--btf /no", "--method link"] {
                let output = run(&format!("run {calls} {option} -- true"));
                assert_eq!(output.code, 3, "{option}: {}", output.stderr);
                assert!(output.stderr.contains("it needs --backend kernel"), "{}", output.stderr);
            }
        }),
        trial("rejected", rejected),
        trial("global_variables", globals),
        trial("event_types", event_types),
        trial("program_names", program_names),
        crate::live("attach_forms", attach_forms),
        trial("usage", usage),
        trial("errors_as_json", json),
        trial("completions", completions),
    ]
}

fn empty() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    run(&format!("run {} -- true", file.path().display())).error(2, "not an ELF file (0 bytes)");
}

fn truncated() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/malloc.bpf.o"));
    let bytes = bytes.expect("an example");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.bpf.o");
    let last = bytes.len() - 1;
    for len in [1, 4, 16, 63, 64, 65, 100, 1000, 4096, last / 2, last * 3 / 4, last - 64, last] {
        std::fs::write(&path, &bytes[..len]).expect("written");
        let output = run(&format!("run {} -- true", path.display()));
        let what = if len < 16 { "not an ELF file" } else { "the file looks cut off: " };
        output.error(2, &format!("cut.bpf.o: {what}"));
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

fn rejected() {
    let output = run(&format!("run {} -- true", object("rejected")));
    output.error(1, "program 'careless' is rejected");
    output.error(1, "R0 invalid mem access 'map_value_or_null'");
    output.error(1, "rejected.bpf.c:25");
    output.error(1, "*value += 1;");
    output.error(1, "R0 may be NULL here");
    assert!(!output.stderr.contains("processed"), "{}", output.stderr);
    let output = run(&format!("run --verbose {} -- true", object("rejected")));
    output.error(1, "call bpf_map_lookup_elem#1");
}

fn globals() {
    let run = |setting: &str| run(&format!("run {} -G {setting} -- true", object("calls")));
    run("nope=1").error(2, "no global variable 'nope' (it has: every, label, total");
    run("every=many").error(2, "'many': expected an integer");
    run("every=-1").error(2, "'-1'");
    run("every=4294967296").error(2, "'4294967296'");
    run("every").error(2, "expected NAME=VALUE");
    run("label=much_too_long").error(2, "'much_too_long'");
}

fn event_types() {
    let run = |choice: &str| run(&format!("run {} --event {choice} -- true", object("calls")));
    run("nope").error(2, "no object has a type 'nope'");
    run("nope=call").error(2, "no object has a map 'nope'");
}

fn program_names() {
    let calls = object("calls");
    run(&format!("run {calls} --prog nope -- true")).error(2, "no program 'nope' (it has: called)");
    let output = run(&format!("run {calls} -a nope=libc.so.6:getppid -- true"));
    output.error(2, "no program 'nope' (it has: called)");
    for wrong in ["called=", ""] {
        let output = run_words(&["run", &calls, "-a", wrong, "--", "true"]);
        output.error(2, "expected [PROG=]TARGET");
    }
    for wrong in ["called=getppid", "called=:getppid", "called=libc.so.6:"] {
        let output = run_words(&["run", &calls, "-a", wrong, "--", "true"]);
        output.error(2, "expected [PROG=]PATH:FUNC[+OFFSET]");
    }
    let output = run(&format!("run {} -- true", object("anywhere")));
    output.error(2, "program 'enter' (SEC(\"uprobe\")) names no function: give one with --attach enter=PATH:FUNC");
}

fn attach_forms() {
    let anywhere = object("anywhere");
    let output = run(&format!("run {anywhere} -a libc.so.6:getppid+4 -- true"));
    output.error(2, "'libc.so.6:getppid+4' is no attach target: a return probe takes no offset");
    let output = run(&format!("run {anywhere} --prog enter -a libc.so.6:getppid+-4 -- true"));
    output.error(2, "the offset is negative");
    let output = run(&format!("run {anywhere} --prog enter -a libc.so.6:0x10 -- true"));
    output.error(2, "offset 0x10 is not in its executable code");
    let output = run(&format!("run {} -a libc.so.6:getppid -- true", object("calls")));
    output.error(2, "every program's section names its function");
    let output = run(&format!("run {anywhere} --prog enter -a libc.so.6:getppid+1 -- true"));
    output.error(2, "cannot be patched: not the start of an instruction");
}

fn run_words(words: &[&str]) -> crate::command::Output {
    crate::command::Run::start(words).finish()
}

fn usage() {
    let calls = object("calls");
    run(&format!("run {calls}")).error(2, "nothing to trace: give -p PID, or a command after --");
    run(&format!("run {calls}")).error(2, "Usage: stylet run");
    run("run -- true").error(2, "<OBJECT>");
    run(&format!("run {calls} -p zero")).error(2, "invalid value 'zero' for '--pid <PID>'");
    run(&format!("run {calls} -p 0")).error(2, "invalid value '0' for '--pid <PID>'");
    run(&format!("run {calls} -d soon -- true")).error(2, "'soon' is not a time");
    run(&format!("run {calls} --events 0 -- true")).error(2, "invalid value '0'");
    run(&format!("run {calls} --backend moon -- true")).error(2, "possible values: user, kernel");
    run("inspect").error(2, "<OBJECT>");
    run("completions tcsh").error(2, "possible values: bash");
    run("trace").error(2, "unrecognized subcommand");
    assert_eq!(run("").code, 2);
    run("--version").shows(&["stylet "]);
    run("run --help").shows(&["--attach", "--allow-write", "PATH:FUNC"]);
}

fn json() {
    let output = run("run --json no/such.bpf.o -- true");
    output.expect(2, "error: no/such.bpf.o");
    let [error] = &output.json()[..] else { panic!("{}", output.stdout) };
    assert_eq!(error["type"], "error");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("No such file")), "{error}");

    let output = run(&format!("run --json {} -- true", object("rejected")));
    output.expect(1, "error: ");
    let [error] = &output.json()[..] else { panic!("{}", output.stdout) };
    assert_eq!(error["prog"], "careless");
    assert_eq!(error["rejection"]["line"], 25, "{error}");

    assert_eq!(run("inspect --json no/such.bpf.o").json()[0]["type"], "error");
}

fn completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        run(&format!("completions {shell}")).shows(&["stylet", "allow-write", "inspect"]);
    }
}
