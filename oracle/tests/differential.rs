//! Every `.bpf.o` of the repository, by Stylet and by libbpf: maps, programs, instructions and lines must be equal.
//!
//! A source with a line `// libbpf differs: why` is one where they must not agree, one with `// libbpf needs: what` is left
//! out. Needs root (maps are created) and the
//! kernel's BTF; without them the test says so and passes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use stylet_oracle::{Host, compare, libbpf};

const ROOTS: [&str; 3] = ["examples", "filetests", "bench"];

fn main() {
    let args = Arguments::from_args();
    // SAFETY: takes and changes nothing.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: libbpf creates maps, which needs root");
        return;
    }
    let host = match Host::new() {
        Ok(host) => Arc::new(Mutex::new(host)),
        Err(err) => {
            println!("skipped: {err}");
            return;
        }
    };
    libbpf::set_verbose(false);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut objects = Vec::new();
    ROOTS.iter().for_each(|folder| find(&root.join(folder), &mut objects));
    objects.sort();
    assert!(!objects.is_empty(), "no objects below {}", root.display());
    let trials = objects.into_iter().map(|path| {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let host = Arc::clone(&host);
        Trial::test(name, move || run(&host, &path))
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

fn run(host: &Mutex<Host>, path: &Path) -> Result<(), Failed> {
    let source = fs::read_to_string(path.with_extension("c")).unwrap_or_default();
    let differs = source.lines().find_map(|line| line.strip_prefix("// libbpf differs: "));
    if let Some(what) = source.lines().find_map(|line| line.strip_prefix("// libbpf needs: ")) {
        println!("skipped {}: libbpf makes its maps, and needs {what}", path.display());
        return Ok(());
    }
    // One at a time: descriptors are told apart by number.
    let host = host.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let outcome = compare(&host, path)?;
    match (differs, outcome.differences.is_empty()) {
        (None, true) | (Some(_), false) => Ok(()),
        (None, false) => Err(outcome.differences.join("\n").into()),
        (Some(why), true) => {
            Err(format!("both agree, although the source says that libbpf {why}").into())
        }
    }
}
