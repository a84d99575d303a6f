//! What the kernel has after an object was loaded, by Stylet and by libbpf: its programs and maps as it describes them itself.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::{fs, ptr};

use libbpf_sys as sys;
use stylet_kernel::sys::{DumpWish, btf_bytes, map_info, object_by_id};
use stylet_kernel::{Kernel, LoadOptions, list, load};
use stylet_object::{Options, Pinning, Spec};
use stylet_uapi::{Cmd, MapType};

use crate::{KCONFIG, libbpf};

/// `BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE` in the source register of a 64-bit immediate load.
const MAP_LOADS: [u8; 2] = [1, 2];
/// `BPF_LD | BPF_IMM | BPF_DW`
const LDDW: u8 = 0x18;

/// There where the kernel has kprobes for perf events.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// What the kernel has of an object.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    progs: Vec<HeldProg>,
    maps: Vec<HeldMap>,
}

/// A program; maps are named by their places in the object.
#[derive(Debug, PartialEq, Eq)]
struct HeldProg {
    name: String,
    prog_type: u32,
    gpl_compatible: u32,
    tag: [u8; 8],
    attach_btf_id: u32,
    maps: Vec<Option<usize>>,
    xlated: Vec<[u8; 8]>,
    /// First slot and name of each function.
    funcs: Vec<(u32, String)>,
    /// First slot, file, text, line and column.
    lines: Vec<(u32, String, String, u32)>,
}

#[derive(Debug, PartialEq, Eq)]
struct HeldMap {
    name: String,
    map_type: u32,
    /// Bytes of key and value, entries, flags.
    sizes: [u32; 4],
    map_extra: u64,
    frozen: bool,
    has_btf: bool,
    /// Types of key and value.
    types: [u32; 2],
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Differences, a line each.
    pub differences: Vec<String>,
    /// Programs that both loaded and that were compared.
    pub progs: usize,
    /// Maps.
    pub maps: usize,
    /// Programs that neither loads, with Stylet's error.
    pub refused: Vec<String>,
}

/// Compares an object: whole, and where one of the two refuses that, program by program.
pub fn compare(kernel: &Kernel, path: &Path) -> Result<Outcome, String> {
    let bytes = fs::read(path).map_err(|err| format!("{}: {err}", path.display()))?;
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut outcome = Outcome::default();
    let options = Options { name: file, ..Options::default() };
    let Ok(mut spec) = Spec::parse_with(&bytes, &options) else { return Ok(outcome) };
    spec.maps.iter_mut().for_each(complete);
    if asks_with_a_kprobe(&spec) && !Path::new(KPROBE_PMU).exists() {
        let why =
            "libbpf finds LINUX_HAS_SYSCALL_WRAPPER out with a kprobe, which this kernel lacks";
        outcome.refused.push(why.into());
        return Ok(outcome);
    }
    let name = file.split('.').next().unwrap_or_default();
    let autoload: Vec<bool> = spec.progs.iter().map(|prog| prog.autoload).collect();
    match (ours(kernel, &spec), theirs(&bytes, name, &autoload)) {
        (Ok(ours), Ok(theirs)) => {
            differences(&ours, &theirs, &mut outcome);
            return Ok(outcome);
        }
        (Err(error), Err(_)) if autoload.len() < 2 => {
            outcome.refused.push(error);
            return Ok(outcome);
        }
        _ => {}
    }
    for only in 0..autoload.len() {
        let chosen: Vec<bool> = (0..autoload.len()).map(|idx| idx == only).collect();
        for (prog, chosen) in spec.progs.iter_mut().zip(&chosen) {
            prog.autoload = *chosen;
        }
        let prog = &spec.progs[only].name;
        match (ours(kernel, &spec), theirs(&bytes, name, &chosen)) {
            (Ok(ours), Ok(theirs)) => differences(&ours, &theirs, &mut outcome),
            (Err(error), Err(_)) => outcome.refused.push(format!("{prog}: {error}")),
            (Ok(_), Err(errno)) => {
                let error = std::io::Error::from_raw_os_error(-errno);
                outcome.differences.push(format!("{prog}: libbpf does not load it: {error}"));
            }
            (Err(error), Ok(_)) => {
                outcome.differences.push(format!("{prog}: libbpf loads it, we do not: {error}"));
            }
        }
    }
    Ok(outcome)
}

/// Whether it needs to know how system calls are named.
fn asks_with_a_kprobe(spec: &Spec) -> bool {
    spec.externs.iter().any(|ext| ext.name == "LINUX_HAS_SYSCALL_WRAPPER")
}

/// Sizes that programs leave to their loader, and no pins: as [`libbpf::open_only`] does it.
fn complete(map: &mut stylet_object::MapSpec) {
    map.pinning = Pinning::None;
    if map.map_type == MapType::STACK_TRACE && map.value_size == 0 {
        map.value_size = libbpf::STACK_BYTES;
    }
    let unsized_types = [MapType::TASK_STORAGE, MapType::PERF_EVENT_ARRAY];
    if map.max_entries == 0 && !unsized_types.contains(&map.map_type) {
        map.max_entries = libbpf::PAGE;
    }
}

fn ours(kernel: &Kernel, spec: &Spec) -> Result<Held, String> {
    let options = LoadOptions { kconfig: KCONFIG, ..LoadOptions::default() };
    let loaded = load(kernel, spec, &options).map_err(|error| error.to_string())?;
    let maps: Vec<BorrowedFd<'_>> = loaded.maps.iter().map(AsFd::as_fd).collect();
    let progs: Vec<BorrowedFd<'_>> = loaded.progs.iter().map(AsFd::as_fd).collect();
    held(&progs, &maps)
}

fn theirs(bytes: &[u8], name: &str, autoload: &[bool]) -> Result<Held, i32> {
    let object = libbpf::open_only(bytes, name, KCONFIG)?;
    let mut progs = Vec::new();
    // SAFETY: the object is open, and each program is one of its own.
    unsafe {
        let mut prog = sys::bpf_object__next_program(object.as_ptr(), ptr::null_mut());
        while !prog.is_null() {
            let chosen = autoload.get(progs.len()).copied().unwrap_or(false);
            sys::bpf_program__set_autoload(prog, chosen);
            progs.push((prog, chosen));
            prog = sys::bpf_object__next_program(object.as_ptr(), prog);
        }
        let err = sys::bpf_object__load(object.as_ptr());
        if err != 0 {
            return Err(err);
        }
        let progs: Vec<BorrowedFd<'_>> = progs
            .into_iter()
            .filter(|(_, chosen)| *chosen)
            .map(|(prog, _)| BorrowedFd::borrow_raw(sys::bpf_program__fd(prog)))
            .collect();
        let maps: Vec<BorrowedFd<'_>> = object
            .maps()
            .into_iter()
            .map(|map| BorrowedFd::borrow_raw(sys::bpf_map__fd(map)))
            .collect();
        held(&progs, &maps).map_err(|error| {
            eprintln!("{name}: {error}");
            -libc::EIO
        })
    }
}

/// Asks the kernel about programs and maps.
fn held(progs: &[BorrowedFd<'_>], maps: &[BorrowedFd<'_>]) -> Result<Held, String> {
    let failed = |errno| format!("BPF_OBJ_GET_INFO_BY_FD: {errno}");
    let mut held = Held::default();
    let mut ids = Vec::new();
    for &map in maps {
        let info = map_info(map).map_err(failed)?;
        let entry = list::map(map).map_err(failed)?;
        ids.push(info.id);
        held.maps.push(HeldMap {
            name: entry.name,
            map_type: info.map_type,
            sizes: [info.key_size, info.value_size, info.max_entries, info.map_flags],
            map_extra: info.map_extra,
            frozen: entry.frozen,
            has_btf: info.btf_id != 0,
            types: [info.btf_key_type_id, info.btf_value_type_id],
        });
    }
    for &prog in progs {
        held.progs.push(read_prog(prog, &ids).map_err(failed)?);
    }
    Ok(held)
}

fn read_prog(prog: BorrowedFd<'_>, ids: &[u32]) -> Result<HeldProg, stylet_kernel::sys::Errno> {
    let dump = list::dump(prog, DumpWish { xlated: true, lines: true, ..DumpWish::default() })?;
    let place = |id: u32| ids.iter().position(|&of| of == id);
    let mut xlated = dump.xlated;
    for slot in &mut xlated {
        if slot[0] == LDDW && MAP_LOADS.contains(&(slot[1] >> 4)) {
            let id = u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]);
            let place = place(id).map_or(u32::MAX, |place| place as u32);
            slot[4..].copy_from_slice(&place.to_le_bytes());
        }
    }
    let bytes = match dump.info.btf_id {
        0 => Vec::new(),
        id => btf_bytes(object_by_id(Cmd::BTF_GET_FD_BY_ID, id)?.as_fd())?,
    };
    let btf = stylet_btf::Btf::parse(&bytes).ok();
    let text = |off: u32| btf.as_ref().map_or("", |btf| btf.name(off)).to_owned();
    let func = |id: u32| btf.as_ref().map_or("", |btf| btf.type_name(id)).to_owned();
    let mut maps: Vec<Option<usize>> = dump.map_ids.iter().map(|&id| place(id)).collect();
    maps.sort_unstable();
    let end = dump.info.name.iter().position(|&b| b == 0).unwrap_or(dump.info.name.len());
    Ok(HeldProg {
        name: String::from_utf8_lossy(&dump.info.name[..end]).into_owned(),
        prog_type: dump.info.prog_type,
        gpl_compatible: dump.info.gpl_compatible & 1,
        tag: dump.info.tag,
        attach_btf_id: dump.info.attach_btf_id,
        maps,
        xlated,
        funcs: dump.funcs.iter().map(|f| (f.insn_off, func(f.type_id))).collect(),
        lines: dump
            .lines
            .iter()
            .map(|l| (l.insn_off, text(l.file_name_off), text(l.line_off), l.line_col))
            .collect(),
    })
}

fn differences(ours: &Held, theirs: &Held, outcome: &mut Outcome) {
    let differ = &mut outcome.differences;
    if (ours.progs.len(), ours.maps.len()) != (theirs.progs.len(), theirs.maps.len()) {
        differ.push("another number of programs or maps".into());
    }
    for (ours, theirs) in ours.maps.iter().zip(&theirs.maps) {
        outcome.maps += 1;
        if ours != theirs {
            differ.push(format!("map: ours {ours:?}\n     libbpf {theirs:?}"));
        }
    }
    for (ours, theirs) in ours.progs.iter().zip(&theirs.progs) {
        outcome.progs += 1;
        let head = |p: &HeldProg| {
            (p.name.clone(), p.prog_type, p.gpl_compatible, p.tag, p.attach_btf_id, p.maps.clone())
        };
        if head(ours) != head(theirs) {
            differ.push(format!("program: ours {:?}\n  libbpf {:?}", head(ours), head(theirs)));
        }
        let name = &ours.name;
        let slot = ours.xlated.iter().zip(&theirs.xlated).position(|(a, b)| a != b);
        if ours.xlated.len() != theirs.xlated.len() || slot.is_some() {
            differ.push(format!("program {name}: instructions differ from slot {slot:?} on"));
        }
        if ours.funcs != theirs.funcs {
            differ.push(format!("{name}: ours {:?}\n  libbpf {:?}", ours.funcs, theirs.funcs));
        }
        if ours.lines != theirs.lines {
            let line = ours.lines.iter().zip(&theirs.lines).find(|(a, b)| a != b);
            let (a, b) = (ours.lines.len(), theirs.lines.len());
            differ.push(format!("{name}: {a} lines, libbpf {b}; the first other one: {line:?}"));
        }
    }
}
