//! What the kernel holds, and who holds it: programs, maps, links and BTF objects by id, processes with descriptors of
//! them, names in BPF file systems.

mod btf;
mod holders;
mod links;
mod maps;
mod pins;
mod progs;

pub use btf::{btf_by_id, full_name};
pub use holders::{HeldEvent, Holder, Holders};
pub use links::links;
pub use maps::{MapEntry, map, maps};
pub use pins::Kind;
pub use progs::{ProgEntry, dump, prog, progs};

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::Cmd;

use crate::Error;
use crate::kernel::Kernel;
use crate::sys::{self, Errno};

/// Opens every object of one kind in turn; one that goes away meanwhile is left out.
fn each<T>(
    kernel: &Kernel,
    kind: Kind,
    mut read: impl FnMut(OwnedFd) -> Result<T, Errno>,
) -> Result<Vec<T>, Error> {
    let what = format!("listing the kernel's {}", kind.plural());
    let fail = |errno: Errno| match errno {
        Errno(libc::EPERM | libc::EACCES | libc::ENOSYS) => kernel.denied(&what, errno),
        errno => Error::sys("bpf", what.clone())(errno),
    };
    let mut all = Vec::new();
    let mut id = 0;
    while let Some(next) = sys::next_id(kind.next_cmd(), id).map_err(fail)? {
        id = next;
        match sys::object_by_id(kind.open_cmd(), id).and_then(&mut read) {
            Ok(entry) => all.push(entry),
            Err(Errno(libc::ENOENT)) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(all)
}

/// Opens an object by id; `None` when there is none of that id.
///
/// # Errors
/// What the kernel answers otherwise.
pub fn open(kernel: &Kernel, kind: Kind, id: u32) -> Result<Option<OwnedFd>, Error> {
    match sys::object_by_id(kind.open_cmd(), id) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno(libc::ENOENT)) => Ok(None),
        Err(errno @ Errno(libc::EPERM | libc::EACCES | libc::ENOSYS)) => {
            Err(kernel.denied(&format!("opening {} {id}", kind.name()), errno))
        }
        Err(errno) => Err(Error::sys("bpf", format!("opening {} {id}", kind.name()))(errno)),
    }
}

/// A field of what /proc says about a descriptor of this process.
fn fdinfo(fd: BorrowedFd<'_>, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    field_of(&text, field)
}

/// The number behind `field:` in a text of /proc.
fn field_of(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// A name that the kernel keeps in 16 bytes.
fn name_of(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Kind {
    fn next_cmd(self) -> Cmd {
        match self {
            Kind::Prog => Cmd::PROG_GET_NEXT_ID,
            Kind::Map => Cmd::MAP_GET_NEXT_ID,
            Kind::Link => Cmd::LINK_GET_NEXT_ID,
        }
    }

    fn open_cmd(self) -> Cmd {
        match self {
            Kind::Prog => Cmd::PROG_GET_FD_BY_ID,
            Kind::Map => Cmd::MAP_GET_FD_BY_ID,
            Kind::Link => Cmd::LINK_GET_FD_BY_ID,
        }
    }
}
