//! `stylet inspect` of what the kernel holds.

use super::kernel_prog;
use crate::args::InspectArgs;
use crate::list;
use crate::run::maps::{show, typed};
use crate::value::to_json;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use stylet::kernel::{HeldMap, HeldProg, Kernel, KernelObject, Selector};
use stylet::{Entry, Error};
use stylet_btf::Btf;
use stylet_uapi::MapType;

/// The whole text or, with `--json`, a JSON array; both end in a line break.
pub fn render(selector: &Selector, args: &InspectArgs) -> Result<String, Error> {
    let kernel = Kernel::open()?;
    let objects = stylet::kernel::find(&kernel, selector)?;
    if args.json {
        let all = objects.into_iter().map(|o| json(&kernel, o, args)).collect::<Result<_, _>>()?;
        return Ok(format!("{}\n", Value::Array(all)));
    }
    let mut out = String::new();
    for object in objects {
        match object {
            KernelObject::Prog(held, fd) => prog(&mut out, &kernel, &held, fd, args)?,
            KernelObject::Map(held, fd) => map(&mut out, &kernel, &held, fd, args)?,
            KernelObject::Link(held) => list::text::links(&mut out, &[*held]),
        }
    }
    Ok(out.trim_start_matches('\n').to_owned())
}

fn prog(
    out: &mut String,
    kernel: &Kernel,
    held: &HeldProg,
    fd: OwnedFd,
    args: &InspectArgs,
) -> Result<(), Error> {
    let btf = stylet::kernel::btf(kernel, held.prog.btf_id)?;
    if args.btf {
        return types(out, held.prog.btf_id, btf.as_ref());
    }
    if !args.disasm && !args.jited {
        list::text::progs(out, std::slice::from_ref(held));
        return Ok(());
    }
    let dump = kernel_prog::Dump::read(&held.prog, fd, btf.as_ref(), args)?;
    if args.disasm {
        let _ = writeln!(out, "\n{}: # program {}", held.prog.name, held.prog.id);
        out.push_str(&dump.xlated_text());
    }
    if args.jited {
        let _ = writeln!(out, "\n{}: # {} bytes", held.prog.name, held.prog.bytes_jited);
        out.push_str(&dump.jited_text());
    }
    Ok(())
}

fn types(out: &mut String, id: u32, btf: Option<&Btf>) -> Result<(), Error> {
    let object = || format!("BTF object {id} of the kernel").into();
    let btf = btf.ok_or_else(|| Error::NoBtf { object: object() })?;
    let text = stylet_btf::dump::c_source(btf);
    out.push_str(&text.map_err(|source| Error::Btf { object: object(), source })?);
    Ok(())
}

/// What a map is and what is in it, by its BTF.
fn map(
    out: &mut String,
    kernel: &Kernel,
    held: &HeldMap,
    fd: OwnedFd,
    args: &InspectArgs,
) -> Result<(), Error> {
    let btf = stylet::kernel::btf(kernel, held.map.btf_id)?;
    if args.btf {
        return types(out, held.map.btf_id, btf.as_ref());
    }
    list::text::maps(out, std::slice::from_ref(held));
    if !has_contents(held.map.map_type) {
        return Ok(());
    }
    let mut entries = stylet::kernel::read_map(fd)?;
    let all = entries.len();
    if matches!(held.map.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY) && all > 1 {
        entries.retain(|e| e.values.iter().flatten().any(|&b| b != 0));
    }
    let _ = writeln!(out, "\ncontents");
    for entry in &entries {
        let key = typed(btf.as_ref(), held.map.btf_key_type_id, &entry.key);
        let _ = writeln!(out, "  {}  {}", show(&key), values_text(held, btf.as_ref(), entry));
    }
    if entries.len() < all {
        let _ = writeln!(out, "  ({} more are zero)", all - entries.len());
    }
    Ok(())
}

/// Types whose elements system calls read.
fn has_contents(map_type: MapType) -> bool {
    !matches!(
        map_type,
        MapType::RINGBUF
            | MapType::USER_RINGBUF
            | MapType::PERF_EVENT_ARRAY
            | MapType::QUEUE
            | MapType::STACK
            | MapType::BLOOM_FILTER
            | MapType::ARENA
            | MapType::STRUCT_OPS
    )
}

fn values_text(held: &HeldMap, btf: Option<&Btf>, entry: &Entry) -> String {
    let value = |bytes: &Vec<u8>| show(&typed(btf, held.map.btf_value_type_id, bytes));
    match entry.values.as_slice() {
        [] => "(not to be read)".to_owned(),
        [one] => value(one),
        many => {
            let slots = many.iter().enumerate();
            slots.map(|(cpu, v)| format!("cpu {cpu}: {}", value(v))).collect::<Vec<_>>().join(", ")
        }
    }
}

fn json(kernel: &Kernel, object: KernelObject, args: &InspectArgs) -> Result<Value, Error> {
    Ok(match object {
        KernelObject::Prog(held, fd) => {
            let btf = stylet::kernel::btf(kernel, held.prog.btf_id)?;
            let mut out = list::json::prog(&held);
            let dump = kernel_prog::Dump::read(&held.prog, fd, btf.as_ref(), args)?;
            if args.disasm {
                out["xlated"] = dump.xlated_json();
            }
            if args.jited {
                out["insns"] = dump.jited_json();
            }
            add_types(&mut out, held.prog.btf_id, btf.as_ref(), args)?;
            out
        }
        KernelObject::Map(held, fd) => {
            let btf = stylet::kernel::btf(kernel, held.map.btf_id)?;
            let mut out = list::json::map(&held);
            if has_contents(held.map.map_type) {
                let entries = stylet::kernel::read_map(fd)?;
                out["elements"] = entries.iter().map(|e| element(&held, btf.as_ref(), e)).collect();
            }
            add_types(&mut out, held.map.btf_id, btf.as_ref(), args)?;
            out
        }
        KernelObject::Link(held) => list::json::link(kernel, &held),
    })
}

fn add_types(out: &mut Value, id: u32, btf: Option<&Btf>, args: &InspectArgs) -> Result<(), Error> {
    if args.btf {
        let mut text = String::new();
        types(&mut text, id, btf)?;
        out["btf"] = text.into();
    }
    Ok(())
}

/// As an element of `bpftool -j map dump`, where that has a BTF: `key` and `value`, or `values` by CPU.
fn element(held: &HeldMap, btf: Option<&Btf>, entry: &Entry) -> Value {
    let value = |bytes: &Vec<u8>| to_json(&typed(btf, held.map.btf_value_type_id, bytes));
    let mut out = json!({"key": to_json(&typed(btf, held.map.btf_key_type_id, &entry.key))});
    match entry.values.as_slice() {
        [] => out["value"] = Value::Null,
        [one] => out["value"] = value(one),
        many => {
            let slots = many.iter().enumerate();
            out["values"] = slots.map(|(cpu, v)| json!({"cpu": cpu, "value": value(v)})).collect();
        }
    }
    out
}
