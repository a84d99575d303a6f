//! Compares what Stylet and libbpf make of the same object file: maps, section names, linked and relocated
//! instructions, line information.

pub mod libbpf;
pub mod loading;

use std::fs;
use std::path::Path;

use stylet_btf::{Btf, Type};
use stylet_insn::{Insn, disasm};
use stylet_object::{Error, MapKind, MapSpec, Options, Pinning, ProgSpec, Spec, Target};
use stylet_uapi::MapType;

/// Kernel configuration that both are given, `NAME=value` a line: what the machine's does not say is never asked.
pub const KCONFIG: &str = "\
CONFIG_HZ=1000
CONFIG_BPF_SYSCALL=y
CONFIG_NET_KEY=m
CONFIG_NET_KEY_AS_CHAR=y
CONFIG_DEFAULT_HOSTNAME=\"(none)\"
CONFIG_LONG=0xdeadbeefcafe
CONFIG_NOT_THERE=-5
";

/// The machine's kernel, as a target.
pub struct Host {
    btf: Btf,
    kallsyms: Vec<(String, u64)>,
    version: u32,
}

impl Host {
    /// Reads the kernel's types, symbols and version.
    pub fn new() -> Result<Host, String> {
        let bytes =
            fs::read("/sys/kernel/btf/vmlinux").map_err(|err| format!("vmlinux BTF: {err}"))?;
        let btf = Btf::parse(&bytes).map_err(|err| format!("vmlinux BTF: {err}"))?;
        let text =
            fs::read_to_string("/proc/kallsyms").map_err(|err| format!("kallsyms: {err}"))?;
        let kallsyms = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?.to_string(), address))
        });
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_err(|err| format!("release: {err}"))?;
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
        let mut number = || numbers.next().unwrap_or(0);
        let version = (number() << 16) + (number() << 8) + number().min(255);
        Ok(Host { btf, kallsyms: kallsyms.collect(), version })
    }

    /// `syscall_wrapper`: libbpf finds out with a kprobe, which not every machine lets it have.
    fn relocate(&self, spec: &Spec, syscall_wrapper: bool) -> Result<Spec, Error> {
        let kconfig = |name: &str| {
            let line = KCONFIG.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_string)
        };
        let ksym = |name: &str| {
            self.kallsyms.iter().find(|(symbol, _)| symbol == name).map(|&(_, address)| address)
        };
        spec.relocate(&Target {
            btf: Some(&self.btf),
            kernel_version: self.version,
            has_bpf_cookie: true,
            has_syscall_wrapper: syscall_wrapper,
            kconfig: &kconfig,
            ksym: &ksym,
            ..Target::default()
        })
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Differences, a line each; none when both agree.
    pub differences: Vec<String>,
    /// Programs whose instructions were compared.
    pub progs: usize,
    /// Slots that were compared.
    pub slots: usize,
}

/// Compares one object file.
pub fn compare(host: &Host, path: &Path) -> Result<Outcome, String> {
    let bytes = fs::read(path).map_err(|err| format!("{}: {err}", path.display()))?;
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = file.split('.').next().unwrap_or_default();
    let ours = Spec::parse_with(&bytes, &Options { name: file, ..Options::default() });
    let theirs = libbpf::open(&bytes, name, KCONFIG);
    let mut outcome = Outcome::default();
    let differ = &mut outcome.differences;
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return Ok(outcome),
        (Ok(_), Err(errno)) => {
            differ.push(format!(
                "libbpf does not open it: {}",
                std::io::Error::from_raw_os_error(-errno)
            ));
            return Ok(outcome);
        }
        (Err(err), Ok(_)) => {
            differ.push(format!("libbpf opens it, we do not: {err}"));
            return Ok(outcome);
        }
    };
    compare_maps(differ, &ours.maps, &theirs.maps);
    match (host.relocate(&ours, true), &theirs.progs) {
        (Ok(relocated), Ok(progs)) => {
            let mut contents = Vec::new();
            compare_contents(&mut contents, &relocated.maps, &theirs.contents);
            if !contents.is_empty()
                && let Ok(other) = host.relocate(&ours, false)
            {
                contents.clear();
                compare_contents(&mut contents, &other.maps, &theirs.contents);
            }
            differ.append(&mut contents);
            compare_btf(differ, relocated.btf.as_ref(), theirs.btf.as_deref());
            let ours = relocated;
            if ours.progs.len() != progs.len() {
                differ.push(format!("{} programs, libbpf has {}", ours.progs.len(), progs.len()));
            }
            for (ours, theirs) in ours.progs.iter().zip(progs) {
                compare_prog(differ, ours, theirs);
                outcome.progs += 1;
                outcome.slots += ours.insns.len();
            }
        }
        (Err(_), Err(_)) => {}
        (Ok(_), &Err(errno)) => {
            differ.push(format!(
                "libbpf does not prepare it: {}",
                std::io::Error::from_raw_os_error(-errno)
            ));
        }
        (Err(err), Ok(_)) => differ.push(format!("libbpf relocates it, we do not: {err}")),
    }
    Ok(outcome)
}

fn compare_maps(differ: &mut Vec<String>, ours: &[MapSpec], theirs: &[libbpf::Map]) {
    let ours: Vec<libbpf::Map> = ours.iter().map(as_libbpf).collect();
    if ours.len() != theirs.len() {
        differ.push(format!("{} maps, libbpf has {}", ours.len(), theirs.len()));
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        if ours != theirs {
            differ.push(format!("map: ours {ours:?}\n     libbpf {theirs:?}"));
        }
    }
}

fn as_libbpf(map: &MapSpec) -> libbpf::Map {
    let is_ringbuf = matches!(map.map_type, MapType::RINGBUF | MapType::USER_RINGBUF);
    libbpf::Map {
        // libbpf answers with the section's name where there is more than the prefix of an object's name.
        name: match map.kind {
            MapKind::User => map.name.clone(),
            _ if map.section.matches('.').count() > 1 => map.section.clone(),
            _ => map.name.clone(),
        },
        map_type: map.map_type.0,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: if is_ringbuf { ringbuf_size(map.max_entries) } else { map.max_entries },
        map_flags: map.map_flags,
        numa_node: map.numa_node,
        map_extra: map.map_extra,
        btf_key_type_id: map.btf_key_type_id,
        btf_value_type_id: map.btf_value_type_id,
        pinned: map.pinning == Pinning::ByName,
        inner: map.inner.as_ref().map(|inner| Box::new(as_libbpf(inner))),
        contents: (map.kind != MapKind::User).then(|| map.contents.clone()),
    }
}

/// The adjustment that is a loader's: the next power of two of pages.
fn ringbuf_size(size: u32) -> u32 {
    const PAGE: u32 = 4096;
    match size {
        0 => 0,
        _ => size.div_ceil(PAGE).checked_next_power_of_two().map_or(size, |pages| pages * PAGE),
    }
}

/// Compares what is filled in from ELF: sections, and linkage of variables and functions. `.ksyms` is left alone by us.
fn compare_btf(differ: &mut Vec<String>, ours: Option<&Btf>, theirs: Option<&[u8]>) {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
    let theirs = match Btf::parse(theirs) {
        Ok(theirs) => theirs,
        Err(err) => return differ.push(format!("libbpf's BTF: {err}")),
    };
    let proto = |id: u32| match ours.type_by_id(id) {
        Some(Type::Func(func)) => Some(func.ty),
        _ => None,
    };
    let is_ksyms =
        |ty: &Type<'_>| matches!(ty, Type::DataSec(s) if ours.name(s.name_off) == ".ksyms");
    let ksyms: Vec<u32> = ours
        .types()
        .filter_map(|(_, ty)| if is_ksyms(&ty) { Some(ty) } else { None })
        .flat_map(|ty| match ty {
            Type::DataSec(section) => {
                section.vars().flat_map(|var| [Some(var.ty), proto(var.ty)]).flatten().collect()
            }
            _ => Vec::new(),
        })
        .collect();
    for (id, ty) in ours.types().filter(|(id, ty)| !is_ksyms(ty) && !ksyms.contains(id)) {
        let other = theirs.type_by_id(id);
        let equal = match (ty, other) {
            (Type::DataSec(a), Some(Type::DataSec(b))) => a.size == b.size && a.vars().eq(b.vars()),
            (a, Some(b)) => a == b,
            (_, None) => false,
        };
        if !equal {
            differ.push(format!("BTF [{id}]: ours {ty:?}\n  libbpf {other:?}"));
        }
    }
}

fn compare_contents(differ: &mut Vec<String>, ours: &[MapSpec], theirs: &[Option<Vec<u8>>]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        if let Some(theirs) = theirs
            && ours.kind != MapKind::User
            && *theirs != ours.contents
        {
            differ.push(format!(
                "contents of {}: ours {:02x?}\n  libbpf {theirs:02x?}",
                ours.name, ours.contents
            ));
        }
    }
}

fn compare_prog(differ: &mut Vec<String>, ours: &ProgSpec, theirs: &libbpf::Prog) {
    let head = |prog_type, attach_type, name: &str, section: &str, autoload| {
        format!(
            "program {name} in {section}: type {prog_type} attach {attach_type} autoload {autoload}"
        )
    };
    let sec = &ours.sec;
    let our_head =
        head(sec.prog_type.0, sec.expected_attach_type.0, &ours.name, &ours.section, ours.autoload);
    let their_head = head(
        theirs.prog_type,
        theirs.expected_attach_type,
        &theirs.name,
        &theirs.section,
        theirs.autoload,
    );
    if our_head != their_head {
        differ.push(format!("{our_head}\n  libbpf {their_head}"));
        return;
    }
    // libbpf neither links nor relocates what is not to be loaded.
    if !ours.autoload {
        return;
    }
    if let Some(text) = first_difference(&ours.insns, &theirs.insns) {
        differ.push(format!("program {}: {text}", ours.name));
    }
    let funcs: Vec<_> = ours.func_info.iter().map(|f| (f.insn_idx, f.type_id)).collect();
    if funcs != theirs.func_info {
        differ.push(format!(
            "program {}: func_info {funcs:?}\n  libbpf {:?}",
            ours.name, theirs.func_info
        ));
    }
    let lines = ours.line_info.iter();
    let lines: Vec<_> =
        lines.map(|l| (l.insn_idx, l.file_name_off, l.line_off, l.line << 10 | l.col)).collect();
    if lines != theirs.line_info {
        differ.push(format!(
            "program {}: line_info {lines:?}\n  libbpf {:?}",
            ours.name, theirs.line_info
        ));
    }
}

fn first_difference(ours: &[Insn], theirs: &[Insn]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} slots, libbpf has {}", ours.len(), theirs.len()));
    }
    let idx = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs)?;
    let text =
        |insns: &[Insn]| format!("{} {:?}", disasm(&insns[idx], insns.get(idx + 1)), insns[idx]);
    Some(format!("slot {idx}: ours {}\n  libbpf {}", text(ours), text(theirs)))
}
