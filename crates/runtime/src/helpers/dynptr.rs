//! Dynptrs over local memory and ring buffer records (kernel/bpf/helpers.c, kernel/bpf/ringbuf.c).

use super::{err, ring};
use crate::abi::RunCtx;
use stylet_uapi::errno::{E2BIG, EINVAL};

/// `struct bpf_dynptr_kern`: what the 16 bytes of a `struct bpf_dynptr` contain.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Dynptr {
    /// Address of the memory, 0 for a null dynptr.
    data: u64,
    /// Bytes, type << 28, [`RDONLY`].
    size: u32,
    /// Offset into the memory.
    offset: u32,
}

/// `DYNPTR_MAX_SIZE`, `DYNPTR_SIZE_MASK`.
const MAX_SIZE: u32 = (1 << 24) - 1;
/// `DYNPTR_RDONLY_BIT`.
const RDONLY: u32 = 1 << 31;
/// `BPF_DYNPTR_TYPE_LOCAL`, shifted.
const LOCAL: u32 = 1 << 28;
/// `BPF_DYNPTR_TYPE_RINGBUF`, shifted.
const RINGBUF: u32 = 2 << 28;

impl Dynptr {
    /// A null dynptr.
    pub const NULL: Dynptr = Dynptr { data: 0, size: 0, offset: 0 };

    pub fn is_null(&self) -> bool {
        self.data == 0
    }

    pub fn is_rdonly(&self) -> bool {
        self.size & RDONLY != 0
    }

    /// Bytes.
    pub fn len(&self) -> u32 {
        self.size & MAX_SIZE
    }

    /// Leaves `len` bytes from `start` on, which are inside.
    pub fn narrow(&mut self, start: u32, len: u32) {
        self.offset = self.offset.wrapping_add(start);
        self.size = self.size & !MAX_SIZE | len;
    }

    /// Address of `len` bytes at `offset`; `None` for null or out of range.
    pub fn readable(&self, offset: u32, len: u32) -> Option<*mut u8> {
        if self.is_null() { None } else { self.range(offset, len).ok() }
    }

    /// As [`Dynptr::readable`]; `None` for read-only too.
    pub fn writable(&self, offset: u32, len: u32) -> Option<*mut u8> {
        if self.is_rdonly() { None } else { self.readable(offset, len) }
    }

    /// Address of `len` bytes at `offset`: `bpf_dynptr_check_off_len`.
    pub fn range(&self, offset: u32, len: u32) -> Result<*mut u8, i32> {
        let size = self.size & MAX_SIZE;
        if len > size || offset > size - len {
            return Err(E2BIG);
        }
        Ok((self.data as *mut u8).wrapping_add(self.offset as usize + offset as usize))
    }
}

/// The dynptr at `address`.
///
/// # Safety
/// There is one, or room for one.
pub(crate) unsafe fn dynptr<'a>(address: u64) -> &'a mut Dynptr {
    // SAFETY: the verifier saw a dynptr on the program's stack.
    unsafe { &mut *(address as *mut Dynptr) }
}

/// `bpf_dynptr_from_mem(data, size, flags, ptr)`: 0, `-E2BIG`, `-EINVAL`; `ptr` is null on failure.
///
/// # Safety
/// Verified arguments; so for every helper here.
pub unsafe extern "C" fn from_mem(
    data: u64,
    size: u64,
    flags: u64,
    ptr: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let ptr = unsafe { dynptr(ptr) };
    *ptr = Dynptr::NULL;
    let size = size as u32;
    if size > MAX_SIZE {
        return err(E2BIG);
    }
    if flags != 0 {
        return err(EINVAL);
    }
    *ptr = Dynptr { data, size: size | LOCAL, offset: 0 };
    0
}

/// `bpf_ringbuf_reserve_dynptr(ringbuf, size, flags, ptr)`: 0, `-EINVAL`, `-E2BIG`; `ptr` is null on failure, and must be
/// submitted or discarded all the same.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_reserve(
    map: u64,
    size: u64,
    flags: u64,
    ptr: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let ptr = unsafe { dynptr(ptr) };
    *ptr = Dynptr::NULL;
    if flags != 0 {
        return err(EINVAL);
    }
    let size = size as u32;
    if size > MAX_SIZE {
        return err(E2BIG);
    }
    // SAFETY: verified arguments.
    let data = unsafe { ring::ringbuf_reserve(map, size as u64, 0, 0, 0, rc) };
    if data == 0 {
        return err(EINVAL);
    }
    *ptr = Dynptr { data, size: size | RINGBUF, offset: 0 };
    0
}

/// `bpf_ringbuf_submit_dynptr(ptr, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_submit(
    ptr: u64,
    flags: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments: a dynptr of a reservation, or null.
    unsafe {
        let ptr = dynptr(ptr);
        if ptr.data != 0 {
            ring::ringbuf_submit(ptr.data, flags, 0, 0, 0, rc);
        }
        *ptr = Dynptr::NULL;
    }
    0
}

/// `bpf_ringbuf_discard_dynptr(ptr, flags)`.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn ringbuf_discard(
    ptr: u64,
    flags: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments: a dynptr of a reservation, or null.
    unsafe {
        let ptr = dynptr(ptr);
        if ptr.data != 0 {
            ring::ringbuf_discard(ptr.data, flags, 0, 0, 0, rc);
        }
        *ptr = Dynptr::NULL;
    }
    0
}

/// `bpf_dynptr_read(dst, len, src, offset, flags)`: 0, `-EINVAL` null or flags, `-E2BIG` out of range.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn read(
    dst: u64,
    len: u64,
    src: u64,
    offset: u64,
    flags: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let src = unsafe { dynptr(src) };
    if src.data == 0 || flags != 0 {
        return err(EINVAL);
    }
    match src.range(offset as u32, len as u32) {
        Ok(from) => {
            // SAFETY: `dst` has `len` bytes, and so has the dynptr.
            unsafe { core::ptr::copy(from, dst as *mut u8, len as u32 as usize) };
            0
        }
        Err(errno) => err(errno),
    }
}

/// `bpf_dynptr_write(dst, offset, src, len, flags)`: 0, `-EINVAL` null, read-only or flags, `-E2BIG` out of range.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn write(
    dst: u64,
    offset: u64,
    src: u64,
    len: u64,
    flags: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let dst = unsafe { dynptr(dst) };
    if dst.data == 0 || dst.size & RDONLY != 0 {
        return err(EINVAL);
    }
    match dst.range(offset as u32, len as u32) {
        Ok(_) if flags != 0 => err(EINVAL),
        Ok(to) => {
            // SAFETY: `src` has `len` bytes, and so has the dynptr.
            unsafe { core::ptr::copy(src as *const u8, to, len as u32 as usize) };
            0
        }
        Err(errno) => err(errno),
    }
}

/// `bpf_dynptr_data(ptr, offset, len)`: address of `len` bytes, 0 for null, read-only or out of range.
///
/// # Safety
/// Verified arguments.
pub unsafe extern "C" fn data(
    ptr: u64,
    offset: u64,
    len: u64,
    _: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: verified arguments.
    let ptr = unsafe { dynptr(ptr) };
    ptr.writable(offset as u32, len as u32).map_or(0, |p| p as u64)
}
