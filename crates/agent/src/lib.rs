//! The agent: the runtime as position-independent code without data, mapped read-only into traced processes.
//!
//! There is no entry point. Generated code and trampolines call the exported functions: `stylet_helper_<id>` for each
//! helper, `stylet_kfunc_<name>` for each kfunc, `stylet_slot_enter`, `stylet_slot_leave`.
#![no_std]

mod mem;

use core::panic::PanicInfo;
use stylet_runtime::abi::RunCtx;
use stylet_runtime::{for_each_helper, for_each_kfunc, helpers, kfuncs};

macro_rules! export {
    ($($id:literal $name:literal $module:ident :: $func:ident $symbol:ident;)*) => {
        $(
            #[doc = concat!("`bpf_", $name, "`.")]
            ///
            /// # Safety
            /// Called by generated code with arguments that the verifier has admitted.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $symbol(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, rc: *mut RunCtx) -> u64 {
                // SAFETY: the caller's promise is the same.
                unsafe { helpers::$module::$func(r1, r2, r3, r4, r5, rc) }
            }
        )*
    };
}

for_each_helper!(export);

/// Implementations of a helper for one kind of map.
macro_rules! export_special {
    ($($func:ident $symbol:ident;)*) => {
        $(
            /// See the function of that name in `stylet_runtime::helpers::map`.
            ///
            /// # Safety
            /// Called by generated code with arguments that the verifier has admitted, and a map of that kind.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $symbol(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, rc: *mut RunCtx) -> u64 {
                // SAFETY: the caller's promise is the same.
                unsafe { helpers::map::$func(r1, r2, r3, r4, r5, rc) }
            }
        )*
    };
}

export_special! {
    hash_lookup_4 stylet_hash_lookup_4;
    hash_lookup_8 stylet_hash_lookup_8;
    hash_update_4 stylet_hash_update_4;
    hash_update_8 stylet_hash_update_8;
}

macro_rules! export_kfunc {
    ($($module:ident :: $func:ident $symbol:ident $decl:literal;)*) => {
        $(
            #[doc = concat!("`", $decl, "`.")]
            ///
            /// # Safety
            /// Called by generated code with arguments that the verifier has admitted.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            pub unsafe extern "C" fn $symbol(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, rc: *mut RunCtx) -> u64 {
                // SAFETY: the caller's promise is the same.
                unsafe { kfuncs::$module::$func([r1, r2, r3, r4, r5], rc) }
            }
        )*
    };
}

for_each_kfunc!(export_kfunc);

/// See [`stylet_runtime::slot_enter`].
///
/// # Safety
/// `rc` is filled in but for the slot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stylet_slot_enter(rc: *mut RunCtx) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { stylet_runtime::slot_enter(rc) }
}

/// See [`stylet_runtime::slot_leave`].
///
/// # Safety
/// `rc` went through [`stylet_slot_enter`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stylet_slot_leave(rc: *mut RunCtx) {
    // SAFETY: the caller's promise is the same.
    unsafe { stylet_runtime::slot_leave(rc) }
}

unsafe extern "C" {
    /// Defined nowhere: the image links only if no panic can be reached.
    fn stylet_agent_must_not_panic() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    // SAFETY: never linked.
    unsafe { stylet_agent_must_not_panic() }
}
