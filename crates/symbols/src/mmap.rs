//! A file's bytes, mapped.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;

/// A whole file, read-only.
#[derive(Debug)]
pub struct Mmap {
    start: *mut libc::c_void,
    len: usize,
}

// SAFETY: the mapping is private and never written.
unsafe impl Send for Mmap {}
// SAFETY: as above.
unsafe impl Sync for Mmap {}

impl Mmap {
    /// Maps a file.
    pub fn new(file: &File) -> io::Result<Mmap> {
        let len = file.metadata()?.len() as usize;
        if len == 0 {
            return Ok(Mmap { start: std::ptr::null_mut(), len });
        }
        // SAFETY: a new mapping; a file that shrinks later is as fatal to us as to the program it is mapped in.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Mmap { start, len })
        }
    }
}

impl Deref for Mmap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: mapped for the life of the value.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: our own mapping, no reference to it is left.
            unsafe { libc::munmap(self.start, self.len) };
        }
    }
}
