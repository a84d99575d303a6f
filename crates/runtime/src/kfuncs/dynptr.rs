//! Looks at and changes of dynptrs (kernel/bpf/helpers.c).

use super::Args;
use crate::abi::RunCtx;
use crate::helpers::dynptr::{Dynptr, dynptr};
use crate::helpers::{err, status};
use stylet_uapi::errno::{E2BIG, EINVAL, ERANGE};

/// `bpf_dynptr_adjust(p, start, end)`: 0, `-EINVAL` null or backwards, `-ERANGE` beyond the end.
///
/// # Safety
/// Verified arguments; so for every kfunc here.
pub unsafe fn adjust([p, start, end, ..]: Args, _: *mut RunCtx) -> u64 {
    let (start, end) = (start as u32, end as u32);
    // SAFETY: verified arguments.
    let p = unsafe { dynptr(p) };
    if p.is_null() || start > end {
        return err(EINVAL);
    }
    if end > p.len() {
        return err(ERANGE);
    }
    p.narrow(start, end - start);
    0
}

/// `bpf_dynptr_is_null(p)`.
///
/// # Safety
/// Verified arguments.
pub unsafe fn is_null([p, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    u64::from(unsafe { dynptr(p) }.is_null())
}

/// `bpf_dynptr_is_rdonly(p)`: false for null.
///
/// # Safety
/// Verified arguments.
pub unsafe fn is_rdonly([p, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let p = unsafe { dynptr(p) };
    u64::from(!p.is_null() && p.is_rdonly())
}

/// `bpf_dynptr_size(p)`: bytes, `-EINVAL` for null, as a u32.
///
/// # Safety
/// Verified arguments.
pub unsafe fn size([p, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let p = unsafe { dynptr(p) };
    u64::from(if p.is_null() { err(EINVAL) as u32 } else { p.len() })
}

/// `bpf_dynptr_clone(p, clone)`: 0, `-EINVAL` for null, of which the clone is null too.
///
/// # Safety
/// Verified arguments.
pub unsafe fn clone([p, to, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let p = unsafe { *dynptr(p) };
    // SAFETY: as above.
    unsafe { *dynptr(to) = p };
    if p.is_null() {
        // SAFETY: as above.
        unsafe { *dynptr(to) = Dynptr::NULL };
        return err(EINVAL);
    }
    0
}

/// `bpf_dynptr_slice(p, offset, buffer, size)`: address of `size` bytes, 0 for null or out of range. The buffer is for
/// dynptrs in pieces, of which there are none here.
///
/// # Safety
/// Verified arguments.
pub unsafe fn slice([p, offset, _, len, _]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    unsafe { dynptr(p) }.readable(offset as u32, len as u32).map_or(0, |at| at as u64)
}

/// `bpf_dynptr_slice_rdwr(p, offset, buffer, size)`: as [`slice`](self::slice()), 0 for read-only too.
///
/// # Safety
/// Verified arguments.
pub unsafe fn slice_rdwr([p, offset, _, len, _]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    unsafe { dynptr(p) }.writable(offset as u32, len as u32).map_or(0, |at| at as u64)
}

/// `bpf_dynptr_copy(dst, dst_off, src, src_off, size)`: 0, `-E2BIG` out of range, `-EINVAL` null or not to be written.
///
/// # Safety
/// Verified arguments.
pub unsafe fn copy([dst, to, src, from, len]: Args, _: *mut RunCtx) -> u64 {
    let (to, from, len) = (to as u32, from as u32, len as u32);
    // SAFETY: verified arguments; the two may be one, and are only read.
    let (dst, src) = unsafe { (*dynptr(dst), *dynptr(src)) };
    match (dst.writable(to, len), src.readable(from, len)) {
        (Some(to), Some(from)) => {
            // SAFETY: both ranges are inside their dynptrs.
            unsafe { core::ptr::copy(from, to, len as usize) };
            0
        }
        // One side is to be had: what stands in the other's way.
        (None, Some(_)) if dst.is_null() || dst.is_rdonly() => err(EINVAL),
        (Some(_), None) if src.is_null() => err(EINVAL),
        _ => {
            let fits = dst.range(to, len).is_ok() && src.range(from, len).is_ok();
            err(if fits && len != 0 {
                EINVAL
            } else if fits {
                return 0;
            } else {
                E2BIG
            })
        }
    }
}

/// `bpf_dynptr_memset(p, offset, size, byte)`: 0, `-EINVAL` read-only or null, `-E2BIG` out of range.
///
/// # Safety
/// Verified arguments.
pub unsafe fn memset([p, offset, len, byte, _]: Args, _: *mut RunCtx) -> u64 {
    let (offset, len) = (offset as u32, len as u32);
    // SAFETY: verified arguments.
    let p = unsafe { dynptr(p) };
    if let Some(at) = p.writable(offset, len) {
        // SAFETY: inside the dynptr.
        unsafe { at.write_bytes(byte as u8, len as usize) };
        return 0;
    }
    if p.is_rdonly() {
        return err(EINVAL);
    }
    status(p.range(offset, len).map(|_| ()))
}
