//! Layout shared by the tracer, generated code, trampolines and the agent.
//!
//! One memfd is mapped as a single window of [`WINDOW`] bytes in the tracer and in every traced process; file offset and
//! window offset are equal. The file grows (ftruncate), the window does not. Offsets, never addresses, are stored in it.
//!
//! | window offset | protection in a target | contents |
//! |---|---|---|
//! | [`TEXT_OFF`] | r-x | agent image at 0, then generated code |
//! | [`RODATA_OFF`] | r-- | frozen maps |
//! | [`DATA_OFF`] | rw- | [`DATA_OFF`]: control block, slots, process table; then maps |
//!
//! The page just below the window ([`PROC_PAGE_OFF`]) is private to each process, anonymous and wiped on fork.

use stylet_uapi::PtRegs;

/// Bytes of address space of the window: every part is within reach of a 32-bit displacement.
pub const WINDOW: u64 = 1 << 30;
/// Agent image and generated code.
pub const TEXT_OFF: u64 = 0;
/// Bytes of the text part.
pub const TEXT_SIZE: u64 = 64 << 20;
/// Frozen maps.
pub const RODATA_OFF: u64 = TEXT_OFF + TEXT_SIZE;
/// Bytes of the read-only part.
pub const RODATA_SIZE: u64 = 64 << 20;
/// Control block and maps.
pub const DATA_OFF: u64 = RODATA_OFF + RODATA_SIZE;
/// Offset from the window of the process-private page.
pub const PROC_PAGE_OFF: i64 = -4096;

/// No CPU slot is held.
pub const NO_SLOT: u32 = u32::MAX;

/// [`RunCtx::flags`]: the program runs at a function's return.
pub const RUN_RETURN: u32 = 1 << 0;
/// [`RunCtx::flags`]: `bpf_override_return` was called; [`RunCtx::override_rc`] is the result.
pub const RUN_OVERRIDE: u32 = 1 << 1;
/// [`RunCtx::flags`]: the site allows `bpf_override_return` (function entry).
pub const RUN_CAN_OVERRIDE: u32 = 1 << 2;

/// State of one run of a program, on the stack of the probed thread; `r9` at the program's entry points to it.
///
/// The trampoline fills every field before the call, except that `slot` is [`NO_SLOT`] for a program that needs none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RunCtx {
    /// First byte of the window in this process.
    pub arena: *mut u8,
    /// The context (`struct pt_regs`), also R1 of the program.
    pub regs: *mut PtRegs,
    /// `bpf_get_attach_cookie`.
    pub cookie: u64,
    /// `bpf_get_func_ip`: address of the probed function's first instruction (of the site for `+offset` probes: 0).
    pub func_ip: u64,
    /// CPU slot held, or [`NO_SLOT`].
    pub slot: u32,
    /// Tail calls made so far; the limit is `MAX_TAIL_CALL_CNT`, 33.
    pub tail_calls: u32,
    /// `RUN_*`.
    pub flags: u32,
    /// Program number, index into the control block's program table (statistics, stack id, printk).
    pub prog: u32,
    /// Return value set by `bpf_override_return`.
    pub override_rc: u64,
    /// Storage behind `bpf_session_cookie`.
    pub session_cookie: u64,
}

/// Offsets of [`RunCtx`] fields, for code generators.
pub mod run_ctx {
    use super::RunCtx;
    use core::mem::offset_of;

    /// Size in bytes.
    pub const SIZE: i32 = size_of::<RunCtx>() as i32;
    /// Offset of `arena`.
    pub const ARENA: i32 = offset_of!(RunCtx, arena) as i32;
    /// Offset of `regs`.
    pub const REGS: i32 = offset_of!(RunCtx, regs) as i32;
    /// Offset of `cookie`.
    pub const COOKIE: i32 = offset_of!(RunCtx, cookie) as i32;
    /// Offset of `func_ip`.
    pub const FUNC_IP: i32 = offset_of!(RunCtx, func_ip) as i32;
    /// Offset of `slot`.
    pub const SLOT: i32 = offset_of!(RunCtx, slot) as i32;
    /// Offset of `tail_calls`.
    pub const TAIL_CALLS: i32 = offset_of!(RunCtx, tail_calls) as i32;
    /// Offset of `flags`.
    pub const FLAGS: i32 = offset_of!(RunCtx, flags) as i32;
    /// Offset of `prog`.
    pub const PROG: i32 = offset_of!(RunCtx, prog) as i32;
    /// Offset of `override_rc`.
    pub const OVERRIDE_RC: i32 = offset_of!(RunCtx, override_rc) as i32;
    /// Offset of `session_cookie`.
    pub const SESSION_COOKIE: i32 = offset_of!(RunCtx, session_cookie) as i32;
}
