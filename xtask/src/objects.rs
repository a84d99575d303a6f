//! `cargo xtask objects [--check]`: builds every `*.bpf.c` under `examples/`, `filetests/` and `bench/` by the command in its
//! `// build:` line into the `.bpf.o` beside it, or checks that the committed one is what the source gives.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that hold sources with prebuilt objects.
const ROOTS: [&str; 3] = ["examples", "filetests", "bench"];

/// Builds or checks all objects; the error names every source that failed.
pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("usage: cargo xtask objects [--check]".into()),
    };
    let mut sources = Vec::new();
    for folder in ROOTS {
        find(&root.join(folder), &mut sources).map_err(|e| format!("{folder}: {e}"))?;
    }
    sources.sort();
    let scratch = std::env::temp_dir().join(format!("stylet-objects-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    let mut failed = Vec::new();
    let mut built = 0;
    for source in &sources {
        match one(root, source, &scratch, check) {
            Ok(true) => built += 1,
            Ok(false) => {}
            Err(e) => failed.push(format!("{}: {e}", source.display())),
        }
    }
    std::fs::remove_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    if failed.is_empty() {
        eprintln!(
            "{built} objects {}",
            if check { "are what their sources give" } else { "built" }
        );
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

/// Sources below `folder`, at any depth.
fn find(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, into)?;
        } else if path.to_string_lossy().ends_with(".bpf.c") {
            into.push(path);
        }
    }
    Ok(())
}

/// Builds what a source's `// build:` and `// build target:` lines say; `Ok(false)` when it has neither line nor object.
fn one(root: &Path, source: &Path, scratch: &Path, check: bool) -> Result<bool, String> {
    let text = std::fs::read_to_string(source).map_err(|e| e.to_string())?;
    let stem = source.to_string_lossy().trim_end_matches(".bpf.c").to_owned();
    let mut built = false;
    for (line, suffix) in [("// build:", ".bpf.o"), ("// build target:", ".target.o")] {
        let object = PathBuf::from(format!("{stem}{suffix}"));
        match text.lines().find_map(|l| l.trim().strip_prefix(line)) {
            Some(command) => {
                build(root, source, command, &scratch.join("object.o"))?;
                compare_or_copy(&scratch.join("object.o"), &object, check)?;
                built = true;
            }
            None if object.exists() => return Err(format!("an object without a '{line}' line")),
            None => {}
        }
    }
    Ok(built)
}

/// Runs a build line's compiler and strips the result of DWARF.
fn build(root: &Path, source: &Path, command: &str, into: &Path) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let clang = versioned(words.next().ok_or("an empty build line")?);
    // Named relative to the repository, the source is the same in BTF's line info on every machine.
    let name = source.strip_prefix(root).unwrap_or(source);
    sh(Command::new(&clang)
        .current_dir(root)
        .arg("-fdebug-compilation-dir=.")
        .args(words)
        .arg("-I/usr/include/x86_64-linux-gnu")
        .arg("-c")
        .arg(name)
        .arg("-o")
        .arg(into))?;
    sh(Command::new("llvm-strip-14").arg("-g").arg(into))
}

fn compare_or_copy(fresh: &Path, object: &Path, check: bool) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: {e}", object.display());
    if !check {
        return std::fs::copy(fresh, object).map(|_| ()).map_err(fail);
    }
    if std::fs::read(object).map_err(fail)? == std::fs::read(fresh).map_err(fail)? {
        return Ok(());
    }
    Err(format!("{} differs from what the source gives (cargo xtask objects)", object.display()))
}

/// Debian 12's plain `clang` is version 14: named so, the result does not depend on what else is installed.
fn versioned(compiler: &str) -> String {
    if compiler == "clang" { "clang-14".into() } else { compiler.into() }
}

/// Runs a command; its standard error becomes the error.
fn sh(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
