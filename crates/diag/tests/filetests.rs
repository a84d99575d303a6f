//! Runs filetests/diag/*.case: a finding, the program it is about, and the report as text.
//!
//! A case has three parts, separated by lines of `---`: `key: value` lines (see [`Case::key`]),
//! the program in assembly, and the expected text. With `STYLET_BLESS=1` the expectations are
//! rewritten from what comes out: review the difference.

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use stylet_btf::{Btf, BtfBuilder};
use stylet_catalog::{Env, Release};
use stylet_diag::{Finding, explain};
use stylet_insn::{Insn, assemble};
use stylet_uapi::{AttachType, ProgType};
use stylet_verifier::{LineInfo, PathStep, ProgInput};

fn main() {
    let args = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/diag");
    let entries = std::fs::read_dir(&dir).expect("filetests/diag");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "case"));
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", dir.display());
    let trial = |file: PathBuf| {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        Trial::test(name, move || check(&file))
    };
    libtest_mimic::run(&args, files.into_iter().map(trial).collect()).exit();
}

fn check(file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    let mut parts = text.splitn(3, "---\n");
    let (head, asm) = (parts.next().unwrap_or(""), parts.next().ok_or("no program")?);
    let expected = parts.next().unwrap_or("");
    let got = report(head, asm)?;
    if std::env::var_os("STYLET_BLESS").is_some() {
        std::fs::write(file, format!("{head}---\n{asm}---\n{got}"))?;
    } else if got != expected {
        return Err(format!("expected:\n{expected}\ngot:\n{got}").into());
    }
    Ok(())
}

fn report(head: &str, asm: &str) -> Result<String, Failed> {
    let case = Case::parse(head)?;
    let insns: Vec<Insn> = assemble(asm).map_err(|e| format!("{e}"))?;
    let input = ProgInput {
        name: "prog",
        prog_type: case.prog_type,
        expected_attach_type: case.attach_type,
        license: &case.license,
        insns: &insns,
        btf: Some(&case.btf),
        line_info: &case.lines,
        ..ProgInput::default()
    };
    let report = explain(&case.env, &input, &case.finding);
    if case.json {
        return Ok(serde_json::to_string_pretty(&report)? + "\n");
    }
    Ok(report.render(false) + "\n")
}

struct Case {
    env: Env,
    prog_type: ProgType,
    attach_type: AttachType,
    license: String,
    finding: Finding,
    btf: Btf,
    lines: Vec<LineInfo>,
    json: bool,
}

impl Case {
    fn parse(head: &str) -> Result<Case, Failed> {
        let mut strings = BtfBuilder::new();
        let mut case = Case {
            env: Env::kernel(Release::V6_18),
            prog_type: ProgType::KPROBE,
            attach_type: AttachType(0),
            license: "GPL".into(),
            finding: Finding::from_kernel_log(22, ""),
            btf: Btf::default(),
            lines: Vec::new(),
            json: false,
        };
        for line in head.lines().filter(|l| !l.starts_with(';') && !l.is_empty()) {
            let (key, value) = line.split_once(": ").ok_or(format!("no `key: value`: {line}"))?;
            case.key(key, value, &mut strings)?;
        }
        case.btf = strings.build().map_err(|e| format!("{e:?}"))?;
        Ok(case)
    }

    fn key(&mut self, key: &str, value: &str, strings: &mut BtfBuilder) -> Result<(), Failed> {
        match key {
            "type" => self.prog_type = ProgType::from_name(value).ok_or("no such program type")?,
            "attach" => {
                self.attach_type = AttachType::from_name(value).ok_or("no such attach type")?
            }
            "target" if value == "user" => self.env = Env::user(&[1, 2, 3], &[]),
            "target" => self.env = Env::kernel(value.parse::<Release>()?),
            "license" => self.license = value.trim_matches('"').into(),
            "errno" => self.finding.errno = value.parse()?,
            "insn" => self.finding.insn_idx = value.parse()?,
            "message" => self.finding.message = value.into(),
            "format" => self.json = value == "json",
            "line" => self.lines.push(line_info(value, strings)?),
            "path" => {
                let steps: Result<Vec<PathStep>, Failed> = value.split(", ").map(step).collect();
                self.finding.path = steps?;
            }
            _ => return Err(format!("unknown key {key}").into()),
        }
        Ok(())
    }
}

/// `3 a.bpf.c:4:9 return *p;`: slot, file, line, column, the line's text.
fn line_info(value: &str, strings: &mut BtfBuilder) -> Result<LineInfo, Failed> {
    let mut words = value.splitn(3, ' ');
    let insn_idx = words.next().unwrap_or("").parse()?;
    let mut place = words.next().ok_or("no place")?.split(':');
    let file = place.next().unwrap_or("");
    let (line, col) =
        (place.next().ok_or("no line")?.parse()?, place.next().ok_or("no column")?.parse()?);
    let source = words.next().unwrap_or("");
    let (file_name_off, line_off) = (strings.add_str(file), strings.add_str(source));
    Ok(LineInfo { insn_idx, file_name_off, line_off, line, col })
}

/// `3 taken`, `3 not`, `4 call 9`, `12 return 5`.
fn step(text: &str) -> Result<PathStep, Failed> {
    let words: Vec<&str> = text.split(' ').collect();
    let insn_idx = words[0].parse()?;
    let target = || words.get(2).ok_or("no target")?.parse::<u32>().map_err(Failed::from);
    Ok(match words.get(1).copied() {
        Some("taken") => PathStep::Branch { insn_idx, taken: true },
        Some("not") => PathStep::Branch { insn_idx, taken: false },
        Some("call") => PathStep::Call { insn_idx, target: target()? },
        Some("return") => PathStep::Return { insn_idx, target: target()? },
        _ => return Err(format!("no step: {text}").into()),
    })
}
