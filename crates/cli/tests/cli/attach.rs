//! Where programs go: functions, offsets, patterns, static and stripped programs; and what they may do.

use crate::command::{Run, object, run};
use crate::target::{Footprint, Target};
use crate::{live, tools};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        live("entry_and_return", entry_and_return),
        live("one_program_at_several_functions", several_functions),
        live("stripped_program_by_offset", stripped),
        live("static_program", statics),
        live("functions_of_a_pattern", pattern),
        live("function_that_cannot_be_probed", unpatchable),
        live("tail_calls_loops_and_callbacks", flow),
        live("writing_must_be_allowed", not_allowed),
        live("results_are_replaced", override_return),
        live("signals_are_sent", || {
            let output =
                run(&format!("run {} --prog signals --allow-write -- sh -c :", object("effects")));
            output.expect(0, "was ended by signal 15");
        }),
        live("memory_is_written", writes),
        live("usdt_markers", usdt),
    ]
}

fn entry_and_return() {
    let mut target = Target::start();
    let option = target.option();
    let anywhere = object("anywhere");
    let words = ["run", &anywhere, &option[0], &option[1], "-a", "libc.so.6:getppid"];
    let tracer = Run::start(words).attached();
    target.ask("call 3");
    let parent = format!("last_result: {}\n", std::process::id());
    tracer.interrupt().shows(&["entries: 3\n", "returns: 3\n", &parent]);
    target.assert_answers();
    target.quit();
}

/// Named twice, a program is attached twice, also at the same function.
fn several_functions() {
    let mut target = Target::start();
    let option = target.option();
    let (anywhere, at) = (object("anywhere"), |f: &str| format!("enter=libc.so.6:{f}"));
    let (once, twice) = (at("getenv"), at("getppid"));
    let words = ["run", &anywhere, &option[0], &option[1], "--prog", "enter"];
    let more = ["-a", &once, "-a", &twice, "-a", &twice];
    let tracer = Run::start(words.into_iter().chain(more)).attached();
    target.ask("call 10");
    target.ask("env PATH");
    let output = tracer.interrupt();
    output.expect(0, "attached 3 probes to process").shows(&["entries: 21\n"]);
    target.assert_answers();
    target.quit();
}

/// A program without symbols: a function goes by its offset in the file, as a number or after a plus. Its neighbours jump
/// through tables, but have bounds.
fn stripped() {
    const SOURCE: &str = "#include <stdio.h>\nextern char __executable_start;\n\
        #define TABLE(n) __attribute__((noinline)) int n(int a, char *s) { switch (a) { case 1: return puts(s);\\\n\
        case 2: return printf(\"2\"); case 3: return getchar(); case 4: return a; case 5: return putchar(a);\\\n\
        case 6: return rename(s, s); case 7: return remove(s); default: return 0; } }\n\
        TABLE(before)\n\
        __attribute__((noinline)) int probed(int a) { return printf(\"%d\\n\", a); }\n\
        TABLE(after)\n\
        int main(int argc, char **argv) { int (*volatile f)(int) = probed; before(argc + 20, 0); after(argc + 20, 0);\n\
        if (argc > 1) f(7); else printf(\"%ld\\n\", (char *)probed - &__executable_start); return 0; }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = tools::compile(folder.path(), SOURCE, &["-s"]) else {
        return println!("skipped: no compiler");
    };
    let output = std::process::Command::new(&program).output().expect("it runs");
    let offset: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("an offset");
    let program = program.display().to_string();
    for place in [format!("{offset:#x}"), format!("+{offset:#x}"), format!("{offset}")] {
        let at = format!("{program}:{place}");
        let words = ["run", &object("anywhere"), "-a", &at, "--", &program, "x"];
        let output = Run::start(words).finish();
        output.shows(&[
            "7\n",
            "entries: 1\n",
            "returns: 1\n",
            "last_argument: 7\n",
            "last_result: 2\n",
        ]);
    }
}

fn statics() {
    const SOURCE: &str = "__attribute__((noinline)) int probed(int a) { return a * 3 + 1; }\n\
        int main(void) { int (*volatile f)(int) = probed; int s = 0;\n\
        for (int i = 0; i < 10; i++) s += f(i); return s != 145; }\n";
    let folder = tempfile::tempdir().expect("a folder");
    for flags in [&["-static"][..], &["-static-pie"], &["-no-pie"], &["-pie"]] {
        let Some(program) = tools::compile(folder.path(), SOURCE, flags) else {
            println!("skipped {flags:?}: no compiler takes it");
            continue;
        };
        let program = program.display().to_string();
        let at = format!("{program}:probed");
        let words = ["run", &object("anywhere"), "-a", &at, "--", &program];
        let output = Run::start(words).finish();
        output.shows(&[
            "entries: 10\n",
            "returns: 10\n",
            "last_argument: 9\n",
            "last_result: 28\n",
        ]);
        assert!(!output.stderr.contains("status"), "{}", output.stderr);
    }
}

fn pattern() {
    let output = run(&format!("run {} --cookie any=21 -- sh -c :", object("multi")));
    // dash asks for its own and its parent's id.
    output.shows(&["hits: 2\n", "cookies: 42\n", "\nreturns: 2\n"]);
    output.shows(&["session_entries: 2\n", "session_returns: 2\n"]);
    let words: Vec<&str> = output.stderr.split_whitespace().collect();
    assert!(words[1].parse::<u32>().is_ok_and(|n| n >= 3), "{}", output.stderr);
    let multi = object("multi");
    let output = run(&format!("run {multi} --prog any -a any=libc.so.6:no_such_* -- true"));
    output.error(2, "program 'any': no function of libc.so.6 matches 'no_such_*'");
}

/// One function of a pattern that can not be patched does not stand in the way of the others.
fn unpatchable() {
    const SOURCE: &str = "#include <stdint.h>\n\
        __asm__(\".globl probed_short\\n.type probed_short,@function\\nprobed_short: nop\\n1: dec %edi\\njnz 1b\\n\"\n\
        \"mov $7,%eax\\nret\\n.size probed_short,.-probed_short\\n\");\n\
        int probed_short(int);\n\
        __attribute__((noinline)) int probed_plain(int a) { return a * 3 + 1; }\n\
        int main(void) { int (*volatile f)(int) = probed_plain; return f(2) + probed_short(3) - 14; }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = tools::compile(folder.path(), SOURCE, &[]) else {
        return println!("skipped: no compiler");
    };
    let program = program.display().to_string();
    let at = format!("any={program}:probed_*");
    let output =
        Run::start(["run", &object("multi"), "--prog", "any", "-a", &at, "--", &program]).finish();
    output.expect(0, "program 'any' at probed_short: site ");
    output.expect(0, "attached 1 probe to process").shows(&["hits: 1\n"]);
    // Alone, it is an error.
    let at = format!("any={program}:probed_s*");
    let output =
        Run::start(["run", &object("multi"), "--prog", "any", "-a", &at, "--", &program]).finish();
    output.error(2, "program 'any' at probed_short: site ");
}

fn flow() {
    run(&format!("run {} -- sh -c :", object("flow"))).shows(&[
        "looped: 45\n",
        "elements: 5\n",
        "tail_called: 1\n",
        "not_reached: 0\n",
    ]);
}

fn not_allowed() {
    for (prog, what) in [
        ("replaces", "replaces a function's result (bpf_override_return)"),
        ("signals", "sends signals (bpf_send_signal)"),
        ("writes", "writes user memory (bpf_probe_write_user)"),
    ] {
        let output = run(&format!("run {} --prog {prog} -- sh -c :", object("effects")));
        output.error(2, what);
        output.error(2, "allow it with --allow-write");
    }
}

fn override_return() {
    let mut target = Target::start();
    let before = Footprint::of(target.pid());
    let option = target.option();
    let words = ["run", &object("effects"), "--prog", "replaces", "--allow-write"];
    let words = words.into_iter().chain(option.iter().map(String::as_str));
    let tracer = Run::start(words).attached();
    assert_eq!(target.ask("call 1"), "4242");
    tracer.interrupt().expect(0, "");
    target.assert_answers();
    before.assert_now(target.pid());
    target.quit();
}

fn writes() {
    let mut target = Target::start();
    let option = target.option();
    assert_eq!(target.ask("env STYLET_TARGET"), "found");
    assert_eq!(target.ask("env STYLET_LIVE"), "missing");
    let words = ["run", &object("effects"), "--prog", "writes", "--allow-write"];
    let words = words.into_iter().chain(option.iter().map(String::as_str));
    let tracer = Run::start(words).attached();
    // The program makes STYLET_MARK of it.
    assert_eq!(target.ask("env STYLET_LIVE"), "found");
    tracer.interrupt().expect(0, "");
    assert_eq!(target.ask("env STYLET_LIVE"), "missing");
    target.quit();
}

/// A marker as sys/sdt.h makes it. The function returns the semaphore.
fn usdt() {
    const SOURCE: &str = "#include <stdio.h>\n\
        unsigned short app_mark_semaphore __attribute__((section(\".probes\")));\n\
        __asm__(\".text\\n.globl marked\\n.type marked,@function\\nmarked: push $44\\n\"\n\
        \"990: nop\\nmovzwl app_mark_semaphore(%rip),%eax\\npop %rdx\\nret\\n.size marked,.-marked\\n\"\n\
        \".pushsection .note.stapsdt,\\\"\\\",\\\"note\\\"\\n.balign 4\\n.4byte 992f-991f,994f-993f,3\\n\"\n\
        \"991: .asciz \\\"stapsdt\\\"\\n992: .balign 4\\n993: .8byte 990b,0,app_mark_semaphore\\n\"\n\
        \".asciz \\\"app\\\"\\n.asciz \\\"mark\\\"\\n.asciz \\\"-4@%edi 8@%rsi -2@$-5 8@(%rsp)\\\"\\n\"\n\
        \"994: .balign 4\\n.popsection\\n\");\n\
        int marked(int a, long b);\n\
        int main(void) { int s = 0; for (int i = 1; i <= 3; i++) s += marked(-i, i * 10000000000); \
        printf(\"semaphores %d\\n\", s); return 0; }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = tools::compile(folder.path(), SOURCE, &[]) else {
        return println!("skipped: no compiler");
    };
    let program = program.display().to_string();
    let (at, words) = (format!("{program}:app:mark"), ["run", &object("usdt"), "--cookie", "77"]);
    let output = Run::start(words.into_iter().chain(["-a", &at, "--", &program])).finish();
    output.shows(&["semaphores 3\n", "hits: 3\n", "count: 4\n", "cookie: 77\n"]);
    output.shows(&["sum: -6\n", "wide: 60000000000\n", "constant: -5\n", "stacked: 44\n"]);
    // -ENOENT of usdt.bpf.h.
    output.shows(&["missing: -2\n"]);
    let absent = format!("{program}:app:marc");
    let output = Run::start(words.into_iter().chain(["-a", &absent, "--", &program])).finish();
    output.error(2, "marc");
}
