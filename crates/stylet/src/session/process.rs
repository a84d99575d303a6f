//! Processes and their ends.

use super::Ended;
use crate::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Opens a descriptor of a process.
pub(crate) fn open_pidfd(pid: i32) -> Result<OwnedFd, Error> {
    let number = Pid::from_raw(pid).ok_or(Error::Bug { what: "process 0".into() })?;
    pidfd_open(number, PidfdFlags::empty())
        .map_err(|e| Error::System { what: "pidfd_open", source: e.into() })
}

/// Waits at most `timeout` for one of the processes to end; gives the indexes of those that have.
pub(crate) fn wait_any(pidfds: &[&OwnedFd], timeout: Duration) -> Result<Vec<usize>, Error> {
    let mut fds: Vec<PollFd<'_>> =
        pidfds.iter().map(|&fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout =
        Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(Error::System { what: "poll", source: e.into() }),
    }
    let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(index, _)| index).collect())
}

/// Adds how a child ended.
pub(crate) fn reap(pidfd: &OwnedFd, ended: &mut Ended) {
    if let Ok(Some(status)) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        ended.status = status.exit_status();
        ended.signal = status.terminating_signal();
    }
}
