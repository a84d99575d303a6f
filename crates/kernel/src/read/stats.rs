//! Run-time statistics of programs.

use std::os::fd::{AsFd, OwnedFd};

use crate::sys::{self, Errno};
use crate::{Error, Feature, Kernel, Prog};

/// While this lives, the kernel measures how long programs run (all programs, about 20 ns a run).
#[derive(Debug)]
pub struct StatsGuard {
    _fd: OwnedFd,
}

/// Makes the kernel measure run times (`BPF_ENABLE_STATS`).
///
/// # Errors
/// [`Error::Missing`] before 5.8; [`Error::Denied`] without CAP_SYS_ADMIN.
pub fn enable_stats(kernel: &Kernel) -> Result<StatsGuard, Error> {
    match sys::enable_stats() {
        Ok(fd) => Ok(StatsGuard { _fd: fd }),
        Err(errno @ Errno(libc::EINVAL)) => Err(kernel.missing(Feature::EnableStats, Some(errno))),
        Err(errno) => Err(kernel.denied("measuring the run time of programs", errno)),
    }
}

/// What the kernel counted for a program, while statistics were enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgStats {
    /// Nanoseconds in the program.
    pub run_time_ns: u64,
    /// Runs.
    pub run_cnt: u64,
    /// Runs that did not happen because the program was running already (since 5.12).
    pub recursion_misses: u64,
}

/// What the kernel counted for a program.
///
/// # Errors
/// [`Error::Sys`] with what the kernel answers.
pub fn prog_stats(prog: &Prog) -> Result<ProgStats, Error> {
    let info = sys::prog_info(prog.as_fd()).map_err(Error::sys(
        "BPF_OBJ_GET_INFO_BY_FD",
        format!("asking about program '{}'", prog.name()),
    ))?;
    Ok(ProgStats {
        run_time_ns: info.run_time_ns,
        run_cnt: info.run_cnt,
        recursion_misses: info.recursion_misses,
    })
}
