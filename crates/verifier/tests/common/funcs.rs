//! BTF for the functions of a case, from header lines
//! `// func: LABEL global|static RETURN(ARG, …) [decl_tag=TEXT]`, LABEL `main` for the program.
//!
//! An ARG is words: `ptr` for each `*`, `const`, then `void int uint char u8 u16 u32 u64 float enum`, `struct=NAME:SIZE`,
//! `union=NAME:SIZE`, `fwd=NAME`, `array=SIZE` or `typedef=NAME:STRUCT:SIZE`, then tags (`ctx`, `nonnull`, …) as `@TAG`.

use std::collections::BTreeMap;

use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::{FuncLinkage, TypeId};
use stylet_insn::{Insn, opcode as op};
use stylet_verifier::FuncInfo;

/// A header line.
pub struct FuncLine {
    pub label: String,
    global: bool,
    ret: String,
    args: Vec<String>,
    tag: Option<String>,
}

impl FuncLine {
    pub fn parse(text: &str) -> Result<FuncLine, String> {
        let bad = || format!("function {text}");
        let (head, rest) = text.trim().split_once('(').ok_or_else(bad)?;
        let (args, rest) = rest.split_once(')').ok_or_else(bad)?;
        let mut words = head.split_whitespace();
        let label = words.next().ok_or_else(bad)?.to_string();
        let global = words.next().ok_or_else(bad)? == "global";
        let args = args.split(',').map(|a| a.trim().to_string()).filter(|a| !a.is_empty());
        Ok(FuncLine {
            label,
            global,
            ret: words.collect::<Vec<_>>().join(" "),
            args: args.collect(),
            tag: rest.trim().strip_prefix("decl_tag=").map(String::from),
        })
    }
}

fn named(text: &str) -> (&str, u32) {
    let (name, size) = text.rsplit_once(':').unwrap_or((text, "8"));
    (name, size.parse().unwrap_or(8))
}

fn add_type(out: &mut BtfBuilder, text: &str) -> Result<TypeId, String> {
    let words: Vec<&str> = text.split_whitespace().filter(|w| !w.starts_with('@')).collect();
    let (last, mods) = words.split_last().ok_or("a type is missing")?;
    let bytes = |out: &mut BtfBuilder, size| {
        let byte = out.int("char", 1, IntEncoding::Signed);
        out.array(byte, byte, size)
    };
    let mut id = match last.split_once('=') {
        Some(("struct", s)) => {
            let (name, size) = named(s);
            let ty = bytes(out, size);
            out.structure(name, size, &[MemberDef::new("bytes", ty, 0)])
        }
        Some(("union", s)) => {
            let (name, size) = named(s);
            let ty = bytes(out, size);
            out.union(name, size, &[MemberDef::new("bytes", ty, 0)])
        }
        Some(("typedef", s)) => {
            let (name, s) = s.split_once(':').ok_or("typedef")?;
            let (to, size) = named(s);
            let ty = bytes(out, size);
            let to = out.structure(to, size, &[MemberDef::new("bytes", ty, 0)]);
            out.typedef(name, to)
        }
        Some(("fwd", name)) => out.fwd(name, false),
        Some(("array", size)) => bytes(out, size.parse().map_err(|_| "array")?),
        _ => match *last {
            "void" => 0,
            "int" => out.int("int", 4, IntEncoding::Signed),
            "char" => out.int("char", 1, IntEncoding::Signed),
            "uint" | "u32" => out.int("unsigned int", 4, IntEncoding::Unsigned),
            "u8" => out.int("unsigned char", 1, IntEncoding::Unsigned),
            "u16" => out.int("unsigned short", 2, IntEncoding::Unsigned),
            "u64" => out.int("unsigned long", 8, IntEncoding::Unsigned),
            "float" => out.float("float", 4),
            "enum" => out.enumeration("choice", 4, false, &[("A", 0)]),
            other => return Err(format!("type {other}")),
        },
    };
    for word in mods.iter().rev() {
        id = match *word {
            "ptr" => out.ptr(id),
            "const" => out.constant(id),
            other => return Err(format!("type word {other}")),
        };
    }
    Ok(id)
}

/// BTF and the places of all functions of `insns`, added to `out`; those without a line are `static int fn()`.
pub fn build(
    mut out: BtfBuilder,
    lines: &[FuncLine],
    labels: &BTreeMap<String, u32>,
    insns: &[Insn],
) -> Result<(Vec<u8>, Vec<FuncInfo>), String> {
    let mut starts = vec![0u32];
    for (i, insn) in insns.iter().enumerate() {
        if insn.is_pseudo_call() || (insn.is_lddw() && insn.src == op::PSEUDO_FUNC) {
            starts.push((i as i64 + i64::from(insn.imm) + 1) as u32);
        }
    }
    let start =
        |l: &FuncLine| if l.label == "main" { Some(0) } else { labels.get(&l.label).copied() };
    starts.extend(lines.iter().filter_map(start));
    starts.sort_unstable();
    starts.dedup();
    let mut funcs = Vec::new();
    for at in starts {
        let line = lines.iter().find(|l| start(l) == Some(at));
        let mut params = Vec::new();
        for arg in line.map_or(&[][..], |l| &l.args) {
            params.push(("a", add_type(&mut out, arg)?));
        }
        let ret = match line {
            Some(line) => add_type(&mut out, &line.ret)?,
            None => out.int("int", 4, IntEncoding::Signed),
        };
        let proto = out.func_proto(ret, &params);
        let linkage = match line {
            Some(l) if l.global => FuncLinkage::Global,
            None if at == 0 => FuncLinkage::Global,
            _ => FuncLinkage::Static,
        };
        let name = line.map_or_else(|| format!("fn{at}"), |l| l.label.clone());
        let id = out.func(&name, linkage, proto);
        for (n, arg) in line.map_or(&[][..], |l| &l.args).iter().enumerate() {
            for tag in arg.split_whitespace().filter_map(|w| w.strip_prefix('@')) {
                out.decl_tag(&format!("arg:{tag}"), id, Some(n as u32));
            }
        }
        if let Some(tag) = line.and_then(|l| l.tag.as_ref()) {
            out.decl_tag(tag, id, None);
        }
        funcs.push(FuncInfo { insn_idx: at, type_id: id });
    }
    Ok((out.to_bytes().map_err(|e| e.to_string())?, funcs))
}
