//! The only place where memory of the traced program is touched at an address that may be bad.
//!
//! Reads and writes go through `process_vm_readv` and `process_vm_writev` on the process itself: they stop at the first bad
//! page instead of faulting, honour page protection, and touch neither signals nor `errno`. A plain copy with a fault table
//! can replace them behind the same functions: the copy's few load and store instructions get exported labels, and a SIGSEGV
//! whose `rip` is one of them continues at the failure label with the bytes done in a register.

use crate::control::{self, ProcPage};
use crate::identity;
use crate::sys::{self, nr};
use core::ptr::NonNull;
use stylet_uapi::errno::{EPERM, ESRCH};

/// The memory of this process, at addresses that may be bad.
#[derive(Clone, Copy)]
pub struct UserMem {
    page: NonNull<ProcPage>,
}

impl UserMem {
    /// The memory of the process that has an arena at `arena`; good as long as that is mapped.
    ///
    /// # Safety
    /// `arena` is the first byte of a mapped window with its private page.
    #[inline]
    pub unsafe fn of(arena: *mut u8) -> UserMem {
        // SAFETY: promised by the caller.
        UserMem { page: NonNull::from(unsafe { control::proc_page(arena) }) }
    }

    /// Copies `len` bytes from address `src` of this process; whether all were copied. `dst` may be partly written otherwise.
    ///
    /// # Safety
    /// `dst` has `len` bytes.
    pub unsafe fn read(self, dst: *mut u8, src: u64, len: usize) -> bool {
        len == 0 || self.read_call(dst, src, len) == len as i64
    }

    /// Copies `len` bytes to address `dst` of this process; whether all were copied.
    ///
    /// # Safety
    /// `src` has `len` bytes. What is at `dst` is up to the program that asked for it.
    pub unsafe fn write(self, dst: u64, src: *const u8, len: usize) -> bool {
        // Asked for each time: a stale id must not lead to another process's memory.
        let pid = sys::getpid();
        len == 0 || transfer(nr::PROCESS_VM_WRITEV, pid, src as u64, dst, len) == len as i64
    }

    /// Copies as much as can be read of `len` bytes from `src`: the number of bytes, 0 for a bad address.
    ///
    /// # Safety
    /// `dst` has `len` bytes.
    pub unsafe fn read_some(self, dst: *mut u8, src: u64, len: usize) -> usize {
        let n = self.read_call(dst, src, len);
        if n < 0 { 0 } else { (n as usize).min(len) }
    }

    /// Reads by the id that is known. A child of `vfork` has its parent's memory and reads through its parent, but may not
    /// be allowed to (Yama's `ptrace_scope`), or the parent is gone: then by its own id.
    fn read_call(self, dst: *mut u8, src: u64, len: usize) -> i64 {
        // SAFETY: mapped, says `of`.
        let pid = identity::tgid(unsafe { self.page.as_ref() });
        let n = transfer(nr::PROCESS_VM_READV, pid, dst as u64, src, len);
        if n == -(ESRCH as i64) || n == -(EPERM as i64) {
            return transfer(nr::PROCESS_VM_READV, sys::getpid(), dst as u64, src, len);
        }
        n
    }

    /// As [`UserMem::read_str`], but of a string that is cut off the byte after the part must be readable too
    /// (`strncpy_from_user_nofault`, mm/maccess.c, reads it before it puts the NUL in its place).
    ///
    /// # Safety
    /// `dst` has `size` bytes; `size` is not 0.
    pub unsafe fn probe_str(self, dst: *mut u8, src: u64, size: usize) -> Option<usize> {
        // SAFETY: promised by the caller.
        let len = unsafe { self.read_str(dst, src, size) }?;
        let mut last = 0u8;
        // SAFETY: one byte.
        let cut = len == size
            && !unsafe { self.read(&raw mut last, src.wrapping_add(size as u64 - 1), 1) };
        if cut { None } else { Some(len) }
    }

    /// Reads a string of at most `size - 1` bytes and its NUL into `dst`, as `strncpy_from_user`: the length with NUL
    /// (`size` when it was cut off, still NUL-terminated), or `None` when a byte before the NUL cannot be read.
    ///
    /// # Safety
    /// `dst` has `size` bytes; `size` is not 0.
    pub unsafe fn read_str(self, dst: *mut u8, src: u64, size: usize) -> Option<usize> {
        /// Bytes read at a time; no chunk crosses a page, so that it can be read as a whole or not at all.
        const CHUNK: usize = 256;
        const PAGE: usize = 4096;
        let mut done = 0;
        while done < size - 1 {
            let to_page = PAGE - (src as usize).wrapping_add(done) % PAGE;
            let want = CHUNK.min(size - 1 - done).min(to_page);
            // SAFETY: `done + want` is below `size`.
            let got = unsafe { self.read_some(dst.add(done), src.wrapping_add(done as u64), want) };
            for i in done..done + got {
                // SAFETY: just read.
                if unsafe { *dst.add(i) } == 0 {
                    return Some(i + 1);
                }
            }
            done += got;
            if got < want {
                return None;
            }
        }
        // SAFETY: the last byte of `dst`.
        unsafe { *dst.add(size - 1) = 0 };
        Some(size)
    }
}

/// `process_vm_*v(pid, {local}, 1, {remote}, 1, 0)`.
fn transfer(nr: u64, pid: u32, local: u64, remote: u64, len: usize) -> i64 {
    let (l, r) = ([local, len as u64], [remote, len as u64]);
    // SAFETY: one iovec each; the kernel checks the remote one, the local one is the caller's promise.
    unsafe { sys::syscall(nr, [pid as u64, l.as_ptr() as u64, 1, r.as_ptr() as u64, 1, 0]) }
}
