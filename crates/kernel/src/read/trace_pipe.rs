//! `trace_pipe`: what `bpf_trace_printk` writes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::poll::{Interest, Poll};
use crate::Error;
use crate::sys::Errno;

/// Bytes of a line that is still being read after which it is given out unfinished.
const LINE_MAX: usize = 1 << 16;

/// A reader of the kernel's trace pipe. There is one pipe for the machine, and a line goes to one reader alone.
#[derive(Debug)]
pub struct TracePipe {
    file: File,
    poll: Poll,
    rest: Vec<u8>,
}

impl TracePipe {
    /// Opens the pipe; mounts tracefs if it is not there and we may.
    ///
    /// # Errors
    /// [`Error::Sys`] when there is no tracefs or it is not ours to read; EBUSY while another one reads.
    pub fn open() -> Result<TracePipe, Error> {
        let path = crate::attach::tracefs_root()?.join("trace_pipe");
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .map_err(|error| Error::sys("open", path.display().to_string())(error.into()))?;
        let mut poll = Poll::new()?;
        poll.add(file.as_fd(), 0, Interest::Readable)?;
        Ok(TracePipe { file, poll, rest: Vec::new() })
    }

    /// Waits until there is something or the time is over (`None`: without end); gives each whole line, without its end, to
    /// `each`. Returns how many lines there were, none after a signal.
    ///
    /// # Errors
    /// [`Error::Sys`] with what the kernel answers.
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(&str),
    ) -> Result<usize, Error> {
        self.poll.wait(timeout)?;
        let mut chunk = [0; 4096];
        let mut lines = 0;
        // Once the pipe is empty, or enough was read for one call.
        for _ in 0..256 {
            match self.file.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => self.rest.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                Err(error) => return Err(Error::sys("read", "trace_pipe")(Errno::from(error))),
            }
            lines += self.lines(&mut each);
        }
        Ok(lines)
    }

    fn lines(&mut self, each: &mut impl FnMut(&str)) -> usize {
        let mut lines = 0;
        while let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
            each(&String::from_utf8_lossy(&self.rest[..end]));
            self.rest.drain(..=end);
            lines += 1;
        }
        if self.rest.len() > LINE_MAX {
            each(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
            lines += 1;
        }
        lines
    }
}

impl AsFd for TracePipe {
    /// Readable while there is something to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
