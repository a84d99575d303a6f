//! Runs `filetests/object/*.bpf.o`: a text of what the object parses to must equal `NAME.expect` beside it.
//!
//! The object is parsed and, when `NAME.target.bpf.o` or `vmlinux.target.bpf.o` is there, relocated against the types
//! of that file. With `STYLET_BLESS=1` the expectations are rewritten from what comes out: review the difference.

mod dump;

use std::path::{Path, PathBuf};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use stylet_btf::Btf;
use stylet_object::{Options, Spec, Target};

/// The kernel that the cases are relocated against: 6.12.0.
const KERNEL_VERSION: u32 = 0x06_0c_00;

fn main() {
    let args = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/object");
    let entries = fs::read_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable directory").path()).collect();
    paths.sort();
    let trials: Vec<Trial> = paths
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".bpf.o")?.to_string();
            (!name.ends_with(".target"))
                .then(|| Trial::test(name.clone(), move || run(&path, &name)))
        })
        .collect();
    assert!(!trials.is_empty(), "no cases in {}", dir.display());
    libtest_mimic::run(&args, trials).exit();
}

fn run(path: &Path, name: &str) -> Result<(), Failed> {
    let text = case(path, name)?;
    let expect = path.with_file_name(format!("{name}.expect"));
    if env::var_os("STYLET_BLESS").is_some() {
        return Ok(fs::write(expect, text)?);
    }
    let wanted =
        fs::read_to_string(&expect).map_err(|err| format!("{}: {err}", expect.display()))?;
    if wanted == text {
        return Ok(());
    }
    let mut diff = String::new();
    for (no, (want, got)) in wanted.lines().zip(text.lines()).enumerate() {
        if want != got {
            diff += &format!("line {}:\n  expected {want}\n  got      {got}\n", no + 1);
        }
    }
    diff +=
        &format!("{} lines expected, {} came out", wanted.lines().count(), text.lines().count());
    Err(diff.into())
}

fn case(path: &Path, name: &str) -> Result<String, Failed> {
    let bytes = fs::read(path)?;
    let spec = match Spec::parse_with(
        &bytes,
        &Options { name: &format!("{name}.bpf.o"), ..Options::default() },
    ) {
        Ok(spec) => spec,
        Err(err) => return Ok(format!("parse error: {err}\n")),
    };
    let own = path.with_file_name(format!("{name}.target.bpf.o"));
    let shared = path.with_file_name("vmlinux.target.bpf.o");
    let btf = target_types(if own.exists() { &own } else { &shared })?;
    let target = Target {
        btf: Some(&btf),
        kernel_version: KERNEL_VERSION,
        has_bpf_cookie: true,
        has_syscall_wrapper: true,
        kconfig: &|name| dump::kconfig(name),
        ksym: &|name| (name == "bpf_prog_fops").then_some(0xffff_ffff_8123_4560),
        ..Target::default()
    };
    match spec.relocate(&target) {
        Ok(relocated) => Ok(dump::spec(&relocated, Some(&btf))),
        Err(err) => Ok(dump::spec(&spec, None) + &format!("\nrelocation error: {err}\n")),
    }
}

/// The types of an object that stands for a kernel. Its functions and variables count as the kernel's.
fn target_types(path: &Path) -> Result<Btf, Failed> {
    let spec = Spec::parse(&fs::read(path)?).map_err(|err| err.to_string())?;
    spec.btf.ok_or_else(|| "the target object has no BTF".into())
}
