//! Cases of `filetests/verifier`: one program a file, its expectation beside the instruction.
//!
//! Header lines: `// prog: TYPE [attach=N] [sleepable] [license=TEXT] [target=NAME]` (what a program of the BTF kinds
//! attaches to: a tracepoint, an iterator, a hook, otherwise a function; `#ID` is an id),
//! `// map: NAME TYPE key=4 value=8 max=1 [flags=0x80] [inner=NAME] [type=STRUCT] [frozen="text"]`,
//! `// btf: [global=LABEL,…]`, `// func: LABEL …` (see [`funcs`]), or `// struct: NAME …` (see [`types`]).
//! Expectation: `// expect: accept` anywhere, or `// expect: reject ERRNO "message"` at the end of
//! the line of the instruction to blame (in the header when there is none).
#![allow(dead_code)]

pub mod btf;
pub mod funcs;
pub mod guest;
pub mod kernel;
pub mod target;
pub mod types;

use std::path::{Path, PathBuf};

use funcs::FuncLine;
use types::Types;

use stylet_btf::{Btf, Kind};
use stylet_insn::{Insn, Symbols, assemble_with};
use stylet_uapi::{AttachType, MapType, ProgType, errno};
use stylet_verifier::{FuncInfo, MapDef, ProgInput};

/// What is expected of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    Accept,
    Reject { errno: String, message: String, insn: Option<u32> },
}

/// One case.
#[derive(Default)]
pub struct Case {
    pub path: PathBuf,
    pub text: String,
    pub prog_type: ProgType,
    pub attach: u32,
    pub sleepable: bool,
    pub license: String,
    /// What it attaches to, as written, and its BTF id.
    pub target: String,
    pub attach_btf_id: u32,
    pub maps: Vec<MapDef>,
    pub inner_of: Vec<Option<usize>>,
    pub insns: Vec<Insn>,
    pub lines: Vec<u32>,
    pub btf: Option<Vec<u8>>,
    pub funcs: Vec<FuncInfo>,
    pub expect: Option<Expect>,
    /// `// not supported yet`: this verifier refuses, whatever the kernel says.
    pub unsupported: bool,
}

struct Names<'a> {
    maps: &'a [MapDef],
    target: &'a Btf,
}

impl Symbols for Names<'_> {
    fn kfunc(&self, name: &str) -> Option<(i32, i16)> {
        let id = self.target.find_by_name_kind(name, Kind::Func)?;
        Some((id as i32, 0))
    }

    fn map(&self, name: &str) -> Option<i32> {
        self.maps.iter().position(|m| m.name == name).map(|i| i as i32)
    }
}

/// Where the cases are.
pub fn root() -> PathBuf {
    if std::process::id() == 1 {
        return guest::CASES.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/verifier")
}

/// Every case, by path below the root.
pub fn all() -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "bpfasm") {
                let name = path.strip_prefix(root()).expect("below the root").with_extension("");
                out.push((name.display().to_string(), path));
            }
        }
    }
    out.sort();
    out
}

/// Splits an expectation off a line.
pub fn split_expect(line: &str) -> (&str, Option<&str>) {
    match line.find("// expect:") {
        Some(at) => (&line[..at], Some(line[at + 10..].trim())),
        None => (line, None),
    }
}

impl Case {
    /// Reads a case; `target` has the kfuncs that it calls.
    pub fn load(path: &Path, target: &Btf) -> Result<Case, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let mut case = Case {
            path: path.into(),
            license: "GPL".into(),
            prog_type: ProgType::KPROBE,
            ..Case::default()
        };
        let text = resolve_ids(&text, target)?;
        let mut globals = None;
        let mut func_lines = Vec::new();
        let mut expects = Vec::new();
        let structs: Vec<String> = text
            .lines()
            .filter_map(|l| l.trim().strip_prefix("// struct:").map(|l| l.trim().to_string()))
            .collect();
        let mut types = Types::parse(&structs)?;
        for (n, line) in text.lines().enumerate() {
            let (head, expect) = split_expect(line);
            expects.extend(expect.map(|e| (n as u32 + 1, e.to_string())));
            case.unsupported |= head.trim() == "// not supported yet";
            if let Some(words) = head.trim().strip_prefix("// prog:") {
                case.prog_line(words)?;
            } else if let Some(words) = head.trim().strip_prefix("// map:") {
                case.map_line(words, &mut types)?;
            } else if let Some(words) = head.trim().strip_prefix("// func:") {
                func_lines.push(FuncLine::parse(words)?);
            } else if let Some(words) = head.trim().strip_prefix("// btf:") {
                globals = Some(
                    words
                        .trim()
                        .strip_prefix("global=")
                        .unwrap_or("")
                        .split(',')
                        .map(String::from)
                        .collect::<Vec<_>>(),
                );
            }
        }
        let out = assemble_with(&types.substitute(&text), &Names { maps: &case.maps, target })
            .map_err(|e| e.to_string())?;
        (case.insns, case.lines) = (out.insns, out.lines);
        case.text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        case.attach_btf_id = case.find_target(target)?;
        if let Some(globals) = globals {
            let starts: Vec<u32> =
                globals.iter().filter_map(|g| out.labels.get(g).copied()).collect();
            let (raw, funcs) = btf::for_functions(&case.insns, &starts);
            (case.btf, case.funcs) = (Some(raw), funcs);
        }
        if !func_lines.is_empty() || !structs.is_empty() {
            let (raw, funcs) = funcs::build(types.out, &func_lines, &out.labels, &case.insns)?;
            (case.btf, case.funcs) = (Some(raw), funcs);
        }
        for (line, text) in expects {
            case.expect = Some(case.parse_expect(line, &text)?);
        }
        Ok(case)
    }

    fn prog_line(&mut self, words: &str) -> Result<(), String> {
        for (n, word) in words.split_whitespace().enumerate() {
            match word.split_once('=') {
                None if n == 0 => {
                    self.prog_type = ProgType::from_name(&word.to_uppercase())
                        .ok_or(format!("program type {word}"))?
                }
                None if word == "sleepable" => self.sleepable = true,
                Some(("attach", value)) => {
                    self.attach = AttachType::from_name(&value.to_uppercase())
                        .ok_or(format!("attach type {value}"))?
                        .0
                }
                Some(("license", value)) => self.license = value.into(),
                Some(("target", value)) => self.target = value.into(),
                _ => return Err(format!("program word {word}")),
            }
        }
        Ok(())
    }

    /// BTF id of what the program attaches to; 0 when nothing is named.
    fn find_target(&self, btf: &Btf) -> Result<u32, String> {
        let name = self.target.as_str();
        if name.is_empty() {
            return Ok(0);
        }
        if let Some(id) = name.strip_prefix('#') {
            return id.parse().map_err(|_| format!("id {id}"));
        }
        let (prefix, kind) = match (self.prog_type, AttachType(self.attach)) {
            (ProgType::STRUCT_OPS, _) => ("", Kind::Struct),
            (_, AttachType::TRACE_RAW_TP) => ("btf_trace_", Kind::Typedef),
            (_, AttachType::TRACE_ITER) => ("bpf_iter_", Kind::Func),
            (ProgType::LSM, _) => ("bpf_lsm_", Kind::Func),
            _ => ("", Kind::Func),
        };
        // A type of another kind, for what the kernel says to that.
        let (prefix, kind, name) = match name.split_once(':') {
            Some(("struct", name)) => ("", Kind::Struct, name),
            Some(("func", name)) => ("", Kind::Func, name),
            Some(("typedef", name)) => ("", Kind::Typedef, name),
            _ => (prefix, kind, name),
        };
        let full = format!("{prefix}{name}");
        btf.find_by_name_kind(&full, kind).ok_or(format!("the BTF has no {full}"))
    }

    fn map_line(&mut self, words: &str, types: &mut Types) -> Result<(), String> {
        let mut map = MapDef { max_entries: 1, ..MapDef::default() };
        let mut inner = None;
        let (words, frozen) = match words.split_once("frozen=\"") {
            Some((words, text)) => (
                words,
                Some(
                    text.trim_end().trim_end_matches('"').replace("\\0", "\0").replace("\\n", "\n"),
                ),
            ),
            None => (words, None),
        };
        for (n, word) in words.split_whitespace().enumerate() {
            let number = |v: &str| match v.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).map_err(|e| e.to_string()),
                None => v.parse().map_err(|_| format!("number {v}")),
            };
            match word.split_once('=') {
                None if n == 0 => map.name = word.into(),
                None if n == 1 => {
                    map.map_type = MapType::from_name(&word.to_uppercase())
                        .ok_or(format!("map type {word}"))?
                }
                Some(("key", v)) => map.key_size = number(v)?,
                Some(("value", v)) => map.value_size = number(v)?,
                Some(("max", v)) => map.max_entries = number(v)?,
                Some(("flags", v)) => map.map_flags = number(v)?,
                Some(("type", v)) => {
                    map.btf_value_type_id = *types.ids.get(v).ok_or(format!("struct {v}"))?;
                }
                Some(("inner", v)) => {
                    inner =
                        Some(self.maps.iter().position(|m| m.name == v).ok_or(format!("map {v}"))?)
                }
                _ => return Err(format!("map word {word}")),
            }
        }
        map.frozen = frozen.map(|text| {
            let mut bytes = text.into_bytes();
            bytes.resize(map.value_size as usize, 0);
            bytes
        });
        if map.btf_value_type_id != 0 {
            map.btf_key_type_id = types.key(map.key_size);
        }
        map.inner = inner.map(|i| Box::new(self.maps[i].clone()));
        self.maps.push(map);
        self.inner_of.push(inner);
        Ok(())
    }

    fn parse_expect(&self, line: u32, text: &str) -> Result<Expect, String> {
        if text == "accept" {
            return Ok(Expect::Accept);
        }
        let rest = text.strip_prefix("reject ").ok_or("expectation is accept or reject")?;
        let (errno, message) = rest.split_once(' ').unwrap_or((rest, "\"\""));
        let message =
            message.trim().trim_start_matches('"').trim_end_matches('"').replace("\\n", "\n");
        let insn = self.lines.iter().position(|l| *l == line).map(|i| i as u32);
        Ok(Expect::Reject { errno: errno.into(), message, insn })
    }

    /// As the verifier takes it.
    pub fn input<'a>(&'a self, btf: Option<&'a stylet_btf::Btf>) -> ProgInput<'a> {
        ProgInput {
            name: "test",
            prog_type: self.prog_type,
            expected_attach_type: AttachType(self.attach),
            sleepable: self.sleepable,
            license: &self.license,
            attach_btf_id: self.attach_btf_id,
            insns: &self.insns,
            maps: &self.maps,
            btf,
            func_info: &self.funcs,
            ..ProgInput::default()
        }
    }

    /// The file with another expectation.
    pub fn with_expect(&self, expect: &Expect) -> String {
        let mut lines: Vec<String> =
            self.text.lines().map(|l| split_expect(l).0.trim_end().to_string()).collect();
        let had_own_line: Vec<bool> = self
            .text
            .lines()
            .map(|l| split_expect(l).0.trim().is_empty() && l.contains("// expect:"))
            .collect();
        let (note, line) = match expect {
            Expect::Accept => ("// expect: accept".to_string(), None),
            Expect::Reject { errno, message, insn } => {
                let note =
                    format!("// expect: reject {errno} \"{}\"", message.replace('\n', "\\n"));
                (note, insn.map(|i| self.lines[i as usize] as usize - 1))
            }
        };
        match line {
            Some(at) => lines[at] = format!("{}  {note}", lines[at]),
            None => {
                let at = lines
                    .iter()
                    .zip(&had_own_line)
                    .position(|(l, own)| *own || !l.trim_start().starts_with("//"))
                    .unwrap_or(0);
                if had_own_line.get(at) == Some(&true) {
                    lines[at] = note;
                    return lines.join("\n") + "\n";
                }
                lines.insert(at, note);
                return drop_own(lines, &had_own_line, at);
            }
        }
        drop_own(lines, &had_own_line, usize::MAX)
    }
}

/// The text with numbers for `@struct:NAME`, `@var:NAME` and the like (BTF ids), `@off:STRUCT.FIELD` and `@size:STRUCT`
/// (bytes; `+N` or `-N` right behind is added), so that it holds for any kernel.
fn resolve_ids(text: &str, btf: &Btf) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        let end = after.find(|c: char| !matches!(c, ':' | '_' | '.') && !c.is_alphanumeric());
        let (word, mut tail) = after.split_at(end.unwrap_or(after.len()));
        const KINDS: &[&str] = &["struct", "union", "var", "func", "int", "size", "off"];
        // The sign means other things elsewhere.
        let Some((kind, name)) = word.split_once(':').filter(|(kind, _)| KINDS.contains(kind))
        else {
            out += before;
            out.push('@');
            rest = after;
            continue;
        };
        let by_kind = |kind| btf.find_by_name_kind(name, kind).map(i64::from);
        let number = match kind {
            "struct" => by_kind(Kind::Struct),
            "union" => by_kind(Kind::Union),
            "var" => by_kind(Kind::Var),
            "func" => by_kind(Kind::Func),
            "int" => by_kind(Kind::Int),
            "size" => {
                let id = btf.find_by_name_kind(name, Kind::Struct);
                id.and_then(|id| btf.resolve_size(id).ok()).map(i64::from)
            }
            "off" => name.split_once('.').and_then(|(structure, field)| {
                let id = btf.find_by_name_kind(structure, Kind::Struct)?;
                offset_of(btf, id, field)
            }),
            _ => None,
        };
        let mut number = number.ok_or(format!("the BTF has no {word}"))?;
        if tail.starts_with(['+', '-']) {
            let end = tail[1..].find(|c: char| !c.is_ascii_digit()).map_or(tail.len(), |n| n + 1);
            number += tail[..end].parse::<i64>().map_err(|e| e.to_string())?;
            tail = &tail[end..];
        }
        out += before;
        out += &number.to_string();
        rest = tail;
    }
    Ok(out + rest)
}

/// Bytes before a field, also of a structure without a name within.
fn offset_of(btf: &Btf, id: u32, field: &str) -> Option<i64> {
    let members = btf.type_by_id(btf.skip_mods_and_typedefs(id))?.composite()?;
    members.members().find_map(|m| {
        let at = i64::from(m.bit_offset / 8);
        match btf.name(m.name_off) {
            "" => offset_of(btf, m.ty, field).map(|inner| at + inner),
            name => (name == field).then_some(at),
        }
    })
}

/// Leaves out lines that held nothing but the old expectation.
fn drop_own(lines: Vec<String>, own: &[bool], inserted: usize) -> String {
    let kept = lines.iter().enumerate().filter(|(i, l)| {
        let before = if *i > inserted { i - 1 } else { *i };
        *i == inserted || !(l.trim().is_empty() && own.get(before) == Some(&true))
    });
    kept.map(|(_, l)| format!("{l}\n")).collect()
}

/// Name of a positive errno.
pub fn errno_name(e: i32) -> String {
    errno::name(e).map_or_else(|| e.to_string(), String::from)
}
