//! The verifier against `filetests/verifier`, whose expectations come from a kernel.

mod common;

use common::target::STORED;
use common::{Case, Expect, errno_name};
use libtest_mimic::{Arguments, Failed, Trial};
use stylet_btf::Btf;
use stylet_catalog::{Env, Features, Release};
use stylet_verifier::verify;

fn check(path: &std::path::Path) -> Result<(), Failed> {
    let case = Case::load(path, &STORED)?;
    let btf =
        case.btf.as_ref().map(|raw| Btf::parse(raw)).transpose().map_err(|e| e.to_string())?;
    let mut input = case.input(btf.as_ref());
    input.log_level = 2;
    let mut env = Env::kernel(Release::V6_18).with_btf(STORED.clone());
    // The kernel that was observed has no kprobes, and refuses what they may write.
    env.features.remove(Features::KPROBE_WRITE_CTX);
    let (got, log) = match verify(&env, &input) {
        Ok(_) => (Expect::Accept, String::new()),
        Err(r) => {
            let insn = match case.expect {
                Some(Expect::Reject { insn: None, .. }) => None,
                _ => Some(r.insn_idx),
            };
            (
                Expect::Reject { errno: errno_name(r.errno), message: r.message(), insn },
                r.log.to_string(),
            )
        }
    };
    let refused =
        matches!(&got, Expect::Reject { message, .. } if message.starts_with("not supported yet"));
    if case.unsupported {
        return if refused { Ok(()) } else { Err(format!("is supported now: {got:?}").into()) };
    }
    match &case.expect {
        None => Err("no expectation".into()),
        Some(want) if *want == got => Ok(()),
        Some(want) => Err(format!("expected {want:?}\n     got {got:?}\n{log}").into()),
    }
}

fn main() {
    let args = Arguments::from_args();
    let trials = common::all()
        .into_iter()
        .map(|(name, path)| Trial::test(name, move || check(&path)))
        .collect();
    libtest_mimic::run(&args, trials).exit();
}
