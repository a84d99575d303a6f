//! Waiting for any of several descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::Error;
use crate::sys::{self, Errno};

/// Descriptors that are waited for together, each with a number.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
    len: usize,
}

/// When a descriptor wakes the waiter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interest {
    /// While there is something to read.
    Readable,
    /// Each time the kernel says that it can be written.
    WritableEdge,
}

impl Poll {
    pub(super) fn new() -> Result<Poll, Error> {
        let epoll =
            sys::epoll_create().map_err(Error::sys("epoll_create1", "waiting for a buffer"))?;
        Ok(Poll { epoll, len: 0 })
    }

    /// Adds a descriptor. Its events carry `token`.
    pub(super) fn add(
        &mut self,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> Result<(), Error> {
        let events = match interest {
            Interest::Readable => libc::EPOLLIN,
            Interest::WritableEdge => libc::EPOLLOUT | libc::EPOLLET,
        };
        sys::epoll_add(self.epoll.as_fd(), fd, events as u32, token)
            .map_err(Error::sys("epoll_ctl", "waiting for a buffer"))?;
        self.len += 1;
        Ok(())
    }

    /// Waits until something happens or the time is over (`None`: without end). Returns the tokens of what happened; none
    /// after a signal, so that the caller may look at what it means.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<u64>, Error> {
        match sys::epoll_wait(self.epoll.as_fd(), self.len.max(1), timeout) {
            Ok(tokens) => Ok(tokens),
            Err(Errno(libc::EINTR)) => Ok(Vec::new()),
            Err(errno) => Err(Error::sys("epoll_wait", "waiting for a buffer")(errno)),
        }
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// What is left of a time that began at `start`; `None` stays without end.
pub(super) fn left(start: Instant, timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_sub(start.elapsed()))
}
