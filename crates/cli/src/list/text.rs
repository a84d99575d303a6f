//! `stylet list` for people.

use crate::table::table;
use std::path::PathBuf;
use stylet::kernel::{HeldEvent, HeldLink, HeldMap, HeldProg, Holder};

/// Programs.
pub fn progs(out: &mut String, progs: &[HeldProg]) {
    let row = |held: &HeldProg| {
        let p = &held.prog;
        let maps: Vec<String> = p.map_ids.iter().map(u32::to_string).collect();
        [
            p.id.to_string(),
            p.prog_type.to_string(),
            p.name.clone(),
            p.tag.clone(),
            p.uid.to_string(),
            p.bytes_xlated.to_string(),
            p.bytes_jited.to_string(),
            maps.join(","),
            holders(&held.pinned, &all_of(held)),
        ]
    };
    let head = ["id", "type", "name", "tag", "uid", "xlated", "jited", "maps", "held by"];
    table(out, "programs", &head, &progs.iter().map(row).collect::<Vec<_>>());
}

/// Processes that hold a program by a descriptor of it or of a perf event.
pub fn all_of(held: &HeldProg) -> Vec<Holder> {
    let mut all = held.pids.clone();
    all.extend(held.by_event.iter().filter(|holder| !held.pids.contains(holder)).cloned());
    all
}

/// Perf events that run programs.
pub fn events(out: &mut String, events: &[HeldEvent]) {
    let row = |held: &HeldEvent| {
        let (holder, place) = (&held.holder, super::link::place(&held.details));
        let process = format!("{} ({})", holder.comm, holder.pid);
        [process, held.fd.to_string(), held.prog_id.to_string(), place]
    };
    let head = ["process", "fd", "program", "attached to"];
    table(out, "perf events", &head, &events.iter().map(row).collect::<Vec<_>>());
}

/// Maps.
pub fn maps(out: &mut String, maps: &[HeldMap]) {
    let row = |held: &HeldMap| {
        let m = &held.map;
        let frozen = if m.frozen { " frozen" } else { "" };
        [
            m.id.to_string(),
            m.map_type.to_string(),
            m.name.clone(),
            m.bytes_key.to_string(),
            m.bytes_value.to_string(),
            m.max_entries.to_string(),
            format!("{:#x}{frozen}", m.flags),
            holders(&held.pinned, &held.pids),
        ]
    };
    let head = ["id", "type", "name", "key", "value", "max_entries", "flags", "held by"];
    table(out, "maps", &head, &maps.iter().map(row).collect::<Vec<_>>());
}

/// Links.
pub fn links(out: &mut String, links: &[HeldLink]) {
    let row = |held: &HeldLink| {
        let l = &held.link;
        [
            l.id.to_string(),
            l.link_type.to_string(),
            l.prog_id.to_string(),
            super::link::text(l),
            holders(&held.pinned, &held.pids),
        ]
    };
    let head = ["id", "type", "program", "attached to", "held by"];
    table(out, "links", &head, &links.iter().map(row).collect::<Vec<_>>());
}

/// `stylet (1234), /sys/fs/bpf/x`.
pub fn holders(pinned: &[PathBuf], pids: &[Holder]) -> String {
    let processes = pids.iter().map(|h| format!("{} ({})", h.comm, h.pid));
    let paths = pinned.iter().map(|p| p.display().to_string());
    processes.chain(paths).collect::<Vec<_>>().join(", ")
}
