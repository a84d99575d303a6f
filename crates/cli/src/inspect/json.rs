//! `stylet inspect --json`: field names as bpftool's where it has the thing.

use crate::args::InspectArgs;
use serde_json::{Value, json};
use stylet::{Error, MapSpec, Object, ProgSpec};

/// One JSON object and a line break.
pub fn render(object: &Object, args: &InspectArgs) -> Result<String, Error> {
    let spec = object.spec();
    let mut progs = Vec::new();
    for p in object.autoload_progs() {
        progs.push(prog(object, p, args)?);
    }
    let mut root = json!({
        "file": object.path().display().to_string(),
        "license": spec.license,
        "programs": progs,
        "maps": spec.maps.iter().map(map).collect::<Vec<_>>(),
        "externs": spec.externs.iter().map(|e| json!({"name": e.name, "weak": e.weak})).collect::<Vec<_>>(),
    });
    if args.btf {
        root["btf"] = Value::String(stylet::types_as_c(object)?);
    }
    Ok(format!("{root}\n"))
}

fn prog(object: &Object, p: &ProgSpec, args: &InspectArgs) -> Result<Value, Error> {
    let mut value = json!({
        "name": p.name,
        "type": p.sec.prog_type.to_string().to_lowercase(),
        "section": p.section,
        "insns": p.insns.len(),
        "subprogs": p.funcs.iter().map(|f| f.name.clone()).collect::<Vec<_>>(),
    });
    if args.disasm {
        let insns = &p.insns;
        let names = stylet::SpecNames(object.spec());
        let mut list = Vec::new();
        let mut i = 0;
        while i < insns.len() {
            let text = stylet_insn::disasm(&insns[i], insns.get(i + 1)).names(&names).to_string();
            let mut one = json!({"pc": i, "disasm": text});
            if let Some((place, source)) = stylet::source_line(object, p, i as u32) {
                one["src"] = Value::String(source.trim().to_owned());
                one["line"] = Value::String(place);
            }
            list.push(one);
            i += if insns[i].is_lddw() { 2 } else { 1 };
        }
        value["xlated"] = Value::Array(list);
    }
    if args.jited {
        let code = stylet::user::compile_for_inspection(object, p)?;
        value["bytes_jited"] = code.text.len().into();
        let list = super::x86::disasm(&code.text);
        value["jited"] = list
            .into_iter()
            .map(|l| json!({"pc": format!("{:#x}", l.offset), "insn": l.text}))
            .collect();
    }
    Ok(value)
}

fn map(m: &MapSpec) -> Value {
    json!({
        "name": m.name,
        "type": m.map_type.to_string().to_lowercase(),
        "bytes_key": m.key_size,
        "bytes_value": m.value_size,
        "max_entries": m.max_entries,
        "flags": m.map_flags,
    })
}
