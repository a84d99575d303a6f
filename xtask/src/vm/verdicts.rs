//! `cargo xtask verdicts`: what each release says about the cases of `filetests/verifier`, one table a release.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::image::{self, Cpio};
use super::{boot, kernels};

const USAGE: &str = "usage: cargo xtask verdicts [--bless] [RELEASE…]
  boots each release (default: 5.10 6.1 6.12 6.18 7.3) and loads every case of filetests/verifier there
  --bless  writes filetests/verifier/releases/RELEASE.tsv; without it the differences are shown";

/// The release whose BTF comes from the machine that the cases' own expectations were observed on.
const OWN: &str = "6.18";

/// Releases with a table.
const DEFAULT: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];

/// Runs the task; the error is a message.
pub fn run(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let (flags, names): (Vec<&String>, Vec<&String>) =
        args.iter().partition(|a| a.starts_with('-'));
    if flags.iter().any(|f| *f != "--bless") {
        return Err(USAGE.into());
    }
    let names: Vec<&str> = match names.is_empty() {
        true => DEFAULT.to_vec(),
        false => names.iter().map(|n| n.as_str()).collect(),
    };
    boot::find_qemu()?;
    let binary = build(root)?;
    let mut differ = false;
    for name in names {
        let kernel = kernels::get(&kernels::cache(root, None), name, false)?;
        let folder = root.join(format!("target/vm/verdicts-{name}"));
        let fail = |e| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let initramfs = folder.join("initramfs.cpio");
        std::fs::write(&initramfs, archive(root, &binary)?).map_err(fail)?;
        let run = boot::raw(&kernel, &initramfs, &folder)?;
        let results: String =
            run.results.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let Some(table) = results.strip_suffix("END\n") else {
            return Err(format!("{name}: the guest ended early ({:?}), see {folder:?}", run.ended));
        };
        let path = root.join(format!("filetests/verifier/releases/{name}.tsv"));
        let (hex, table) = table
            .strip_prefix("BTF\t")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or_else(|| format!("{name}: no BTF came, see {folder:?}"))?;
        if !flags.is_empty() && name != OWN {
            let path = root.join(format!("filetests/verifier/vmlinux-{name}.btf"));
            std::fs::write(&path, bytes(hex)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let head = format!(
            "# What Linux {} said: case, verdict, errno, message (cargo xtask verdicts).\n",
            kernel.version
        );
        differ |= settle(&path, &(head + table), !flags.is_empty())?;
    }
    Ok(ExitCode::from(u8::from(differ)))
}

/// Bytes from pairs of hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks_exact(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Writes a table, or shows how it differs from the one that is there.
fn settle(path: &Path, table: &str, bless: bool) -> Result<bool, String> {
    let fail = |e| format!("{}: {e}", path.display());
    if bless {
        std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail)?;
        std::fs::write(path, table).map_err(fail)?;
        return Ok(false);
    }
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    let (old, new) = (lines(&old), lines(table));
    old.iter().filter(|l| !new.contains(l)).for_each(|l| println!("-{l}"));
    new.iter().filter(|l| !old.contains(l)).for_each(|l| println!("+{l}"));
    Ok(old != new)
}

/// Builds the verifier's kernel test as a static program; its path.
fn build(root: &Path) -> Result<PathBuf, String> {
    let out = Command::new("cargo")
        .args(["test", "--package", "stylet-verifier", "--test", "kernel", "--no-run"])
        .args(["--message-format", "json", "--target", image::TARGET])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut messages =
        text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let path = messages.rfind(|m| m["executable"].is_string());
    let path = path.and_then(|m| Some(PathBuf::from(m["executable"].as_str()?)));
    path.ok_or_else(|| String::from_utf8_lossy(&out.stderr).into_owned())
}

/// The program as `/init`, the cases below `/cases`.
fn archive(root: &Path, binary: &Path) -> Result<Vec<u8>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let mut cpio = Cpio::default();
    for folder in ["dev", "sys", "cases"] {
        cpio.add(folder, 0o040_755, (0, 0), &[]);
    }
    cpio.add("dev/console", 0o020_600, (5, 1), &[]);
    cpio.add("init", 0o100_755, (0, 0), &read(binary)?);
    let cases = root.join("filetests/verifier");
    let mut dirs = vec![cases.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(&cases).unwrap_or(&path).display().to_string();
            if path.is_dir() {
                cpio.add(&format!("cases/{name}"), 0o040_755, (0, 0), &[]);
                dirs.push(path);
            } else if name.ends_with(".bpfasm") {
                cpio.add(&format!("cases/{name}"), 0o100_644, (0, 0), &read(&path)?);
            }
        }
    }
    Ok(cpio.finish())
}
