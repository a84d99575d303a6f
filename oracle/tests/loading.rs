//! Every `.bpf.o` of the repository loaded into this machine's kernel, by Stylet and by libbpf: programs, their instructions
//! after the verifier, functions, lines and maps must be the same, and what one cannot load the other cannot either.
//!
//! Needs root; without it the test says so and passes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use stylet_kernel::{Feature, Kernel};
use stylet_oracle::{libbpf, loading};
use stylet_uapi::ProgType;

const ROOTS: [&str; 3] = ["examples", "filetests", "bench"];

/// One object at a time: each test makes many maps.
static ONE: Mutex<()> = Mutex::new(());

fn main() {
    let args = Arguments::from_args();
    let kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(error) => return println!("skipped: {error}"),
    };
    if let Err(error) = kernel.require(Feature::ProgType(ProgType::SOCKET_FILTER)) {
        return println!("skipped: {error}");
    }
    libbpf::set_verbose(false);
    let kernel: &'static Kernel = Box::leak(Box::new(kernel));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut objects = Vec::new();
    ROOTS.iter().for_each(|folder| find(&root.join(folder), &mut objects));
    objects.sort();
    assert!(!objects.is_empty(), "no objects below {}", root.display());
    let trials = objects.into_iter().map(|path| {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        Trial::test(name, move || run(kernel, &path))
    });
    libtest_mimic::run(&args, trials.collect()).exit();
}

fn find(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, into);
        } else if path.to_string_lossy().ends_with(".bpf.o") {
            into.push(path);
        }
    }
}

fn run(kernel: &Kernel, path: &Path) -> Result<(), Failed> {
    let source = fs::read_to_string(path.with_extension("c")).unwrap_or_default();
    let marks = ["// libbpf differs: ", "// libbpf loads: "];
    let expected = source.lines().find_map(|l| marks.iter().find_map(|mark| l.strip_prefix(mark)));
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = loading::compare(kernel, path)?;
    let (progs, maps) = (outcome.progs, outcome.maps);
    println!(
        "{}: {progs} programs, {maps} maps; refused by both: {:?}",
        path.display(),
        outcome.refused
    );
    match (expected, outcome.differences.is_empty()) {
        (_, true) | (Some(_), false) => Ok(()),
        (None, false) => Err(outcome.differences.join("\n").into()),
    }
}
