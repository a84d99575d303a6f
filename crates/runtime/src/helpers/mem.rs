//! Reads and writes of memory at addresses that may be bad. There is one address space: "kernel" and "user" are the same.

use super::err;
use crate::abi::RunCtx;
use crate::usermem::UserMem;
use stylet_uapi::errno::EFAULT;

/// `bpf_probe_read*(dst, size, unsafe_ptr)`: 0, or `-EFAULT` with `dst` zeroed.
///
/// # Safety
/// `dst` has `size` bytes.
pub unsafe extern "C" fn probe_read(
    dst: u64,
    size: u64,
    src: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    let (dst, size) = (dst as *mut u8, size as u32 as usize);
    // SAFETY: promised by the caller.
    unsafe {
        if UserMem::of((*rc).arena).read(dst, src, size) {
            return 0;
        }
        dst.write_bytes(0, size);
    }
    err(EFAULT)
}

/// `bpf_probe_read*_str(dst, size, unsafe_ptr)`: length with NUL, or `-EFAULT` with `dst` zeroed.
///
/// # Safety
/// `dst` has `size` bytes.
pub unsafe extern "C" fn probe_read_str(
    dst: u64,
    size: u64,
    src: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    let (dst, size) = (dst as *mut u8, size as u32 as usize);
    if size == 0 {
        return 0;
    }
    // SAFETY: promised by the caller.
    unsafe {
        if let Some(len) = UserMem::of((*rc).arena).probe_str(dst, src, size) {
            return len as u64;
        }
        dst.write_bytes(0, size);
    }
    err(EFAULT)
}

/// `bpf_probe_write_user(dst, src, size)`: 0, or `-EFAULT` (a bad or read-only page).
///
/// # Safety
/// `src` has `size` bytes.
pub unsafe extern "C" fn probe_write_user(
    dst: u64,
    src: u64,
    size: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    if unsafe { UserMem::of((*rc).arena).write(dst, src as *const u8, size as u32 as usize) } {
        0
    } else {
        err(EFAULT)
    }
}

/// `bpf_copy_from_user(dst, size, user_ptr)`: as `bpf_probe_read_user`, but pages that are not present are brought in.
///
/// # Safety
/// `dst` has `size` bytes.
pub unsafe extern "C" fn copy_from_user(
    dst: u64,
    size: u64,
    src: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { probe_read(dst, size, src, 0, 0, rc) }
}
