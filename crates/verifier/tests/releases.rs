//! The verifier's verdict for each release on the cases of `filetests/verifier`, beside what a kernel of that release said
//! (`filetests/verifier/releases/RELEASE.tsv`, written by `cargo xtask verdicts --bless`). Verdict and errno must be equal; wording moved between
//! releases and is compared with 6.18 only. Known differences are listed in `releases/depends.tsv`, each with its cause.

mod common;

use common::{Case, errno_name};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use stylet_btf::Btf;
use stylet_catalog::{Env, Release};
use stylet_verifier::{RejectionKind, verify};

/// What we say: the verdict, its errno and message. `None` when this verifier does not know.
fn ours(case: &Case, target: &Btf, release: Release) -> Result<Option<(String, String)>, Failed> {
    let btf =
        case.btf.as_ref().map(|raw| Btf::parse(raw)).transpose().map_err(|e| e.to_string())?;
    let env = Env::kernel(release).with_btf(target.clone());
    Ok(match verify(&env, &case.input(btf.as_ref())) {
        Ok(_) => Some(("accept".into(), String::new())),
        Err(r) if matches!(r.kind, RejectionKind::NotSupportedYet { .. }) => None,
        Err(r) => Some((format!("reject {}", errno_name(r.errno)), r.message())),
    })
}

fn check(
    path: &Path,
    row: &[String],
    target: &Btf,
    release: Release,
    depends: Option<&String>,
) -> Result<(), Failed> {
    // A case that calls a kfunc can be asked only where the release's BTF tells them.
    let Ok(case) = Case::load(path, target) else { return Ok(()) };
    let Some((got, message)) = ours(&case, target, release)? else { return Ok(()) };
    let want = row[..row.len().min(2)].join(" ");
    match (want == got, depends) {
        (true, None) => Ok(()),
        (false, Some(_)) => Ok(()),
        (true, Some(cause)) => Err(format!("agrees now, though it is listed: {cause}").into()),
        (false, None) => Err(format!("the kernel: {row:?}\nwe: {got} {message}").into()),
    }
}

/// The lines of a table, split.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(common::root().join("releases").join(name));
    let text = text.unwrap_or_default();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.map(|l| l.split('\t').map(String::from).collect()).collect()
}

fn main() {
    let args = Arguments::from_args();
    let paths: HashMap<String, _> = common::all().into_iter().collect();
    let depends: HashMap<(String, String), String> = table("depends.tsv")
        .into_iter()
        .filter_map(|row| Some(((row.first()?.clone(), row.get(1)?.clone()), row.get(2)?.clone())))
        .collect();
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(common::root().join("releases")).into_iter().flatten().flatten()
    {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(release) = file.strip_suffix(".tsv").and_then(|r| r.parse::<Release>().ok())
        else {
            continue;
        };
        let raw = std::fs::read(common::target::path_of(&release.to_string()));
        let btf = raw.map_or_else(|_| Btf::default(), |raw| Btf::parse(&raw).expect("a BTF"));
        let target = Arc::new(btf);
        for row in table(&file) {
            let [name, row @ ..] = row.as_slice() else { continue };
            let (Some(path), true) = (paths.get(name).cloned(), row[0] != "none") else { continue };
            let cause = depends.get(&(release.to_string(), name.clone())).cloned();
            let (row, target) = (row.to_vec(), target.clone());
            trials.push(Trial::test(format!("{release}/{name}"), move || {
                check(&path, &row, &target, release, cause.as_ref())
            }));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}
