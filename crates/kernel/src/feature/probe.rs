//! How each feature is found out: by trying it.

use std::os::fd::AsFd;

use stylet_btf::Kind;
use stylet_insn::Insn;
use stylet_uapi::{AttachType, MapType, ProgType};

use crate::attach::pmu::{Pmu, PmuKind};
use crate::attach::tracefs::EventKind;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::sys::{self, Errno, MapCreate, MapFd, ProgAttr};

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// The kernel has it.
    Present,
    /// It has not; what it answered, if it was asked.
    Absent(Option<Errno>),
    /// It does not let us find out.
    Denied(Errno),
}

impl Probed {
    /// Any success counts.
    fn of<T>(result: Result<T, Errno>) -> Probed {
        match result {
            Ok(_) => Probed::Present,
            Err(errno @ Errno(libc::EPERM)) => Probed::Denied(errno),
            Err(errno) => Probed::Absent(Some(errno)),
        }
    }
}

/// `r0 = 0; exit`
pub(crate) const RETURN_0: [[u8; 8]; 2] =
    [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

impl Feature {
    pub(crate) fn probe(self, kernel: &Kernel) -> Probed {
        match self {
            Feature::ProgType(prog_type) => prog_type_loads(kernel, prog_type),
            Feature::MapType(map_type) => map_type_is_made(map_type),
            Feature::ObjName => Probed::of(MapFd::create(&MapCreate { name: "stylet", ..ARRAY })),
            Feature::Btf => Probed::of(sys::btf_load(&int_btf(), None)),
            Feature::GlobalData => global_data(),
            Feature::KprobeEvents => tracefs_list(kernel, EventKind::Kprobe),
            Feature::UprobeEvents => tracefs_list(kernel, EventKind::Uprobe),
            Feature::KprobePmu => present(Pmu::exists(PmuKind::Kprobe)),
            Feature::UprobePmu => present(Pmu::exists(PmuKind::Uprobe)),
            Feature::RefCtr => {
                present(Pmu::find(kernel, PmuKind::Uprobe).is_ok_and(|pmu| pmu.ref_ctr.is_some()))
            }
            Feature::PerfLink => by_attach_type(kernel, AttachType(0), self),
            Feature::KprobeMulti => by_attach_type(kernel, AttachType::TRACE_KPROBE_MULTI, self),
            Feature::KprobeSession => {
                by_attach_type(kernel, AttachType::TRACE_KPROBE_SESSION, self)
            }
            Feature::UprobeMulti => by_attach_type(kernel, AttachType::TRACE_UPROBE_MULTI, self),
            Feature::UprobeSession => {
                by_attach_type(kernel, AttachType::TRACE_UPROBE_SESSION, self)
            }
            Feature::RawTpCookie => raw_tp_cookie(kernel),
            Feature::TracingCookie => has_member(kernel, "bpf_tramp_link", "cookie", self),
            Feature::IterTarget => has_member(kernel, "bpf_iter_aux_info", "task", self),
            Feature::EnableStats => Probed::of(sys::enable_stats()),
            Feature::TestRun(_) => by_release(kernel, self),
        }
    }
}

fn present(is: bool) -> Probed {
    if is { Probed::Present } else { Probed::Absent(None) }
}

fn tracefs_list(kernel: &Kernel, kind: EventKind) -> Probed {
    present(kernel.tracefs().is_ok_and(|tracefs| tracefs.root().join(kind.file()).exists()))
}

const ARRAY: MapCreate<'static> = MapCreate {
    map_type: MapType::ARRAY,
    name: "",
    key_size: 4,
    value_size: 32,
    max_entries: 1,
    map_flags: 0,
    numa_node: 0,
    map_extra: 0,
    inner: None,
    btf: None,
};

/// `.BTF` with one `int`.
fn int_btf() -> Vec<u8> {
    let mut btf = stylet_btf::BtfBuilder::new();
    btf.int("int", 4, stylet_btf::builder::IntEncoding::Signed);
    btf.to_bytes().unwrap_or_default()
}

/// The smallest program of a type; verifier's objections to it do not count.
fn prog_type_loads(kernel: &Kernel, prog_type: ProgType) -> Probed {
    let mut log = [0; 4096];
    let prog = ProgAttr {
        prog_type,
        insns: &RETURN_0,
        license: c"GPL",
        kern_version: kernel.version_code(),
        log_level: 1,
        ..ProgAttr::default()
    };
    match sys::prog_load(&prog, &mut log) {
        Ok(_) => Probed::Present,
        Err(errno @ Errno(libc::EPERM)) => Probed::Denied(errno),
        // The type was known, and the program looked at.
        Err(_) if log[0] != 0 => Probed::Present,
        Err(errno) => Probed::Absent(Some(errno)),
    }
}

fn map_type_is_made(map_type: MapType) -> Probed {
    let page = sys::page_size();
    let (key_size, value_size, max_entries) = match map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF => (0, 0, page),
        MapType::QUEUE | MapType::STACK | MapType::BLOOM_FILTER => (0, 4, 1),
        MapType::STACK_TRACE => (4, 8, 1),
        MapType::LPM_TRIE => (8, 4, 1),
        MapType::ARENA => (0, 0, 1),
        _ => (4, 4, 1),
    };
    let map_flags = match map_type {
        MapType::LPM_TRIE => stylet_uapi::flags::map_flags::NO_PREALLOC,
        MapType::ARENA => stylet_uapi::flags::map_flags::MMAPABLE,
        _ => 0,
    };
    let inner = match map_type {
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => match MapFd::create(&ARRAY) {
            Ok(map) => Some(map),
            Err(errno) => return Probed::of::<()>(Err(errno)),
        },
        _ => None,
    };
    let inner = inner.as_ref().map(AsFd::as_fd);
    Probed::of(MapFd::create(&MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries,
        map_flags,
        inner,
        ..ARRAY
    }))
}

/// A program that takes the address of an array's value.
fn global_data() -> Probed {
    use std::os::fd::AsRawFd;
    let map = match MapFd::create(&ARRAY) {
        Ok(map) => map,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    let fd = map.as_fd().as_raw_fd();
    let insns = [
        Insn::new(stylet_insn::opcode::LDDW, 1, stylet_insn::opcode::PSEUDO_MAP_VALUE, 0, fd),
        Insn::new(0, 0, 0, 0, 16),
    ]
    .map(Insn::to_bytes);
    let insns = [insns[0], insns[1], RETURN_0[0], RETURN_0[1]];
    let prog = ProgAttr {
        prog_type: ProgType::SOCKET_FILTER,
        insns: &insns,
        license: c"GPL",
        ..ProgAttr::default()
    };
    Probed::of(sys::prog_load(&prog, &mut []))
}

/// Whether programs of an attach type load and links of it are refused for their arguments alone.
fn by_attach_type(kernel: &Kernel, attach_type: AttachType, feature: Feature) -> Probed {
    let prog = ProgAttr {
        prog_type: ProgType::KPROBE,
        attach_type,
        insns: &RETURN_0,
        license: c"GPL",
        kern_version: kernel.version_code(),
        ..ProgAttr::default()
    };
    let prog = match sys::prog_load(&prog, &mut []) {
        Ok(prog) => prog,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    let names = [c"stylet_no_such_function"];
    let (target, extra) = match feature {
        Feature::KprobeMulti | Feature::KprobeSession => {
            (0, sys::LinkExtra::KprobeMulti { flags: 0, syms: &names, addrs: &[], cookies: &[] })
        }
        Feature::UprobeMulti | Feature::UprobeSession => (
            0,
            sys::LinkExtra::UprobeMulti {
                flags: 0,
                // A directory: refused after everything else was found right.
                path: c"/",
                offsets: &[0],
                ref_ctr_offsets: &[],
                cookies: &[],
                pid: 0,
            },
        ),
        _ => (-1, sys::LinkExtra::PerfEvent { cookie: 0 }),
    };
    let attach_type = if attach_type.0 == 0 { AttachType::PERF_EVENT } else { attach_type };
    match sys::link_create(prog.as_fd(), target, attach_type, 0, &extra) {
        Err(Errno(libc::ESRCH | libc::EBADF)) | Ok(_) => Probed::Present,
        Err(errno) => Probed::of::<()>(Err(errno)),
    }
}

/// A cookie for a tracepoint that does not exist: refused as too much before the name is looked up, where it is not known.
fn raw_tp_cookie(kernel: &Kernel) -> Probed {
    let prog = ProgAttr {
        prog_type: ProgType::RAW_TRACEPOINT,
        insns: &RETURN_0,
        license: c"GPL",
        kern_version: kernel.version_code(),
        ..ProgAttr::default()
    };
    let prog = match sys::prog_load(&prog, &mut []) {
        Ok(prog) => prog,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    match sys::raw_tracepoint_open(prog.as_fd(), Some(c"stylet_no_such_tracepoint"), 1) {
        Err(Errno(libc::ENOENT)) | Ok(_) => Probed::Present,
        Err(errno) => Probed::of::<()>(Err(errno)),
    }
}

/// Whether a struct of the kernel has a member: for what the kernel ignores silently where it does not know it. By the
/// release where there is no BTF.
fn has_member(kernel: &Kernel, name: &str, member: &str, feature: Feature) -> Probed {
    let Some(btf) = kernel.vmlinux() else { return by_release(kernel, feature) };
    let members = btf
        .find_by_name_kind(name, Kind::Struct)
        .and_then(|id| btf.type_by_id(id))
        .and_then(|found| found.composite());
    let found =
        members.is_some_and(|found| found.members().any(|m| btf.name(m.name_off) == member));
    if found { Probed::Present } else { Probed::Absent(None) }
}

fn by_release(kernel: &Kernel, feature: Feature) -> Probed {
    match feature.since() {
        Some(since) if kernel.release() >= since => Probed::Present,
        _ => Probed::Absent(None),
    }
}
