//! The kernel's objects as JSON, in bpftool's field names and with its rules of what is left out.

use serde_json::{Map, Value, json};
use std::path::PathBuf;
use stylet::kernel::{HeldEvent, HeldLink, HeldMap, HeldProg, Holder, Kernel, LinkDetails};

/// As `bpftool -j prog show`.
pub fn prog(held: &HeldProg) -> Value {
    let p = &held.prog;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("id", p.id.into());
    put("type", named(p.prog_type.name(), p.prog_type.0));
    if !p.name.is_empty() {
        put("name", p.name.clone().into());
    }
    put("tag", p.tag.clone().into());
    put("gpl_compatible", p.gpl_compatible.into());
    if p.run_time_ns != 0 {
        put("run_time_ns", p.run_time_ns.into());
        put("run_cnt", p.run_cnt.into());
    }
    if p.recursion_misses != 0 {
        put("recursion_misses", p.recursion_misses.into());
    }
    if p.ifindex != 0 {
        put("dev", json!({"ifindex": p.ifindex}));
    }
    put("loaded_at", p.loaded_at.into());
    put("uid", p.uid.into());
    put("bytes_xlated", p.bytes_xlated.into());
    put("jited", (p.bytes_jited != 0).into());
    if p.bytes_jited != 0 {
        put("bytes_jited", p.bytes_jited.into());
    }
    if let Some(bytes) = p.bytes_memlock {
        put("bytes_memlock", bytes.into());
    }
    if !p.map_ids.is_empty() {
        put("map_ids", p.map_ids.clone().into());
    }
    if p.btf_id != 0 {
        put("btf_id", p.btf_id.into());
    }
    held_by(&mut out, &held.pinned, &held.pids);
    Value::Object(out)
}

/// As `bpftool -j map show`.
pub fn map(held: &HeldMap) -> Value {
    let m = &held.map;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("id", m.id.into());
    put("type", named(m.map_type.name(), m.map_type.0));
    if !m.name.is_empty() {
        put("name", m.name.clone().into());
    }
    put("flags", m.flags.into());
    if m.ifindex != 0 {
        put("dev", json!({"ifindex": m.ifindex}));
    }
    put("bytes_key", m.bytes_key.into());
    put("bytes_value", m.bytes_value.into());
    put("max_entries", m.max_entries.into());
    if let Some(bytes) = m.bytes_memlock {
        put("bytes_memlock", bytes.into());
    }
    if let Some(owner) = m.owner_prog_type {
        put("owner_prog_type", named(owner.name(), owner.0));
    }
    if let Some(jited) = m.owner_jited {
        put("owner_jited", jited.into());
    }
    put("frozen", u8::from(m.frozen).into());
    if m.btf_id != 0 {
        put("btf_id", m.btf_id.into());
    }
    held_by(&mut out, &held.pinned, &held.pids);
    Value::Object(out)
}

/// As `bpftool -j link show`.
pub fn link(kernel: &Kernel, held: &HeldLink) -> Value {
    let l = &held.link;
    let mut out = Map::new();
    out.insert("id".into(), l.id.into());
    out.insert("type".into(), named(l.link_type.name(), l.link_type.0));
    out.insert("prog_id".into(), l.prog_id.into());
    super::link::json(kernel, &mut out, l);
    held_by(&mut out, &held.pinned, &held.pids);
    Value::Object(out)
}

/// As `bpftool -j perf show`.
pub fn event(held: &HeldEvent) -> Value {
    let ret = |retprobe: bool, kind: &str| match retprobe {
        true => kind.replacen("probe", "retprobe", 1),
        false => kind.to_owned(),
    };
    let at = match &held.details {
        LinkDetails::Kprobe { retprobe, func, addr, .. } if func.is_empty() => {
            json!({"fd_type": ret(*retprobe, "kprobe"), "addr": addr})
        }
        LinkDetails::Kprobe { retprobe, func, offset, .. } => {
            json!({"fd_type": ret(*retprobe, "kprobe"), "func": func, "offset": offset})
        }
        LinkDetails::Uprobe { retprobe, file, offset, .. } => {
            json!({"fd_type": ret(*retprobe, "uprobe"), "filename": file, "offset": offset})
        }
        LinkDetails::Tracepoint { tracepoint, .. } => {
            json!({"fd_type": "tracepoint", "tracepoint": tracepoint})
        }
        LinkDetails::RawTracepoint { tp_name, .. } => {
            json!({"fd_type": "raw_tracepoint", "tracepoint": tp_name})
        }
        _ => json!({}),
    };
    let mut out = json!({"pid": held.holder.pid, "fd": held.fd, "prog_id": held.prog_id});
    if let (Value::Object(out), Value::Object(at)) = (&mut out, at) {
        out.extend(at);
    }
    out
}

/// A constant's name in lower case, or its number where it has none.
pub fn named(name: Option<&str>, number: u32) -> Value {
    name.map_or_else(|| number.into(), |name| name.to_lowercase().into())
}

/// `pinned` and `pids`, which bpftool shows with `-f` and where it was built with that.
fn held_by(out: &mut Map<String, Value>, pinned: &[PathBuf], pids: &[Holder]) {
    if !pinned.is_empty() {
        let paths = pinned.iter().map(|p| p.display().to_string());
        out.insert("pinned".into(), paths.collect::<Vec<_>>().into());
    }
    if !pids.is_empty() {
        let pids = pids.iter().map(|h| json!({"pid": h.pid, "comm": h.comm}));
        out.insert("pids".into(), pids.collect());
    }
}
