//! Runs `filetests/insn/*.bpfasm`: each line with the bytes it assembles to, or the error it gives, behind ` ; `.
//!
//! First lines that begin with `//` describe the file. `// style: log` means that the texts are a verifier log's
//! and must be printed exactly so; `// style: error` that each line alone is refused.
//! With `STYLET_BLESS=1` the expectations are rewritten from what comes out: review the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use stylet_insn::{Insn, Style, assemble, assemble_with, disasm, listing};

fn main() {
    let args = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/insn");
    let entries = fs::read_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable directory").path()).collect();
    paths.sort();
    let trials: Vec<Trial> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "bpfasm"))
        .map(|path| {
            let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
            Trial::test(name, move || run(&path))
        })
        .collect();
    assert!(!trials.is_empty(), "no cases in {}", dir.display());
    libtest_mimic::run(&args, trials).exit();
}

fn run(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let actual = match text.lines().next() {
        Some("// style: error") => errors(&text),
        Some("// style: log") => log(&text)?,
        _ => bytes(&text)?,
    };
    if actual == text {
        return Ok(());
    }
    if env::var_os("STYLET_BLESS").is_some() {
        return Ok(fs::write(path, actual)?);
    }
    let mut diff = String::new();
    for (no, (want, got)) in text.lines().zip(actual.lines()).enumerate() {
        if want != got {
            let _ = writeln!(diff, "line {}:\n  expected {want}\n  got      {got}", no + 1);
        }
    }
    Err(diff.into())
}

/// Splits a line into its statement and the expectation.
fn statement(line: &str) -> &str {
    line.split(" ; ").next().unwrap_or(line).trim_end()
}

fn hex(insns: &[Insn]) -> String {
    let bytes: Vec<String> =
        insns.iter().flat_map(|insn| insn.to_bytes()).map(|b| format!("{b:02x}")).collect();
    bytes.join(" ")
}

/// Every line with its slots; also that the disassembly assembles to the same.
fn bytes(text: &str) -> Result<String, Failed> {
    let program = assemble_with(text, &())?;
    let again = assemble(&listing(&program.insns, &()))?;
    if again != program.insns {
        return Err("the disassembly assembles to something else".into());
    }
    let mut out = String::new();
    for (no, line) in (1..).zip(text.lines()) {
        let of_line = |(insn, at): (&Insn, &u32)| (*at == no).then_some(*insn);
        let slots: Vec<Insn> =
            program.insns.iter().zip(&program.lines).filter_map(of_line).collect();
        match slots.is_empty() {
            true => writeln!(out, "{line}")?,
            false => writeln!(out, "{} ; {}", statement(line), hex(&slots))?,
        }
    }
    Ok(out)
}

/// Every line as the kernel prints it.
fn log(text: &str) -> Result<String, Failed> {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("//") {
            writeln!(out, "{line}")?;
            continue;
        }
        let insns = assemble(statement(line)).map_err(|err| format!("{line}: {err}"))?;
        let printed = disasm(&insns[0], insns.get(1)).style(Style::Log);
        writeln!(out, "{printed} ; {}", hex(&insns))?;
    }
    Ok(out)
}

/// Every line with its error.
fn errors(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let statement = statement(line);
        match assemble(statement) {
            _ if line.starts_with("//") => out.push_str(line),
            Ok(insns) => out.push_str(&format!("{statement} ; accepted: {}", hex(&insns))),
            Err(err) => out.push_str(&format!("{statement} ; {err}")),
        }
        out.push('\n');
    }
    out
}
