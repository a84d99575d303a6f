//! `BPF_BTF_LOAD`.

use std::os::fd::OwnedFd;

use stylet_uapi::Cmd;

use super::attr::BtfLoadAttr;
use super::{Errno, bpf_fd};

/// Loads a `.BTF` section. With `log`, the kernel writes its findings into it (as much as fits).
pub fn btf_load(btf: &[u8], log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let mut attr = BtfLoadAttr {
        btf: btf.as_ptr() as u64,
        btf_size: u32::try_from(btf.len()).map_err(|_| Errno(libc::E2BIG))?,
        ..BtfLoadAttr::default()
    };
    if let Some(log) = log {
        attr.log_buf = log.as_mut_ptr() as u64;
        attr.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.log_level = 1;
    }
    // SAFETY: both buffers are live for the call and as long as their lengths say.
    unsafe { bpf_fd(Cmd::BTF_LOAD, &mut attr) }
}
