//! Types of kernel modules.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use stylet_btf::Btf;
use stylet_uapi::Cmd;

use crate::sys;

/// Types of a module that is loaded.
#[derive(Debug)]
pub struct ModuleBtf {
    /// Name of the module.
    pub name: String,
    /// Its types, on top of the kernel's.
    pub btf: Btf,
    fd: OwnedFd,
}

impl AsFd for ModuleBtf {
    /// The BTF object in the kernel.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// All of them, by ascending id of their BTF.
pub(super) fn read(vmlinux: &Btf) -> Vec<ModuleBtf> {
    let mut found = Vec::new();
    let mut last = 0;
    while let Ok(Some(id)) = sys::next_id(Cmd::BTF_GET_NEXT_ID, last) {
        last = id;
        // One that has gone in the meantime, or that we may not see, is none.
        let Ok(fd) = sys::object_by_id(Cmd::BTF_GET_FD_BY_ID, id) else { continue };
        let Ok((info, name)) = sys::btf_info(fd.as_fd()) else { continue };
        if info.kernel_btf == 0 || name.is_empty() || name == "vmlinux" {
            continue;
        }
        let Ok(bytes) = sys::btf_bytes(fd.as_fd()) else { continue };
        if let Ok(btf) = Btf::parse_split(&bytes, vmlinux) {
            found.push(ModuleBtf { name, btf, fd });
        }
    }
    found
}
