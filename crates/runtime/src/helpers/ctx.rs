//! Helpers that read or change the run context.

use super::err;
use crate::abi::{RUN_CAN_OVERRIDE, RUN_OVERRIDE, RunCtx};
use stylet_uapi::errno::EINVAL;

/// `bpf_get_attach_cookie(ctx)`.
///
/// # Safety
/// `rc` is valid; so for every helper here.
pub unsafe extern "C" fn get_attach_cookie(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { (*rc).cookie }
}

/// `bpf_get_func_ip(ctx)`.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn get_func_ip(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { (*rc).func_ip }
}

/// `bpf_override_return(ctx, rc)`: 0, or `-EINVAL` where the site does not allow it.
///
/// # Safety
/// `rc` is valid.
pub unsafe extern "C" fn override_return(
    _: u64,
    value: u64,
    _: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    let rc = unsafe { &mut *rc };
    if rc.flags & RUN_CAN_OVERRIDE == 0 {
        return err(EINVAL);
    }
    rc.override_rc = value;
    rc.flags |= RUN_OVERRIDE;
    0
}
