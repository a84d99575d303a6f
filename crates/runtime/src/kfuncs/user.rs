//! Copies from user memory into program memory and dynptrs (kernel/bpf/helpers.c, kernel/trace/bpf_trace.c).

use super::Args;
use crate::abi::RunCtx;
use crate::helpers::dynptr::dynptr;
use crate::helpers::err;
use crate::usermem::UserMem;
use stylet_uapi::errno::{E2BIG, EFAULT, EINVAL};

/// `BPF_F_PAD_ZEROS`.
const PAD_ZEROS: u64 = 1;

/// `TASK_SIZE_MAX`.
const USER_END: u64 = (1 << 47) - 4096;

/// `bpf_copy_from_user_str(dst, size, ptr, flags)`: length with NUL, `-EFAULT`, `-EINVAL` for unknown flags. With
/// `BPF_F_PAD_ZEROS` the rest of `dst` is zeroed, all of it on failure.
///
/// # Safety
/// Verified arguments: `dst` has `size` bytes; so for every kfunc here.
pub unsafe fn copy_from_user_str([dst, size, from, flags, _]: Args, rc: *mut RunCtx) -> u64 {
    if flags & !PAD_ZEROS != 0 {
        return err(EINVAL);
    }
    let (dst, size) = (dst as *mut u8, size as u32 as usize);
    if size == 0 {
        return 0;
    }
    // SAFETY: verified arguments.
    let copied = unsafe { UserMem::of((*rc).arena).read_str(dst, from, size) };
    if flags & PAD_ZEROS != 0 {
        let done = copied.unwrap_or(0).min(size);
        // SAFETY: the rest of `dst`.
        unsafe { dst.add(done).write_bytes(0, size - done) };
    }
    copied.map_or(err(EFAULT), |len| len as u64)
}

/// `bpf_copy_from_user_dynptr(dptr, offset, size, ptr)`: 0, `-E2BIG` out of range or null, `-EFAULT`.
///
/// # Safety
/// Verified arguments.
pub unsafe fn copy_data([to, offset, size, from, _]: Args, rc: *mut RunCtx) -> u64 {
    let (offset, size) = (offset as u32, size as u32);
    // SAFETY: verified arguments.
    let to = unsafe { dynptr(to) };
    let Some(dst) = to.writable(offset, size) else { return no_room(to.range(offset, size), size) };
    // SAFETY: inside the dynptr.
    if unsafe { UserMem::of((*rc).arena).read(dst, from, size as usize) } { 0 } else { err(EFAULT) }
}

/// `bpf_probe_read_user_dynptr`, `bpf_probe_read_kernel_dynptr(dptr, offset, size, ptr)`: as [`copy_data`], but not even no
/// bytes can be read beyond the end of user space.
///
/// # Safety
/// Verified arguments.
pub unsafe fn probe_data([to, offset, size, from, _]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let writable = unsafe { dynptr(to) }.writable(offset as u32, size as u32).is_some();
    if writable && from > USER_END {
        return err(EFAULT);
    }
    // SAFETY: promised by the caller.
    unsafe { copy_data([to, offset, size, from, 0], rc) }
}

/// `bpf_copy_from_user_str_dynptr(dptr, offset, size, ptr)`: length with NUL, at most `size`; 0 for no size; `-E2BIG` out of
/// range or null, `-EFAULT`.
///
/// # Safety
/// Verified arguments.
pub unsafe fn copy_str([to, offset, size, from, _]: Args, rc: *mut RunCtx) -> u64 {
    let (offset, size) = (offset as u32, size as u32);
    // SAFETY: verified arguments.
    let to = unsafe { dynptr(to) };
    let Some(dst) = to.writable(offset, size) else { return no_room(to.range(offset, size), size) };
    if size == 0 {
        return 0;
    }
    // SAFETY: inside the dynptr.
    let copied = unsafe { UserMem::of((*rc).arena).read_str(dst, from, size as usize) };
    copied.map_or(err(EFAULT), |len| len as u64)
}

/// `bpf_probe_read_user_str_dynptr`, `bpf_probe_read_kernel_str_dynptr(dptr, offset, size, ptr)`: as [`copy_str`], but the
/// byte that the NUL replaces must be readable too.
///
/// # Safety
/// Verified arguments.
pub unsafe fn probe_str([to, offset, size, from, _]: Args, rc: *mut RunCtx) -> u64 {
    let (offset, size) = (offset as u32, size as u32);
    // SAFETY: verified arguments.
    let to = unsafe { dynptr(to) };
    let Some(dst) = to.writable(offset, size) else { return no_room(to.range(offset, size), size) };
    if size == 0 {
        return 0;
    }
    // SAFETY: inside the dynptr.
    let copied = unsafe { UserMem::of((*rc).arena).probe_str(dst, from, size as usize) };
    copied.map_or(err(EFAULT), |len| len as u64)
}

/// What a dynptr that cannot be written to gives: nothing is to be done for no bytes of it.
fn no_room(range: Result<*mut u8, i32>, size: u32) -> u64 {
    match range {
        Ok(_) if size == 0 => 0,
        Ok(_) => err(EINVAL),
        Err(_) => err(E2BIG),
    }
}
