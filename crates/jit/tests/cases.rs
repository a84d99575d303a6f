//! `filetests/jit`: one program a file, with its result, run by the interpreter, as machine code and by the kernel.
//!
//! Header lines: `// r0: N`, `// ctx: bytes` and `// ctx after: bytes` in hexadecimal (16 zeros and unchanged by default),
//! `// kernel: no (why)` where the kernel cannot be asked. Other comments say what the case is about.

mod common;
mod kernel;

use common::Case;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use stylet_insn::Insn;

struct File {
    name: String,
    insns: Vec<Insn>,
    ctx: Vec<u8>,
    r0: u64,
    ctx_after: Vec<u8>,
    in_kernel: bool,
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|b| u8::from_str_radix(b, 16).expect("bytes in hexadecimal"))
        .collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("a number"),
        None => text.parse().expect("a number"),
    }
}

impl File {
    fn read(root: &Path, path: &Path) -> File {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let header = |key: &str| {
            text.lines().find_map(|l| l.strip_prefix("// ")?.strip_prefix(key)?.strip_prefix(": "))
        };
        let name = path.strip_prefix(root).unwrap_or(path).with_extension("").display().to_string();
        let ctx = header("ctx").map_or(vec![0; 16], hex);
        File {
            insns: stylet_insn::assemble(&text).unwrap_or_else(|e| panic!("{name}: {e}")),
            r0: number(header("r0").expect("a line `// r0: N`")),
            ctx_after: header("ctx after").map_or(ctx.clone(), hex),
            in_kernel: !header("kernel").is_some_and(|k| k.starts_with("no")),
            ctx,
            name,
        }
    }

    fn check(&self, who: &str, r0: u64, ctx: &[u8]) -> Result<(), Failed> {
        if r0 != self.r0 {
            return Err(format!("{who}: r0 is {r0:#x}, expected {:#x}", self.r0).into());
        }
        if ctx != self.ctx_after {
            return Err(
                format!("{who}: ctx is {ctx:02x?}, expected {:02x?}", self.ctx_after).into()
            );
        }
        Ok(())
    }

    fn run_here(&self) -> Result<(), Failed> {
        let case = Case::new(self.insns.clone(), self.ctx.clone());
        let got = case.interp()?;
        self.check("interpreter", got.r0, &got.ctx)?;
        for cpu in common::cpus() {
            let got = case.jit(cpu)?;
            self.check("machine code", got.r0, &got.ctx)?;
        }
        Ok(())
    }

    fn run_in_kernel(&self) -> Result<(), Failed> {
        let (r0, ctx) = kernel::run(&self.insns, &self.ctx)?;
        self.check("kernel", r0, &ctx)
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("filetests/jit") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "bpfasm") {
            out.push(path);
        }
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/jit");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let refused = kernel::why_not();
    if let Some(why) = &refused {
        println!("tests against the kernel are skipped: {why}");
    }
    let mut trials = Vec::new();
    for path in paths {
        let file = Arc::new(File::read(&root, &path));
        if file.in_kernel {
            let file = file.clone();
            let name = file.name.clone();
            let trial = Trial::test(name, move || file.run_in_kernel()).with_kind("kernel");
            trials.push(trial.with_ignored_flag(refused.is_some()));
        }
        trials.push(Trial::test(file.name.clone(), move || file.run_here()));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
