//! The only place where memory of the traced program is touched at an address that may be bad.
//!
//! Reads and writes go through `process_vm_readv` and `process_vm_writev` on the process itself: they stop at the first bad
//! page instead of faulting, honour page protection, and touch neither signals nor `errno`. A plain copy with a fault table
//! can replace them behind the same functions: the copy's few load and store instructions get exported labels, and a SIGSEGV
//! whose `rip` is one of them continues at the failure label with the bytes done in a register.

use crate::sys::{self, nr};

/// Copies `len` bytes from address `src` of this process; whether all were copied. `dst` may be partly written otherwise.
///
/// # Safety
/// `dst` has `len` bytes.
pub unsafe fn read(dst: *mut u8, src: u64, len: usize) -> bool {
    len == 0 || transfer(nr::PROCESS_VM_READV, dst as u64, src, len) == len as i64
}

/// Copies `len` bytes to address `dst` of this process; whether all were copied.
///
/// # Safety
/// `src` has `len` bytes. What is at `dst` is up to the program that asked for it.
pub unsafe fn write(dst: u64, src: *const u8, len: usize) -> bool {
    len == 0 || transfer(nr::PROCESS_VM_WRITEV, src as u64, dst, len) == len as i64
}

/// Copies as much as can be read of `len` bytes from `src`: the number of bytes, 0 for a bad address.
///
/// # Safety
/// `dst` has `len` bytes.
pub unsafe fn read_some(dst: *mut u8, src: u64, len: usize) -> usize {
    let n = transfer(nr::PROCESS_VM_READV, dst as u64, src, len);
    if n < 0 { 0 } else { (n as usize).min(len) }
}

/// `process_vm_*v(getpid(), {local}, 1, {remote}, 1, 0)`. The id is asked for each time: a child of `vfork` shares this
/// memory but is another process, which may not read its parent.
fn transfer(nr: u64, local: u64, remote: u64, len: usize) -> i64 {
    let (l, r) = ([local, len as u64], [remote, len as u64]);
    // SAFETY: one iovec each; the kernel checks the remote one, the local one is the caller's promise.
    unsafe {
        sys::syscall(nr, [sys::getpid() as u64, l.as_ptr() as u64, 1, r.as_ptr() as u64, 1, 0])
    }
}

/// Reads a string of at most `size - 1` bytes and its NUL into `dst`, as `strncpy_from_user_nofault`: the length with NUL
/// (`size` when it was cut off, still NUL-terminated), or `None` when a byte before the NUL cannot be read.
///
/// # Safety
/// `dst` has `size` bytes; `size` is not 0.
pub unsafe fn read_str(dst: *mut u8, src: u64, size: usize) -> Option<usize> {
    /// Bytes read at a time; no chunk crosses a page, so that it can be read as a whole or not at all.
    const CHUNK: usize = 256;
    const PAGE: usize = 4096;
    let mut done = 0;
    while done < size - 1 {
        let to_page = PAGE - (src as usize).wrapping_add(done) % PAGE;
        let want = CHUNK.min(size - 1 - done).min(to_page);
        // SAFETY: `done + want` is below `size`.
        let got = unsafe { read_some(dst.add(done), src.wrapping_add(done as u64), want) };
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
