//! Memory shared with the kernel: ring buffers and perf buffers.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Errno;

/// A shared mapping of a descriptor. What lies in it may change at any time: it is read and written by atomic words and
/// by copies, and no reference into it is given out.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to the process, not to a thread, and every access is an atomic or a copy of plain bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from byte `offset` (both whole pages), `MAP_SHARED`.
    pub fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        len: usize,
        writable: bool,
    ) -> Result<Mapping, Errno> {
        let prot = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno(libc::EINVAL))?;
        // SAFETY: a new mapping at an address that the kernel chooses harms no other.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_SHARED, fd.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(Mapping { start, len, writable })
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped; never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of `size` bytes at `offset`, aligned to `align`; `None` when they are not all inside.
    fn at(&self, offset: usize, size: usize, align: usize) -> Option<*mut u8> {
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.len);
        // SAFETY: inside the mapping, as just checked.
        (inside && offset.is_multiple_of(align)).then(|| unsafe { self.start.as_ptr().add(offset) })
    }

    /// Reads the 64-bit word at a byte offset, acquiring; `None` outside the mapping.
    pub fn load_u64(&self, offset: usize) -> Option<u64> {
        let word = self.at(offset, 8, 8)?.cast::<u64>();
        // SAFETY: aligned, readable for as long as `self` lives, and only ever accessed atomically.
        Some(unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Acquire))
    }

    /// Reads the 32-bit word at a byte offset, acquiring; `None` outside the mapping.
    pub fn load_u32(&self, offset: usize) -> Option<u32> {
        let word = self.at(offset, 4, 4)?.cast::<u32>();
        // SAFETY: as in `load_u64`.
        Some(unsafe { AtomicU32::from_ptr(word) }.load(Ordering::Acquire))
    }

    /// Writes the 64-bit word at a byte offset, releasing; `None` outside the mapping or without the right to write.
    pub fn store_u64(&self, offset: usize, value: u64) -> Option<()> {
        let word = self.at(offset, 8, 8).filter(|_| self.writable)?.cast::<u64>();
        // SAFETY: as in `load_u64`, and writable.
        unsafe { AtomicU64::from_ptr(word) }.store(value, Ordering::Release);
        Some(())
    }

    /// Writes the 32-bit word at a byte offset, releasing; `None` as for [`store_u64`](Mapping::store_u64).
    pub fn store_u32(&self, offset: usize, value: u32) -> Option<()> {
        let word = self.at(offset, 4, 4).filter(|_| self.writable)?.cast::<u32>();
        // SAFETY: as in `load_u64`, and writable.
        unsafe { AtomicU32::from_ptr(word) }.store(value, Ordering::Release);
        Some(())
    }

    /// Appends `len` bytes at `offset` to `out`; `None` outside the mapping.
    pub fn append_to(&self, offset: usize, len: usize, out: &mut Vec<u8>) -> Option<()> {
        let from = self.at(offset, len, 1)?;
        out.reserve(len);
        // SAFETY: `len` bytes are inside the mapping, and as many are free behind the end of `out`. Bytes that another
        // process changes meanwhile are copied as they come: they are plain data.
        unsafe {
            std::ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(out.len()), len);
            out.set_len(out.len() + len);
        }
        Some(())
    }

    /// Writes `bytes` at `offset`; `None` outside the mapping or without the right to write.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        let to = self.at(offset, bytes.len(), 1).filter(|_| self.writable)?;
        // SAFETY: the bytes are inside the mapping, which may be written and overlaps no Rust object.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Some(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made by `new`, to which nothing refers any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
