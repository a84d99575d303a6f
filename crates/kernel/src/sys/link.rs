//! Links: `BPF_LINK_CREATE`, `BPF_RAW_TRACEPOINT_OPEN`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::{AttachType, Cmd};

use super::attr::{LinkCreateAttr, RawTracepointAttr};
use super::{Errno, bpf_fd};

/// What the attach type of a link asks for besides program and target.
#[derive(Clone, Copy, Debug)]
pub enum LinkExtra<'a> {
    /// Nothing.
    None,
    /// `BPF_PERF_EVENT`
    PerfEvent {
        /// Cookie, 0 for none.
        cookie: u64,
    },
    /// `BPF_TRACE_KPROBE_MULTI`, `BPF_TRACE_KPROBE_SESSION`: either `syms` or `addrs`.
    KprobeMulti {
        /// `BPF_F_KPROBE_MULTI_*`
        flags: u32,
        /// Functions by name.
        syms: &'a [&'a CStr],
        /// Functions by address.
        addrs: &'a [u64],
        /// Empty, or one for each function.
        cookies: &'a [u64],
    },
    /// `BPF_TRACE_UPROBE_MULTI`, `BPF_TRACE_UPROBE_SESSION`
    UprobeMulti {
        /// `BPF_F_UPROBE_MULTI_*`
        flags: u32,
        /// File.
        path: &'a CStr,
        /// File offsets.
        offsets: &'a [u64],
        /// Empty, or one file offset of a counter for each place.
        ref_ctr_offsets: &'a [u64],
        /// Empty, or one for each place.
        cookies: &'a [u64],
        /// Process, 0 for all.
        pid: u32,
    },
    /// fentry and its neighbours, tp_btf, LSM.
    Tracing {
        /// Target in another program; 0: what the program was loaded for.
        target_btf_id: u32,
        /// Cookie, 0 for none.
        cookie: u64,
    },
    /// `BPF_TRACE_ITER`: `union bpf_iter_link_info`, maybe empty.
    Iter {
        /// Its bytes.
        info: &'a [u8],
    },
}

/// `BPF_LINK_CREATE`. `target` is a descriptor, an interface index or whatever else the attach type wants; 0 for none.
pub fn link_create(
    prog: BorrowedFd<'_>,
    target: i32,
    attach_type: AttachType,
    flags: u32,
    extra: &LinkExtra<'_>,
) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreateAttr {
        prog_fd: prog.as_raw_fd() as u32,
        target: target as u32,
        attach_type: attach_type.0,
        flags,
        ..LinkCreateAttr::default()
    };
    let count = |len: usize| u32::try_from(len).map_err(|_| Errno(libc::E2BIG));
    let fits = |list: &[u64], cnt: usize| list.is_empty() || list.len() == cnt;
    let pointer = |list: &[u64]| if list.is_empty() { 0 } else { list.as_ptr() as u64 };
    let names: Vec<*const libc::c_char>;
    match *extra {
        LinkExtra::None => {}
        LinkExtra::PerfEvent { cookie } => attr.extra[0] = cookie,
        LinkExtra::KprobeMulti { flags, syms, addrs, cookies } => {
            let cnt = syms.len().max(addrs.len());
            if !fits(addrs, cnt) || !fits(cookies, cnt) || !(syms.is_empty() || addrs.is_empty()) {
                return Err(Errno(libc::EINVAL));
            }
            names = syms.iter().map(|name| name.as_ptr()).collect();
            attr.extra[0] = u64::from(flags) | u64::from(count(cnt)?) << 32;
            attr.extra[1] = if names.is_empty() { 0 } else { names.as_ptr() as u64 };
            attr.extra[2] = pointer(addrs);
            attr.extra[3] = pointer(cookies);
        }
        LinkExtra::UprobeMulti { flags, path, offsets, ref_ctr_offsets, cookies, pid } => {
            let cnt = offsets.len();
            if !fits(ref_ctr_offsets, cnt) || !fits(cookies, cnt) {
                return Err(Errno(libc::EINVAL));
            }
            attr.extra[0] = path.as_ptr() as u64;
            attr.extra[1] = pointer(offsets);
            attr.extra[2] = pointer(ref_ctr_offsets);
            attr.extra[3] = pointer(cookies);
            attr.extra[4] = u64::from(count(cnt)?) | u64::from(flags) << 32;
            attr.extra[5] = u64::from(pid);
        }
        LinkExtra::Tracing { target_btf_id, cookie } => {
            attr.extra[0] = u64::from(target_btf_id);
            attr.extra[1] = cookie;
        }
        LinkExtra::Iter { info } => {
            attr.extra[0] = if info.is_empty() { 0 } else { info.as_ptr() as u64 };
            attr.extra[1] = u64::from(count(info.len())?);
        }
    }
    // SAFETY: what the words of the union point to is live for the call and as long as the counts say.
    unsafe { bpf_fd(Cmd::LINK_CREATE, &mut attr) }
}

/// `BPF_RAW_TRACEPOINT_OPEN`: attaches to a raw tracepoint, or with no name to what the program was loaded for.
/// The descriptor is a link where the kernel has links (since 5.7). A cookie other than 0 needs Linux 6.10.
pub fn raw_tracepoint_open(
    prog: BorrowedFd<'_>,
    name: Option<&CStr>,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    let mut attr = RawTracepointAttr {
        name: name.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: prog.as_raw_fd() as u32,
        cookie,
        ..RawTracepointAttr::default()
    };
    // SAFETY: the name is a NUL-terminated string or none.
    unsafe { bpf_fd(Cmd::RAW_TRACEPOINT_OPEN, &mut attr) }
}
