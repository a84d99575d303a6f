//! Links that exist: `BPF_LINK_UPDATE`, `BPF_LINK_DETACH`, `BPF_ITER_CREATE`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::Cmd;

use super::attr::{LinkFdAttr, LinkUpdateAttr};
use super::{Errno, bpf, bpf_fd};

/// `BPF_LINK_UPDATE`: only if the link's program is the expected one (`BPF_F_REPLACE`).
const REPLACE: u32 = 1 << 2;

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Replaces a link's program; with `old`, only if that is its program now (EPERM otherwise).
pub fn link_update(
    link: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = LinkUpdateAttr {
        link_fd: raw(link),
        new_prog_fd: raw(new),
        flags: if old.is_some() { REPLACE } else { 0 },
        old_prog_fd: old.map_or(0, raw),
    };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf(Cmd::LINK_UPDATE, &mut attr) }.map(drop)
}

/// Detaches a link that may live on without its target (EOPNOTSUPP for the other types).
pub fn link_detach(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkFdAttr { link_fd: raw(link), flags: 0 };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf(Cmd::LINK_DETACH, &mut attr) }.map(drop)
}

/// Starts an iteration: a file to read.
pub fn iter_create(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = LinkFdAttr { link_fd: raw(link), flags: 0 };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf_fd(Cmd::ITER_CREATE, &mut attr) }
}
