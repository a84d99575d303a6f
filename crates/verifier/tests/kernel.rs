//! The cases of `filetests/verifier` against the kernel of this machine. Needs root and BPF: skipped
//! with a reason otherwise. `STYLET_BLESS_KERNEL=1` writes what the kernel says into the files, `STYLET_BLESS_BTF=1` the
//! part of its BTF that kfuncs need.

mod common;

use common::kernel::{load, message, obstacle};
use common::target;
use common::{Case, Expect, errno_name};
use libtest_mimic::{Arguments, Failed, Trial};
use stylet_btf::Btf;

fn check(path: &std::path::Path, target: &Btf, bless: bool) -> Result<(), Failed> {
    let case = Case::load(path, target)?;
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
    if std::process::id() == 1 {
        common::guest::main(common::all());
    }
    let args = Arguments::from_args();
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let bless = std::env::var_os("STYLET_BLESS_KERNEL").is_some();
    let target = match target::running() {
        Ok(btf) => std::sync::Arc::new(btf),
        Err(e) => {
            println!("skipped: the kernel's BTF: {e}");
            return;
        }
    };
    if std::env::var_os("STYLET_BLESS_BTF").is_some() {
        let bytes = target::cut(&target).expect("a part of a BTF is a BTF");
        std::fs::write(target::stored_path(), bytes).expect("the file can be written");
        return;
    }
    let trials = common::all()
        .into_iter()
        .map(|(name, path)| {
            let target = target.clone();
            Trial::test(name, move || check(&path, &target, bless))
        })
        .collect();
    libtest_mimic::run(&args, trials).exit();
}
