//! A text of a `Spec`, stable and readable.

use std::fmt::Write as _;

use stylet_btf::Btf;
use stylet_insn::{Names, disasm};
use stylet_object::{
    AttachTarget, ExternKind, MapKind, MapSpec, Pinning, ProgSpec, SlotValue, Spec,
};

/// Kernel configuration of the cases.
pub fn kconfig(name: &str) -> Option<String> {
    let value = match name {
        "CONFIG_HZ" => "1000",
        "CONFIG_BPF_SYSCALL" => "y",
        "CONFIG_NET_KEY" => "m",
        "CONFIG_DEFAULT_HOSTNAME" => "\"(none)\"",
        "CONFIG_LONG" => "0xdeadbeefcafe",
        _ => return None,
    };
    Some(value.to_string())
}

struct Target<'a> {
    spec: &'a Spec,
    btf: Option<&'a Btf>,
}

impl Names for Target<'_> {
    fn kfunc(&self, btf_id: i32, _: i16) -> Option<&str> {
        self.btf.map(|btf| btf.type_name(btf_id as u32))
    }

    fn map(&self, idx: i32) -> Option<&str> {
        self.spec.maps.get(idx as usize).map(|map| map.name.as_str())
    }
}

/// The whole object. `target` names kernel functions in relocated instructions.
pub fn spec(spec: &Spec, target: Option<&Btf>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "object {:?} license {:?}", spec.name, spec.license);
    if let Some(version) = spec.version {
        let _ = writeln!(out, "version {version:#x}");
    }
    for (idx, ext) in spec.externs.iter().enumerate() {
        let weak = if ext.weak { "weak " } else { "" };
        let kind = match ext.kind {
            ExternKind::Kconfig(var) => {
                format!("kconfig {:?} at {}+{}", var.ty, var.offset, var.size)
            }
            ExternKind::KsymVar { type_id } => format!("variable {}", type_text(spec, type_id)),
            ExternKind::KsymTypeless => "address".to_string(),
            ExternKind::KsymFunc { proto_id } => format!("function {}", type_text(spec, proto_id)),
        };
        let _ = writeln!(out, "extern {idx} {weak}{} {kind}", ext.name);
    }
    for (idx, map) in spec.maps.iter().enumerate() {
        let _ = write!(out, "map {idx} ");
        self::map(&mut out, spec, map);
    }
    for prog in &spec.progs {
        out.push('\n');
        self::prog(&mut out, spec, prog, target);
    }
    out
}

fn type_text(spec: &Spec, id: u32) -> String {
    spec.btf.as_ref().map(|btf| btf.type_string(id)).unwrap_or_default()
}

fn map(out: &mut String, spec: &Spec, map: &MapSpec) {
    let _ = write!(
        out,
        "{:?} in {} {:?} type {} key {} value {} entries {} flags {:#x}",
        map.name,
        map.section,
        map.kind,
        map.map_type,
        map.key_size,
        map.value_size,
        map.max_entries,
        map.map_flags
    );
    if map.map_extra != 0 || map.numa_node != 0 {
        let _ = write!(out, " extra {:#x} numa {}", map.map_extra, map.numa_node);
    }
    if map.pinning == Pinning::ByName {
        out.push_str(" pinned");
    }
    for (what, id) in [("key", map.btf_key_type_id), ("value", map.btf_value_type_id)] {
        let name = spec.btf.as_ref().map_or("", |btf| btf.type_name(id));
        if id != 0 {
            let _ =
                write!(out, " btf {what} [{id}]{}{name}", if name.is_empty() { "" } else { " " });
        }
    }
    out.push('\n');
    if map.kind != MapKind::User && map.contents.iter().any(|&b| b != 0) {
        for (row, bytes) in map.contents.chunks(16).enumerate() {
            if bytes.iter().any(|&b| b != 0) {
                let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                let _ = writeln!(out, "  {:04x} {}", row * 16, hex.join(" "));
            }
        }
    }
    for (slot, value) in &map.values {
        let name = match *value {
            SlotValue::Map(idx) => format!("map {}", spec.maps[idx as usize].name),
            SlotValue::Prog(idx) => format!("program {}", spec.progs[idx as usize].name),
        };
        let _ = writeln!(out, "  slot {slot}: {name}");
    }
    if let Some(inner) = &map.inner {
        out.push_str("  inner ");
        self::map(out, spec, inner);
    }
}

fn prog(out: &mut String, spec: &Spec, prog: &ProgSpec, target: Option<&Btf>) {
    let sec = &prog.sec;
    let _ = write!(out, "program {} SEC({:?}) type {}", prog.name, prog.section, sec.prog_type);
    if sec.expected_attach_type.0 != 0 {
        let _ = write!(out, " attach {}", sec.expected_attach_type);
    }
    let _ = write!(
        out,
        "{}{}",
        if sec.is_sleepable() { " sleepable" } else { "" },
        if prog.autoload { "" } else { " no autoload" }
    );
    out.push('\n');
    if sec.target != AttachTarget::None {
        let _ = writeln!(out, "  target {:?}", sec.target);
    }
    for outcome in &prog.core_outcomes {
        let to = outcome.target.as_deref().unwrap_or("nothing");
        let poison = outcome.poison.map(|poison| format!(" poison {poison:?}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "  core {}: {} -> {to}: {} -> {}{poison}",
            outcome.slot, outcome.local, outcome.orig, outcome.new
        );
    }
    insns(out, spec, prog, target);
}

/// Instructions, with the names of functions and the source lines that start at them.
fn insns(out: &mut String, spec: &Spec, prog: &ProgSpec, target: Option<&Btf>) {
    let names = Target { spec, btf: target };
    let mut idx = 0;
    while let Some(insn) = prog.insns.get(idx) {
        if let Some(func) = prog.funcs.iter().find(|func| func.insn_idx as usize == idx) {
            let info = prog.func_info.iter().find(|info| info.insn_idx as usize == idx);
            let ty = info.map(|info| format!(" [{}]", info.type_id)).unwrap_or_default();
            let _ = writeln!(
                out,
                "{} ({}+{}, {} slots){ty}:",
                func.name, func.section, func.sec_insn_idx, func.len
            );
        }
        for line in prog.line_info.iter().filter(|line| line.insn_idx as usize == idx) {
            let text = spec.btf.as_ref().and_then(|btf| btf.str(line.line_off)).unwrap_or_default();
            let _ = writeln!(out, "  ; {}:{} {}", line.line, line.col, text.trim());
        }
        let text = disasm(insn, prog.insns.get(idx + 1));
        let _ = writeln!(out, "  {idx}: {}", text.names(&names));
        idx += text.slots();
    }
}
