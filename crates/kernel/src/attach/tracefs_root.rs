//! Where tracefs is.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::sys::{self, Errno};

/// Where tracefs is mounted by custom, and through debugfs on old systems.
const TRACEFS: &str = "/sys/kernel/tracing";
const VIA_DEBUGFS: &str = "/sys/kernel/debug/tracing";
/// `TRACEFS_MAGIC`
const TRACEFS_MAGIC: u64 = 0x7472_6163;

/// The directory of tracefs; mounts it if it is not there and we may.
///
/// # Errors
/// [`Error::Denied`] that says how to mount it.
pub fn tracefs_root() -> Result<PathBuf, Error> {
    for path in [TRACEFS, VIA_DEBUGFS] {
        if sys::file_system(Path::new(path)) == Ok(TRACEFS_MAGIC) {
            return Ok(path.into());
        }
    }
    sys::mount("tracefs", Path::new(TRACEFS), "tracefs").map(|()| TRACEFS.into()).map_err(|errno| {
        let advice = match errno {
            Errno(libc::ENODEV) => {
                "this kernel has no tracefs: it needs CONFIG_TRACING".to_string()
            }
            Errno(libc::ENOENT) => {
                "this kernel has no tracefs (CONFIG_TRACING), or sysfs is not mounted".to_string()
            }
            _ => format!("as root: mount -t tracefs tracefs {TRACEFS}"),
        };
        Error::Denied { what: "tracefs is not mounted".into(), errno, advice }
    })
}
