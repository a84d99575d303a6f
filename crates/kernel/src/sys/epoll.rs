//! epoll(7).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::Errno;

/// A new instance, closed on exec.
pub fn epoll_create() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes a number.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds a descriptor; its events (`EPOLL*`) carry `token`.
pub fn epoll_add(
    epoll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    events: u32,
    token: u64,
) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` is live; the kernel only reads it.
    let ret = unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
    };
    if ret < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// Waits for events; returns the tokens of at most `max`. Waits are rounded up to milliseconds; `None` is without end.
pub fn epoll_wait(
    epoll: BorrowedFd<'_>,
    max: usize,
    timeout: Option<Duration>,
) -> Result<Vec<u64>, Errno> {
    let millis = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    let max = max.clamp(1, 4096);
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; max];
    // SAFETY: `events` has `max` elements and lives for the call.
    let ret =
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), max as i32, millis) };
    if ret < 0 {
        return Err(Errno::last());
    }
    events.truncate(ret as usize);
    Ok(events.iter().map(|event| event.u64).collect())
}
