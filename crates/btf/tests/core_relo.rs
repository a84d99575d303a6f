//! Relocates the objects of `filetests/core_relo` and compares with the comments in their sources, which say
//! what libbpf made of them (see `core_relo.h` there).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use object::{Object, ObjectSection, ObjectSymbol};
use stylet_btf::core_relo::{self, Outcome};
use stylet_btf::ext::{CoreRelo, LineInfo};
use stylet_btf::{Btf, Ext};
use stylet_insn::{Insn, opcode};

/// ELF section of all test programs.
const SECTION: &str = "raw_tp";

/// A compiled case.
struct Case {
    btf: Btf,
    insns: Vec<Insn>,
    relos: Vec<CoreRelo>,
    lines: Vec<LineInfo>,
    /// First slot, number of slots and name of each program.
    progs: Vec<(usize, usize, String)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/core_relo");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".bpf.c"));
        if let Some(name) = name.map(str::to_owned) {
            let dir = dir.clone();
            trials.push(Trial::test(name.clone(), move || run(&dir, &name)));
        }
    }
    assert!(!trials.is_empty(), "no cases");
    libtest_mimic::run(&args, trials).exit()
}

fn run(dir: &Path, name: &str) -> Result<(), Failed> {
    let case = Case::load(&dir.join(format!("{name}.bpf.o")))?;
    let target = section_btf(&dir.join(format!("{name}.target.o")))?;
    let source = std::fs::read_to_string(dir.join(format!("{name}.bpf.c")))?;
    let expected = expectations(&source);
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (start, len, _) in &case.progs {
        let line = case.line_of(*start).ok_or("program without a line")?;
        found.entry(line).or_default().push(case.relocate(*start, *len, &target));
    }
    let mut wrong = String::new();
    for (line, expected) in &expected {
        let found = found.remove(line).unwrap_or_default();
        for (i, expected) in expected.iter().enumerate() {
            let found = found.get(i).map_or("nothing", String::as_str);
            if !agrees(found, expected) {
                wrong += &format!("{name}.bpf.c:{line}: expected {expected}, found {found}\n");
            }
        }
    }
    for line in found.keys() {
        wrong += &format!("{name}.bpf.c:{line}: programs without expectation\n");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// libbpf gives some errors as a number only; any error answers those.
fn agrees(found: &str, expected: &str) -> bool {
    match expected.strip_prefix("error: ") {
        Some(text) if text.starts_with("failed to relocate: -E") => found.starts_with("error: "),
        Some(text) => found.starts_with("error: ") && found.contains(text),
        None => found == expected,
    }
}

/// By line, the texts in its comment: one for each program, separated by semicolons.
fn expectations(source: &str) -> BTreeMap<usize, Vec<String>> {
    let comment = |line: &str| {
        let (_, text) = line.split_once("/*~ ")?;
        Some(text.trim_end_matches("*/").trim().split("; ").map(str::to_owned).collect())
    };
    (1..).zip(source.lines()).filter_map(|(n, line)| Some((n, comment(line)?))).collect()
}

fn section_btf(path: &Path) -> Result<Btf, Failed> {
    let bytes = std::fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let section = elf.section_by_name(".BTF").ok_or("no .BTF")?;
    Ok(Btf::parse(section.data()?)?)
}

impl Case {
    fn load(path: &PathBuf) -> Result<Case, Failed> {
        let bytes = std::fs::read(path)?;
        let elf = object::File::parse(&*bytes)?;
        let btf = section_btf(path)?;
        let ext = elf.section_by_name(".BTF.ext").ok_or("no .BTF.ext")?;
        let ext = Ext::parse(ext.data()?, &btf)?;
        let code = elf.section_by_name(SECTION).ok_or("no programs")?;
        let slots = code.data()?.chunks_exact(Insn::SIZE);
        let insns =
            slots.map(|slot| slot.try_into().map(Insn::from_bytes)).collect::<Result<_, _>>()?;
        let mut progs = Vec::new();
        for symbol in elf.symbols() {
            if symbol.section_index() == Some(code.index()) && symbol.size() > 0 {
                let (start, len) = (symbol.address() as usize / 8, symbol.size() as usize / 8);
                progs.push((start, len, symbol.name()?.to_owned()));
            }
        }
        progs.sort();
        let relos = ext.core_relo.iter().filter(|s| s.name == SECTION);
        let lines = ext.line_info.iter().filter(|s| s.name == SECTION);
        Ok(Case {
            btf,
            insns,
            relos: relos.flat_map(|s| s.records.clone()).collect(),
            lines: lines.flat_map(|s| s.records.clone()).collect(),
            progs,
        })
    }

    fn line_of(&self, slot: usize) -> Option<usize> {
        let at = self.lines.iter().rfind(|l| l.insn_off as usize <= slot * Insn::SIZE)?;
        Some(at.line() as usize)
    }

    /// What the comment should say for one program.
    fn relocate(&self, start: usize, len: usize, target: &Btf) -> String {
        let mut insns = self.insns[start..start + len].to_vec();
        match core_relo::relocate(&mut insns, start, &self.relos, &self.btf, &[target]) {
            Err(error) => format!("error: {error}"),
            Ok(report) => {
                let texts: Vec<_> = report.outcomes.iter().map(|o| text(&insns, o)).collect();
                texts.join(", ")
            }
        }
    }
}

/// The patched instruction: value, and size for loads and stores.
fn text(insns: &[Insn], outcome: &Outcome) -> String {
    let kind = outcome.local.trim_start_matches('<').split('>').next().unwrap_or("");
    let insn = insns[outcome.slot];
    let call = opcode::JMP | opcode::CALL;
    if insn.code == call && insn.imm == core_relo::POISON_IMM && outcome.poison.is_some() {
        return format!("{kind} poison");
    }
    match insn.class() {
        opcode::ALU | opcode::ALU64 => format!("{kind} {}", insn.imm),
        opcode::LD => {
            let high = insns[outcome.slot + 1].imm;
            let value = i64::from(high) << 32 | i64::from(insn.imm.cast_unsigned());
            format!("{kind} {value}")
        }
        _ => format!("{kind} {}/{}", insn.off, insn.access_size()),
    }
}
