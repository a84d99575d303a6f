//! Developer tasks: `cargo xtask TASK`.

mod bench;
mod facts;
mod objects;
mod selftests;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK
  bench SUBJECT       measure: probes (cost of a probe, beside the kernel's), jit (machine code beside clang's)
  facts DIR           generate the tables of crates/catalog from the facts in DIR
  objects [--check]   build the prebuilt .bpf.o from their sources, or check them
  selftests TRUTH …   our verdicts beside those that a kernel recorded for a folder of built objects
  verdicts            what Linux releases say about filetests/verifier (verdicts --help)
  vm [TEST…]          run the kernel backend's tests on Linux releases under QEMU (vm --help)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("", &[][..]),
    };
    let result = match task {
        "bench" => bench::run(&root(), rest).map(|()| ExitCode::SUCCESS),
        "facts" => facts::run(rest).map(|()| ExitCode::SUCCESS),
        "objects" => objects::run(&root(), rest).map(|()| ExitCode::SUCCESS),
        "selftests" => selftests::run(rest).map(|()| ExitCode::SUCCESS),
        "verdicts" => vm::verdicts::run(&root(), rest),
        "vm" => vm::run(&root(), rest),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
