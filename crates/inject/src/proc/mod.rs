//! What /proc tells about a process: may it be traced, what is mapped where, and its memory.

mod auxv;
mod check;
mod mem;

pub use auxv::Auxv;
pub use check::{Status, check};
pub(crate) use check::{advice, check_started};
pub use mem::Memory;
pub use stylet_symbols::{Map, Maps};

use crate::{Error, Result};
use std::io;

/// Reads a file of /proc/PID; a missing process is [`Error::Gone`].
pub(crate) fn read(pid: i32, name: &'static str) -> Result<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/{name}")).map_err(|e| file_error(pid, name, e))
}

/// Thread ids of a process.
pub(crate) fn threads(pid: i32) -> Result<Vec<i32>> {
    let dir =
        std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|e| file_error(pid, "task", e))?;
    Ok(dir.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Turns an error on a file of /proc/PID into ours.
pub(crate) fn file_error(pid: i32, call: &'static str, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Error::Gone { pid },
        Some(libc::EACCES | libc::EPERM) => Error::Permission { pid, advice: advice(pid) },
        _ => Error::Sys { pid, call, source },
    }
}
