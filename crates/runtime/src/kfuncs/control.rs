//! Sessions, and marks of sections that mean nothing here.

use super::Args;
use crate::abi::{RUN_RETURN, RunCtx};

/// `bpf_session_is_return()`: whether this is the run at the function's return.
///
/// # Safety
/// `rc` is valid; so for every kfunc here.
#[inline]
pub unsafe fn session_is_return(_: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    u64::from(unsafe { (*rc).flags } & RUN_RETURN != 0)
}

/// `bpf_session_cookie()`: address of the eight bytes that the runs at a call and at its return share.
///
/// # Safety
/// `rc` is valid.
#[inline]
pub unsafe fn session_cookie(_: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { &raw mut (*rc).session_cookie as u64 }
}

/// `bpf_rcu_read_lock()`, `bpf_preempt_disable()` and their ends: nothing that a program gets is freed during its run.
///
/// # Safety
/// None is needed.
#[inline]
pub unsafe fn nothing(_: Args, _: *mut RunCtx) -> u64 {
    0
}

/// `__bpf_trap()`: compilers put it where nothing comes to.
///
/// # Safety
/// None is needed.
#[inline]
pub unsafe fn trap(_: Args, _: *mut RunCtx) -> u64 {
    0
}
