//! `stylet inspect` for people.

use crate::args::InspectArgs;
use crate::table::table;
use std::fmt::Write as _;
use stylet::{Error, MapSpec, Object, ProgSpec};

/// The whole text, ending in a line break.
pub fn render(object: &Object, args: &InspectArgs) -> Result<String, Error> {
    let mut out = String::new();
    if args.btf {
        out.push_str(&stylet::types_as_c(object)?);
        return Ok(out);
    }
    if args.disasm || args.jited {
        for prog in object.autoload_progs() {
            if args.disasm {
                disasm(&mut out, object, prog);
            }
            if args.jited {
                jited(&mut out, object, prog)?;
            }
        }
        return Ok(out);
    }
    summary(&mut out, object);
    Ok(out)
}

fn summary(out: &mut String, object: &Object) {
    let spec = object.spec();
    let _ = writeln!(
        out,
        "{}: license \"{}\", {}, {}, {}",
        object.path().display(),
        spec.license,
        count(spec.progs.len(), "program"),
        count(spec.maps.len(), "map"),
        match &spec.btf {
            Some(btf) => count(btf.len() as usize, "BTF type"),
            None => "no BTF".to_owned(),
        }
    );
    let progs: Vec<[String; 4]> = spec.progs.iter().filter(|p| p.autoload).map(prog_row).collect();
    table(out, "programs", &["name", "type", "section", "insns"], &progs);
    let maps: Vec<[String; 6]> = spec.maps.iter().map(map_row).collect();
    table(out, "maps", &["name", "type", "key", "value", "max_entries", "flags"], &maps);
    for ext in &spec.externs {
        let _ = writeln!(out, "extern {}{}", ext.name, if ext.weak { " (weak)" } else { "" });
    }
}

/// `1 map`, `2 maps`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn prog_row(prog: &ProgSpec) -> [String; 4] {
    [
        prog.name.clone(),
        prog.sec.prog_type.to_string(),
        prog.section.clone(),
        prog.insns.len().to_string(),
    ]
}

fn map_row(map: &MapSpec) -> [String; 6] {
    [
        map.name.clone(),
        map.map_type.to_string(),
        map.key_size.to_string(),
        map.value_size.to_string(),
        map.max_entries.to_string(),
        format!("{:#x}", map.map_flags),
    ]
}

fn disasm(out: &mut String, object: &Object, prog: &ProgSpec) {
    let insns = &prog.insns;
    let _ = writeln!(out, "{}: # {}", prog.name, prog.section);
    let mut i = 0;
    let mut last_line = None;
    while i < insns.len() {
        if let Some(func) = prog.funcs.iter().find(|f| f.insn_idx as usize == i)
            && i != 0
        {
            let _ = writeln!(out, "{}:", func.name);
        }
        if let Some((place, text)) = stylet::source_line(object, prog, i as u32)
            && last_line.as_ref() != Some(&place)
        {
            let _ = writeln!(out, "; {} @ {place}", text.trim());
            last_line = Some(place);
        }
        let names = stylet::SpecNames(object.spec());
        let line = stylet_insn::disasm(&insns[i], insns.get(i + 1)).names(&names).to_string();
        let _ = writeln!(out, "{i:>5}: ({:02x}) {line}", insns[i].code);
        i += if insns[i].is_lddw() { 2 } else { 1 };
    }
    out.push('\n');
}

fn jited(out: &mut String, object: &Object, prog: &ProgSpec) -> Result<(), Error> {
    let code = stylet::user::compile_for_inspection(object, prog)?;
    let _ = writeln!(out, "{}: # {} bytes of x86-64", prog.name, code.text.len());
    for line in super::x86::disasm(&code.text) {
        let _ = writeln!(out, "{:>5x}: {}", line.offset, line.text);
    }
    out.push('\n');
    Ok(())
}
