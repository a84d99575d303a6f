//! Processes and functions that can not be traced, and what becomes of the command that was to be started.

use crate::command::{Run, object, run, stylet};
use crate::target::Target;
use crate::{live, tools, trial};
use libtest_mimic::Trial;
use rustix::process::geteuid;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dead_pid", || {
            run(&format!("run {} -p 2147483647", object("calls")))
                .error(2, "no process 2147483647");
        }),
        trial("ended_pid", ended),
        trial("itself", itself),
        trial("no_permission", no_permission),
        trial("program_32bit", program_32bit),
        trial("command_not_found", not_found),
        live("absent_symbol", absent_symbol),
        live("absent_library", || {
            let calls = object("calls");
            let output = run(&format!("run {calls} -a called=libnope.so.7:f -- true"));
            output.error(2, "no file `libnope.so.7`");
        }),
        live("failed_attach_runs_nothing", failed_attach),
    ]
}

fn ended() {
    let mut child = Command::new("true").stdin(Stdio::null()).spawn().expect("true starts");
    let pid = child.id();
    // Not collected yet: what is left of it is a zombie.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let output = run(&format!("run {} -p {pid}", object("calls")));
    output.error(2, &pid.to_string());
    child.wait().expect("it can be waited for");
}

fn itself() {
    let script = "exec \"$0\" run \"$1\" -p $$";
    let mut command = Command::new("sh");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command.args(["-c", script, env!("CARGO_BIN_EXE_stylet"), &object("calls")]);
    Run::of(&mut command).finish().error(2, "is the tracer itself");
}

fn no_permission() {
    let calls = object("calls");
    if !geteuid().is_root() {
        if std::fs::metadata("/proc/1/exe").is_ok() {
            println!("skipped: process 1 belongs to this user");
            return;
        }
        let output = run(&format!("run {calls} -p 1"));
        return output.error(3, "no permission to trace process 1");
    }
    // As a user who may read the command, but has no rights over a process of root's.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("readable");
    let program = folder.path().join("stylet");
    std::fs::copy(env!("CARGO_BIN_EXE_stylet"), &program).expect("copied");
    let file = folder.path().join("calls.bpf.o");
    std::fs::copy(format!("{}/../../{calls}", env!("CARGO_MANIFEST_DIR")), &file).expect("copied");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("readable");
    let mut target = Target::start();
    let mut command = Command::new(&program);
    command.current_dir("/").uid(65534).gid(65534);
    let output = Run::of(command.arg("run").arg(&file).args(target.option())).finish();
    output.error(3, &format!("no permission to trace process {}", target.pid()));
    output.error(3, "it belongs to uid 0, you are uid 65534");
    output.error(3, "CAP_SYS_PTRACE");
    target.assert_answers();
    target.quit();
}

fn program_32bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = tools::program_32bit(folder.path());
    let calls = object("calls");
    let mut child = match Command::new(&path).stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(e) => return println!("skipped: this kernel runs no 32-bit programs ({e})"),
    };
    let output = run(&format!("run {calls} -p {}", child.id()));
    let alive = child.try_wait().expect("it can be waited for").is_none();
    child.kill().expect("it runs");
    child.wait().expect("it can be waited for");
    output.error(2, "a 32-bit x86 executable; only x86-64 programs can be traced");
    assert!(alive, "the 32-bit program ended");
    let output = run(&format!("run {calls} -- {}", path.display()));
    output.error(2, "a 32-bit x86 executable");
}

fn not_found() {
    // execvp says "permission denied" when it may not look into one of the folders.
    let run = |name: &str| {
        let words = ["run", &object("calls"), "--", name];
        Run::of(stylet().args(words).env("PATH", "/usr/bin:/bin")).finish()
    };
    run("no-such-command").error(2, "cannot start no-such-command: No such file");
    run("/etc/passwd").error(2, "cannot start /etc/passwd: Permission denied");
}

fn absent_symbol() {
    let output = run(&format!("run {} -- true", object("absent")));
    output.error(2, "no function `getppidd`; similar: getppid");
}

/// A command whose probes can not be attached does not run.
fn failed_attach() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    let mut command = stylet();
    command.args(["run", &object("absent"), "--", "touch"]).arg(&mark);
    Run::of(&mut command).finish().error(2, "no function");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!mark.exists(), "the command ran");
}
