//! What attaches a program: a link or an event of the kernel, by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A program's attachment. Dropped, it is detached, unless it is pinned.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Link {
    /// Takes over the descriptor of a link, or of a perf event that runs a program.
    pub fn from_fd(fd: OwnedFd) -> Link {
        Link { fd }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
