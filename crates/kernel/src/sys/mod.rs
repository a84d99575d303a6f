//! System calls: bpf(2), perf_event_open(2), ioctl(2). The only place with `unsafe`; what it exports is safe.
//!
//! Every descriptor is an [`OwnedFd`](std::os::fd::OwnedFd) that is closed on exec.

mod attr;
mod btf;
mod cpus;
mod elem;
mod epoll;
mod errno;
mod fs;
mod info;
mod link;
mod link_info;
mod link_ops;
mod map;
mod mapping;
mod perf;
mod prog;
mod prog_dump;
mod run;

pub use btf::btf_load;
pub use cpus::{online_cpus, possible_cpus};
pub use elem::ReadBatch;
pub use epoll::{epoll_add, epoll_create, epoll_wait};
pub use errno::Errno;
pub use fs::{file_system, mount};
pub use info::{
    BtfInfo, LinkInfo, MapInfo, ProgInfo, btf_info, map_info, next_id, object_by_id, prog_info,
    prog_map_ids,
};
pub use link::{LinkExtra, link_create, raw_tracepoint_open};
pub use link_info::{LinkRecord, TaskFd, link_record, task_fd_query, task_fd_query_of};
pub use link_ops::{iter_create, link_detach, link_update};
pub use map::{MapCreate, MapFd, freeze, get_pinned, pin};
pub use mapping::Mapping;
pub use perf::{
    PerfEventAttr, perf_event_disable, perf_event_enable, perf_event_open, perf_event_set_bpf,
};
pub use prog::{ProgAttr, prog_load};
pub use prog_dump::{DumpWish, FuncRecord, LineRecord, ProgDump, btf_bytes, prog_dump};
pub use run::{TestRunArgs, enable_stats, test_run};

use std::os::fd::{FromRawFd, OwnedFd};

use stylet_uapi::Cmd;

/// Calls bpf(2) and returns what it returns.
///
/// # Safety
/// `attr` must be what `cmd` expects, and each pointer in it must be valid for what the kernel does with it.
pub(crate) unsafe fn bpf<T>(cmd: Cmd, attr: &mut T) -> Result<i64, Errno> {
    // SAFETY: `attr` is a live object of the size that is given; the caller answers for what it holds.
    let ret =
        unsafe { libc::syscall(libc::SYS_bpf, cmd.0, core::ptr::from_mut(attr), size_of::<T>()) };
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// Like [`bpf`] for a command that returns a descriptor.
///
/// # Safety
/// As for [`bpf`]; `cmd` must return a descriptor.
pub(crate) unsafe fn bpf_fd<T>(cmd: Cmd, attr: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's contract is the same.
    let fd = unsafe { bpf(cmd, attr)? };
    // SAFETY: the kernel has just made this descriptor (with O_CLOEXEC) for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A name as the kernel takes it: at most 15 bytes and a NUL; characters other than `[A-Za-z0-9_.]` become `_`
/// (`bpf_obj_name_cpy`, kernel/bpf/syscall.c).
pub(crate) fn obj_name(name: &str) -> [u8; stylet_uapi::limits::OBJ_NAME_LEN] {
    let mut out = [0; stylet_uapi::limits::OBJ_NAME_LEN];
    for (to, from) in out.iter_mut().take(stylet_uapi::limits::OBJ_NAME_LEN - 1).zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || matches!(from, b'_' | b'.') { from } else { b'_' };
    }
    out
}

/// Bytes of a page.
pub(crate) fn page_size() -> u32 {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(size).unwrap_or(4096)
}

/// Lifts RLIMIT_MEMLOCK of this process; where it may not, to the hard limit.
pub(crate) fn raise_memlock() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is live for the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) } == 0 {
        return;
    }
    let mut limit = unlimited;
    // SAFETY: the limit is live for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        }
    }
}

/// What a command answers to a descriptor that is none: EBADF where it exists, EINVAL where it does not. For
/// `BPF_RAW_TRACEPOINT_OPEN` the question is whether it knows cookies.
pub(crate) fn command_answer(cmd: Cmd) -> Errno {
    let mut attr = [0_u32; 16];
    match cmd {
        Cmd::RAW_TRACEPOINT_OPEN => {
            attr[2] = u32::MAX;
            attr[4] = 1;
        }
        // The map's descriptor comes after four pointers and a count.
        Cmd::MAP_UPDATE_BATCH => attr[9] = u32::MAX,
        Cmd::LINK_CREATE | Cmd::LINK_DETACH | Cmd::ITER_CREATE | Cmd::PROG_BIND_MAP => {
            attr[0] = u32::MAX;
        }
        _ => return Errno(libc::EINVAL),
    }
    // SAFETY: pointers are null, and without the object that the descriptor should name none is looked at.
    match unsafe { bpf(cmd, &mut attr) } {
        Ok(_) => Errno(0),
        Err(errno) => errno,
    }
}

/// `BPF_PROG_BIND_MAP`: the map lives as long as the program.
pub fn prog_bind_map(
    prog: std::os::fd::BorrowedFd<'_>,
    map: std::os::fd::BorrowedFd<'_>,
) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let mut attr = [prog.as_raw_fd(), map.as_raw_fd(), 0];
    // SAFETY: the command takes no pointer.
    unsafe { bpf(Cmd::PROG_BIND_MAP, &mut attr) }.map(drop)
}
