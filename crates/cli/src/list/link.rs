//! What a link is attached to.

use super::json::named;
use serde_json::{Map, Value, json};
use stylet::kernel::{Kernel, LinkDetails, LinkInfo};

/// Names of `enum perf_type_id` as perf spells them.
const PERF_TYPES: [&str; 6] =
    ["hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint"];
/// Names of `enum perf_hw_id`.
const PERF_HARDWARE: [&str; 10] = [
    "cpu-cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branch-instructions",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];
/// Names of `enum perf_sw_ids`.
const PERF_SOFTWARE: [&str; 11] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
];

/// Adds the fields that depend on the link's type.
pub fn json(kernel: &Kernel, out: &mut Map<String, Value>, link: &LinkInfo) {
    let details = match &link.details {
        LinkDetails::None => json!({}),
        LinkDetails::RawTracepoint { tp_name, .. } => json!({"tp_name": tp_name}),
        LinkDetails::Tracing { attach_type, target_obj_id, target_btf_id, .. } => json!({
            "prog_type": stylet::kernel::prog_type_of(kernel, link.prog_id)
                .map_or(Value::Null, |t| named(t.name(), t.0)),
            "attach_type": named(attach_type.name(), attach_type.0),
            "target_obj_id": target_obj_id, "target_btf_id": target_btf_id,
        }),
        LinkDetails::Cgroup { cgroup_id, attach_type } => {
            json!({"cgroup_id": cgroup_id, "attach_type": named(attach_type.name(), attach_type.0)})
        }
        LinkDetails::Iter { target_name, map_id, cgroup_id, order, tid, pid } => {
            iter(target_name, *map_id, (*cgroup_id, *order), (*tid, *pid))
        }
        LinkDetails::Netns { netns_ino, attach_type } => {
            json!({"netns_ino": netns_ino, "attach_type": named(attach_type.name(), attach_type.0)})
        }
        LinkDetails::Xdp { ifindex } => json!({"ifindex": ifindex}),
        LinkDetails::Device { ifindex, attach_type } => {
            json!({"ifindex": ifindex, "attach_type": named(attach_type.name(), attach_type.0)})
        }
        LinkDetails::StructOps { map_id } => json!({"map_id": map_id}),
        LinkDetails::Netfilter { pf, hooknum, priority, flags } => {
            json!({"pf": pf, "hook": hooknum, "prio": priority, "flags": flags})
        }
        LinkDetails::Sockmap { map_id, attach_type } => {
            json!({"map_id": map_id, "attach_type": named(attach_type.name(), attach_type.0)})
        }
        probe => probes(probe),
    };
    if let Value::Object(fields) = details {
        out.extend(fields);
    }
}

fn probes(details: &LinkDetails) -> Value {
    match details {
        LinkDetails::KprobeMulti { retprobe, missed, funcs } => {
            let names = stylet::kernel::KernelSymbols::read();
            let one = |&(addr, cookie): &(u64, u64)| {
                let (func, module) = names.at(addr).unzip();
                json!({"addr": addr, "func": func, "module": module.flatten(), "cookie": cookie})
            };
            let list: Vec<Value> = funcs.iter().map(one).collect();
            json!({"retprobe": retprobe, "func_cnt": funcs.len(), "missed": missed, "funcs": list})
        }
        LinkDetails::UprobeMulti { retprobe, path, pid, funcs } => {
            let one = |&(offset, ref_ctr, cookie): &(u64, u64, u64)| json!({"offset": offset, "ref_ctr_offset": ref_ctr, "cookie": cookie});
            let list: Vec<Value> = funcs.iter().map(one).collect();
            json!({
                "retprobe": retprobe, "path": path, "func_cnt": funcs.len(), "pid": *pid as i32, "funcs": list,
            })
        }
        LinkDetails::Kprobe { retprobe, func, offset, addr, missed, cookie } => json!({
            "retprobe": retprobe, "addr": addr, "func": func, "offset": offset, "missed": missed, "cookie": cookie,
        }),
        LinkDetails::Uprobe { retprobe, file, offset, cookie, ref_ctr_offset } => json!({
            "retprobe": retprobe, "file": file, "offset": offset, "cookie": cookie,
            "ref_ctr_offset": ref_ctr_offset,
        }),
        LinkDetails::Tracepoint { tracepoint, cookie } => {
            json!({"tracepoint": tracepoint, "cookie": cookie})
        }
        LinkDetails::Event { event_type, event_config, cookie } => {
            let (kind, config) = event(*event_type, *event_config);
            json!({"event_type": kind, "event_config": config, "cookie": cookie})
        }
        _ => json!({}),
    }
}

fn iter(target: &str, map_id: u32, cgroup: (u64, u32), task: (u32, u32)) -> Value {
    let mut out = json!({"target_name": target});
    if map_id != 0 {
        out["map_id"] = map_id.into();
    }
    if target == "cgroup" {
        const ORDERS: [&str; 5] =
            ["order_unspec", "self_only", "descendants_pre", "descendants_post", "ancestors_up"];
        out["cgroup_id"] = cgroup.0.into();
        out["order"] = (*ORDERS.get(cgroup.1 as usize).unwrap_or(&"unknown")).into();
    }
    if task.0 != 0 {
        out["tid"] = task.0.into();
    } else if task.1 != 0 {
        out["pid"] = task.1.into();
    }
    out
}

/// Type and config of a perf event by name, or as numbers.
fn event(kind: u32, config: u64) -> (Value, Value) {
    let pick = |names: &[&str], n: u64| {
        names.get(usize::try_from(n).unwrap_or(usize::MAX)).map_or(n.into(), |n| (*n).into())
    };
    let config = match kind {
        0 => pick(&PERF_HARDWARE, config),
        1 => pick(&PERF_SOFTWARE, config),
        _ => config.into(),
    };
    (pick(&PERF_TYPES, u64::from(kind)), config)
}

/// What a link is attached to, in a few words.
pub fn text(link: &LinkInfo) -> String {
    place(&link.details)
}

/// The same, of a link or of a perf event without one.
pub fn place(details: &LinkDetails) -> String {
    let ret = |retprobe: bool| if retprobe { " (return)" } else { "" };
    match details {
        LinkDetails::None => String::new(),
        LinkDetails::RawTracepoint { tp_name, .. } => tp_name.clone(),
        LinkDetails::Tracing { attach_type, target_btf_id, .. } => {
            format!("{}, BTF id {target_btf_id}", attach_type.to_string().to_lowercase())
        }
        LinkDetails::Cgroup { cgroup_id, attach_type } => {
            format!("cgroup {cgroup_id}, {}", attach_type.to_string().to_lowercase())
        }
        LinkDetails::Iter { target_name, .. } => target_name.clone(),
        LinkDetails::Netns { netns_ino, .. } => format!("network namespace {netns_ino}"),
        LinkDetails::Xdp { ifindex } | LinkDetails::Device { ifindex, .. } => {
            format!("interface {ifindex}")
        }
        LinkDetails::StructOps { map_id } | LinkDetails::Sockmap { map_id, .. } => {
            format!("map {map_id}")
        }
        LinkDetails::Netfilter { pf, hooknum, priority, .. } => {
            format!("family {pf}, hook {hooknum}, priority {priority}")
        }
        LinkDetails::KprobeMulti { retprobe, funcs, .. } => {
            format!("{} kernel functions{}", funcs.len(), ret(*retprobe))
        }
        LinkDetails::UprobeMulti { retprobe, path, funcs, pid } => {
            let of = if *pid == 0 { String::new() } else { format!(", process {pid}") };
            format!("{} places of {path}{}{of}", funcs.len(), ret(*retprobe))
        }
        LinkDetails::Kprobe { retprobe, func, offset, .. } => {
            format!("{func}+{offset:#x}{}", ret(*retprobe))
        }
        LinkDetails::Uprobe { retprobe, file, offset, .. } => {
            format!("{file}+{offset:#x}{}", ret(*retprobe))
        }
        LinkDetails::Tracepoint { tracepoint, .. } => tracepoint.clone(),
        LinkDetails::Event { event_type, event_config, .. } => {
            let (kind, config) = event(*event_type, *event_config);
            let bare = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            format!("{} {}", bare(kind), bare(config))
        }
        _ => String::new(),
    }
}
