//! How each feature is found out: by trying it.

use std::os::fd::{AsFd, AsRawFd};

use stylet_btf::Kind;
use stylet_insn::{Insn, opcode};
use stylet_uapi::flags::map_flags;
use stylet_uapi::{AttachType, Cmd, HelperId, MapType, ProgType};

use super::types;
use crate::attach::pmu::PmuKind;
use crate::attach::tracefs::{EventKind, Tracefs};
use crate::feature::Feature;
use crate::kernel::{Kernel, addresses};
use crate::sys::{self, Errno, LinkExtra, MapCreate, MapFd, ProgAttr};

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
    pub(super) fn of<T>(result: Result<T, Errno>) -> Probed {
        match result {
            Ok(_) => Probed::Present,
            Err(errno @ Errno(libc::EPERM | libc::ENOSYS)) => Probed::Denied(errno),
            Err(errno) => Probed::Absent(Some(errno)),
        }
    }

    /// For calls with an argument that is wrong on purpose: these answers mean that the kernel got as far as to see it.
    fn unless<T>(result: Result<T, Errno>, seen: &[i32]) -> Probed {
        match result {
            Err(errno) if seen.contains(&errno.0) => Probed::Present,
            other => Probed::of(other),
        }
    }

    fn from_bool(present: bool) -> Probed {
        if present { Probed::Present } else { Probed::Absent(None) }
    }
}

/// `r0 = 0; exit`
pub(crate) const RETURN_0: [[u8; 8]; 2] =
    [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

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

impl Feature {
    pub(crate) fn probe(self, kernel: &Kernel) -> Probed {
        match self {
            Feature::ProgType(prog_type) => prog_type_loads(kernel, prog_type),
            Feature::MapType(map_type) => map_type_is_made(map_type),
            Feature::Helper(id, prog_type) => helper(kernel, self, id, prog_type),
            Feature::Kfunc(name) => kfunc(kernel, name),
            Feature::TestRun(_) => by_release(kernel, self),
            Feature::ObjName => Probed::of(MapFd::create(&MapCreate { name: "stylet", ..ARRAY })),
            Feature::Btf
            | Feature::BtfFunc
            | Feature::BtfDatasec
            | Feature::BtfFuncGlobal
            | Feature::BtfFloat
            | Feature::BtfDeclTag
            | Feature::BtfTypeTag
            | Feature::BtfEnum64
            | Feature::BtfQmarkDatasec => types::probe(self),
            Feature::ArgCtxTag => types::arg_ctx_tag(),
            Feature::Vmlinux => Probed::from_bool(kernel.vmlinux().is_some()),
            Feature::ModuleBtf => {
                let split =
                    Feature::ModuleBtf.since().is_some_and(|since| kernel.release() >= since);
                Probed::from_bool(
                    split && kernel.config("CONFIG_DEBUG_INFO_BTF_MODULES") != Some("n"),
                )
            }
            Feature::GlobalData => with_array(ARRAY, global_data),
            Feature::MapFreeze => with_array(ARRAY, |map| Probed::of(sys::freeze(map.as_fd()))),
            Feature::MmapableArray => flagged_array(map_flags::MMAPABLE),
            Feature::InnerMapSize => flagged_array(map_flags::INNER_MAP),
            Feature::ProbeReadKernel => {
                helper(kernel, self, HelperId::PROBE_READ_KERNEL, ProgType::TRACEPOINT)
            }
            Feature::BpfCookie => {
                helper(kernel, self, HelperId::GET_ATTACH_COOKIE, ProgType::KPROBE)
            }
            Feature::MemcgAccounting => {
                // The helper of the same release that libbpf looks for.
                helper(kernel, self, HelperId::KTIME_GET_COARSE_NS, ProgType::SOCKET_FILTER)
            }
            Feature::SyscallWrapper => {
                let name = "__x64_sys_bpf";
                Probed::from_bool(
                    addresses(kernel, &[name]).is_ok_and(|found| found.contains_key(name)),
                )
            }
            _ => attach_feature(kernel, self),
        }
    }
}

/// Features of program loading and attaching.
fn attach_feature(kernel: &Kernel, feature: Feature) -> Probed {
    match feature {
        Feature::ExpectedAttachType => {
            let prog = ProgAttr {
                prog_type: ProgType::CGROUP_SOCK,
                attach_type: AttachType::CGROUP_INET_SOCK_CREATE,
                insns: &RETURN_0,
                license: c"GPL",
                ..ProgAttr::default()
            };
            Probed::of(sys::prog_load(&prog, &mut []))
        }
        Feature::SleepableUprobe => {
            let prog = ProgAttr {
                prog_flags: stylet_uapi::flags::prog_flags::SLEEPABLE,
                ..kprobe(kernel, AttachType(0))
            };
            Probed::of(sys::prog_load(&prog, &mut []))
        }
        // A descriptor that is wrong is EBADF to a command that exists, and EINVAL to one that does not.
        Feature::LinkCreate => command(Cmd::LINK_CREATE),
        Feature::LinkDetach => command(Cmd::LINK_DETACH),
        Feature::LinkIter => command(Cmd::ITER_CREATE),
        Feature::RawTpCookie => command(Cmd::RAW_TRACEPOINT_OPEN),
        Feature::BatchOps => command(Cmd::MAP_UPDATE_BATCH),
        Feature::ProgBindMap => command(Cmd::PROG_BIND_MAP),
        Feature::LinkInfo => Probed::of(sys::next_id(Cmd::LINK_GET_NEXT_ID, 0)),
        Feature::EnableStats => Probed::of(sys::enable_stats()),
        Feature::TracingCookie => {
            // It moved to the node in 7.2.
            match has_member(kernel, "bpf_tramp_link", "cookie", feature) {
                Probed::Present => Probed::Present,
                _ => has_member(kernel, "bpf_tramp_node", "cookie", feature),
            }
        }
        Feature::IterTarget => has_member(kernel, "bpf_iter_aux_info", "task", feature),
        Feature::KprobeEvents => tracefs_list(kernel, EventKind::Kprobe),
        Feature::UprobeEvents => tracefs_list(kernel, EventKind::Uprobe),
        Feature::KprobePmu => Probed::from_bool(kernel.pmu(PmuKind::Kprobe).is_some()),
        Feature::UprobePmu => Probed::from_bool(kernel.pmu(PmuKind::Uprobe).is_some()),
        Feature::RefCtr => {
            Probed::from_bool(kernel.pmu(PmuKind::Uprobe).is_some_and(|pmu| pmu.ref_ctr.is_some()))
        }
        Feature::KprobeMulti => by_attach_type(kernel, AttachType::TRACE_KPROBE_MULTI),
        Feature::KprobeSession => by_attach_type(kernel, AttachType::TRACE_KPROBE_SESSION),
        Feature::UprobeMulti => by_attach_type(kernel, AttachType::TRACE_UPROBE_MULTI),
        Feature::UprobeSession => by_attach_type(kernel, AttachType::TRACE_UPROBE_SESSION),
        Feature::PerfLink => by_attach_type(kernel, AttachType(0)),
        _ => Probed::Absent(None),
    }
}

/// Where no call tells.
fn by_release(kernel: &Kernel, feature: Feature) -> Probed {
    Probed::from_bool(feature.since().is_some_and(|since| kernel.release() >= since))
}

/// Whether a struct of the kernel has a member: for what the kernel ignores silently where it does not know it. Where it
/// has not (newer
/// releases may have moved it) or there is no BTF, by the release.
fn has_member(kernel: &Kernel, name: &str, member: &str, feature: Feature) -> Probed {
    let Some(btf) = kernel.vmlinux() else { return by_release(kernel, feature) };
    let members = btf
        .find_by_name_kind(name, Kind::Struct)
        .and_then(|id| btf.type_by_id(id))
        .and_then(|found| found.composite());
    let found =
        members.is_some_and(|found| found.members().any(|m| btf.name(m.name_off) == member));
    if found { Probed::Present } else { by_release(kernel, feature) }
}

fn tracefs_list(kernel: &Kernel, kind: EventKind) -> Probed {
    let exists = |tracefs: &Tracefs| tracefs.root().join(kind.file()).exists();
    Probed::from_bool(kernel.tracefs().is_ok_and(exists))
}

fn kprobe(kernel: &Kernel, attach_type: AttachType) -> ProgAttr<'static> {
    ProgAttr {
        prog_type: ProgType::KPROBE,
        attach_type,
        insns: &RETURN_0,
        license: c"GPL",
        kern_version: kernel.version_code(),
        ..ProgAttr::default()
    }
}

fn command(cmd: Cmd) -> Probed {
    Probed::unless::<()>(Err(sys::command_answer(cmd)), &[libc::EBADF])
}

/// The smallest program of a type; the verifier's objections to it do not count.
fn prog_type_loads(kernel: &Kernel, prog_type: ProgType) -> Probed {
    let mut log = [0; 4096];
    let mut prog = ProgAttr {
        prog_type,
        insns: &RETURN_0,
        license: c"GPL",
        kern_version: kernel.version_code(),
        log_level: 1,
        ..ProgAttr::default()
    };
    match prog_type {
        ProgType::SYSCALL => prog.prog_flags = stylet_uapi::flags::prog_flags::SLEEPABLE,
        ProgType::CGROUP_SOCK_ADDR => prog.attach_type = AttachType::CGROUP_INET4_CONNECT,
        ProgType::CGROUP_SOCKOPT => prog.attach_type = AttachType::CGROUP_SETSOCKOPT,
        ProgType::SK_LOOKUP => prog.attach_type = AttachType::SK_LOOKUP,
        ProgType::NETFILTER => prog.attach_type = AttachType::NETFILTER,
        // What they attach to has to be named by a BTF id; the least wrong one tells.
        ProgType::TRACING => prog.attach_type = AttachType::TRACE_FENTRY,
        ProgType::LSM => prog.attach_type = AttachType::LSM_MAC,
        _ => {}
    }
    match sys::prog_load(&prog, &mut log) {
        Ok(_) => Probed::Present,
        Err(errno @ Errno(libc::EPERM | libc::ENOSYS)) => Probed::Denied(errno),
        // The type was known, and the program looked at.
        Err(_) if log[0] != 0 => Probed::Present,
        Err(_) if matches!(prog_type, ProgType::TRACING | ProgType::LSM | ProgType::EXT) => {
            prog.attach_btf_id = 1;
            Probed::unless(
                sys::prog_load(&prog, &mut log),
                if log[0] != 0 { &[libc::EINVAL] } else { &[] },
            )
        }
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
        MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => (8, 8, 0),
        MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE => return storage(map_type),
        _ => (4, 4, 1),
    };
    let map_flags = match map_type {
        MapType::LPM_TRIE => map_flags::NO_PREALLOC,
        MapType::ARENA => map_flags::MMAPABLE,
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
    let map = MapCreate { map_type, key_size, value_size, max_entries, map_flags, inner, ..ARRAY };
    Probed::of(MapFd::create(&map))
}

/// Local storage wants BTF of its key and value.
fn storage(map_type: MapType) -> Probed {
    let mut btf = stylet_btf::BtfBuilder::new();
    let int = btf.int("int", 4, stylet_btf::builder::IntEncoding::Signed);
    let btf = match sys::btf_load(&btf.to_bytes().unwrap_or_default(), None) {
        Ok(btf) => btf,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    let map = MapCreate {
        map_type,
        value_size: 4,
        max_entries: 0,
        map_flags: map_flags::NO_PREALLOC,
        btf: Some((btf.as_fd(), int, int)),
        ..ARRAY
    };
    Probed::of(MapFd::create(&map))
}

fn flagged_array(map_flags: u32) -> Probed {
    Probed::of(MapFd::create(&MapCreate { map_flags, ..ARRAY }))
}

fn with_array(map: MapCreate<'_>, then: impl FnOnce(&MapFd) -> Probed) -> Probed {
    match MapFd::create(&map) {
        Ok(map) => then(&map),
        Err(errno) => Probed::of::<()>(Err(errno)),
    }
}

/// A program that takes the address of an array's value.
fn global_data(map: &MapFd) -> Probed {
    let fd = map.as_fd().as_raw_fd();
    let load = Insn::new(opcode::LDDW, 1, opcode::PSEUDO_MAP_VALUE, 0, fd).to_bytes();
    let insns = [load, Insn::new(0, 0, 0, 0, 16).to_bytes(), RETURN_0[0], RETURN_0[1]];
    let prog = ProgAttr {
        prog_type: ProgType::SOCKET_FILTER,
        insns: &insns,
        license: c"GPL",
        ..ProgAttr::default()
    };
    Probed::of(sys::prog_load(&prog, &mut []))
}

/// A program that calls the helper: the verifier's objections to arguments do not count, those to the helper do
/// (`check_helper_call`, kernel/bpf/verifier.c).
fn helper(kernel: &Kernel, feature: Feature, id: HelperId, prog_type: ProgType) -> Probed {
    // Such programs cannot be loaded without a target.
    if matches!(prog_type, ProgType::TRACING | ProgType::LSM | ProgType::EXT | ProgType::STRUCT_OPS)
    {
        return by_release(kernel, feature);
    }
    let insns =
        [Insn::new(opcode::JMP | opcode::CALL, 0, 0, 0, id.0 as i32).to_bytes(), RETURN_0[1]];
    let mut log = [0; 4096];
    let sleepable = prog_type == ProgType::SYSCALL;
    let prog = ProgAttr {
        prog_type,
        insns: &insns,
        license: c"GPL",
        kern_version: kernel.version_code(),
        prog_flags: if sleepable { stylet_uapi::flags::prog_flags::SLEEPABLE } else { 0 },
        log_level: 1,
        ..ProgAttr::default()
    };
    let errno = match sys::prog_load(&prog, &mut log) {
        Ok(_) => return Probed::Present,
        Err(errno @ Errno(libc::EPERM | libc::ENOSYS)) => return Probed::Denied(errno),
        Err(errno) => errno,
    };
    let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]);
    let refusals = ["invalid func ", "unknown func ", "program of this type cannot use helper "];
    if log.is_empty() || refusals.iter().any(|text| log.contains(text)) {
        Probed::Absent(Some(errno))
    } else {
        Probed::Present
    }
}

/// A kfunc is there if the kernel or a module has a function of that name in its types.
fn kfunc(kernel: &Kernel, name: &str) -> Probed {
    let Some(vmlinux) = kernel.vmlinux() else { return Probed::Absent(None) };
    let func = Kind::Func;
    let found = vmlinux.find_by_name_kind(name, func).is_some()
        || kernel.modules().iter().any(|module| module.btf.find_by_name_kind(name, func).is_some());
    Probed::from_bool(found)
}

/// Whether programs of an attach type load, and a link of it is refused for its arguments alone.
fn by_attach_type(kernel: &Kernel, attach_type: AttachType) -> Probed {
    let prog = match sys::prog_load(&kprobe(kernel, attach_type), &mut []) {
        Ok(prog) => prog,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    let names = [c"stylet_no_such_function"];
    let kprobes = LinkExtra::KprobeMulti { flags: 0, syms: &names, addrs: &[], cookies: &[] };
    // A directory: refused after everything else was found right (`bpf_uprobe_multi_link_attach`).
    let uprobes = LinkExtra::UprobeMulti {
        flags: 0,
        path: c"/",
        offsets: &[0],
        ref_ctr_offsets: &[],
        cookies: &[],
        pid: 0,
    };
    match attach_type {
        AttachType::TRACE_KPROBE_MULTI | AttachType::TRACE_KPROBE_SESSION => {
            let made = sys::link_create(prog.as_fd(), 0, attach_type, 0, &kprobes);
            Probed::unless(made, &[libc::ESRCH])
        }
        AttachType::TRACE_UPROBE_MULTI | AttachType::TRACE_UPROBE_SESSION => {
            let made = sys::link_create(prog.as_fd(), 0, attach_type, 0, &uprobes);
            Probed::unless(made, &[libc::EBADF])
        }
        _ => {
            let cookie = LinkExtra::PerfEvent { cookie: 0 };
            let made = sys::link_create(prog.as_fd(), -1, AttachType::PERF_EVENT, 0, &cookie);
            Probed::unless(made, &[libc::EBADF])
        }
    }
}
