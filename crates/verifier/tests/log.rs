//! The log's lines beside those of this machine's kernel, for every case: the state behind each instruction, at the
//! start of each path, and around calls. Skipped where the kernel cannot be asked.

mod common;

use common::{Case, kernel, target};
use stylet_catalog::{Env, Release};
use stylet_verifier::verify;

/// Cases whose lines must be equal, in a hundred; the others are shown with `STYLET_VERBOSE`.
const LEAST: usize = 77;

/// Lines that are the kernel's alone: how it tracked precision and liveness, and what differs from one load to another.
const CHATTER: &[&str] = &[
    "mark_precise",
    "processed ",
    "verification time",
    "stack depth",
    "func#",
    "func '",
    "SCC ",
    "frame ",
    "Live regs",
    "cur state:",
    "old state:",
    "Func#",
    "Validating ",
    "BPF program is too large",
];

/// A line of the table of live registers: `12: 01........ (bf) r1 = r0`, perhaps after the number of a loop.
fn is_live_regs(line: &str) -> bool {
    let Some((_, rest)) = line.split_once(": ") else { return false };
    rest.len() > 10
        && rest.is_char_boundary(10)
        && rest[..10].bytes().all(|b| b == b'.' || b.is_ascii_digit())
        && rest[10..].starts_with(" (")
}

/// The states that a log shows. Instructions are left out, since they name maps by address, and so is where a state
/// stands: the kernel puts it on the next line when it wrote something of its own after the instruction.
fn states(log: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in log.lines() {
        let is_liveness =
            line.starts_with('(') && (line.contains(") frame ") || line.contains(") live "));
        let is_chatter = CHATTER.iter().any(|c| line.starts_with(c));
        if line.is_empty() || is_chatter || is_liveness || is_live_regs(line) {
            continue;
        }
        let number = line.split_once(':').filter(|(n, _)| n.parse::<u32>().is_ok());
        // a state behind an instruction is set off by blanks; there are semicolons inside states
        match (number, line.split_once(" ;")) {
            (Some(_), Some((_, state))) => out.push(state.trim().to_string()),
            (Some((_, rest)), None) if !rest.starts_with(" (") => out.push(rest.trim().to_string()),
            (Some(_), None) => {}
            (None, _) => out.push(line.trim().to_string()),
        }
    }
    out
}

/// The first line that differs.
fn difference(ours: &[String], kernels: &[String]) -> Option<(String, String)> {
    let at = (0..ours.len().max(kernels.len())).find(|i| ours.get(*i) != kernels.get(*i))?;
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
    Some((line(ours), line(kernels)))
}

#[test]
fn state_lines_equal_the_kernels() {
    if let Some(why) = kernel::obstacle() {
        println!("skipped: {why}");
        return;
    }
    let btf = target::running().expect("BTF of the kernel");
    let env = Env::kernel(Release::V6_18).with_btf(btf.clone());
    let (mut equal, mut all) = (0, 0);
    for (name, path) in common::all() {
        let case = Case::load(&path, &btf).expect("a case");
        let own = case.btf.as_deref().map(|raw| stylet_btf::Btf::parse(raw).expect("its BTF"));
        let mut input = case.input(own.as_ref());
        input.log_level = 2;
        let ours = match verify(&env, &input) {
            Ok(prog) => prog.log().to_string(),
            Err(rejection) => rejection.log.to_string(),
        };
        let Ok(kernels) = kernel::log(&case) else { continue };
        all += 1;
        match difference(&states(&ours), &states(&kernels)) {
            None => equal += 1,
            Some((ours, kernels)) if std::env::var_os("STYLET_VERBOSE").is_some() => {
                println!("{name}\n  ours   {ours}\n  kernel {kernels}");
            }
            Some(_) => {}
        }
    }
    println!("{equal} of {all} cases have equal state lines");
    assert!(equal * 100 >= all * LEAST, "{equal} of {all}");
}
