//! The cases of `filetests/verifier` against the kernel of this machine. Needs root and BPF: skipped
//! with a reason otherwise. `STYLET_BLESS_KERNEL=1` writes what the kernel says into the files.

mod common;

use common::kernel::{load, message, obstacle};
use common::{Case, Expect, errno_name};
use libtest_mimic::{Arguments, Failed, Trial};

fn check(path: &std::path::Path, bless: bool) -> Result<(), Failed> {
    let case = Case::load(path)?;
    let (verdict, log) = load(&case)?;
    let got = match verdict {
        Ok(()) => Expect::Accept,
        Err(e) => {
            let (message, insn) = message(&log);
            Expect::Reject { errno: errno_name(e), message, insn }
        }
    };
    if bless {
        std::fs::write(path, case.with_expect(&got)).map_err(|e| e.to_string())?;
        return Ok(());
    }
    if std::env::var_os("STYLET_KERNEL_LOG").is_some() {
        println!("{log}");
    }
    match &case.expect {
        Some(want) if *want == got => Ok(()),
        want => Err(format!("expected {want:?}\n     got {got:?}\n{log}").into()),
    }
}

fn main() {
    let args = Arguments::from_args();
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let bless = std::env::var_os("STYLET_BLESS_KERNEL").is_some();
    let trials = common::all()
        .into_iter()
        .map(|(name, path)| Trial::test(name, move || check(&path, bless)))
        .collect();
    libtest_mimic::run(&args, trials).exit();
}
