//! Stack traces by frame pointers (`perf_callchain_user`, arch/x86/events/core.c).
//!
//! The stack is always the probed thread's user stack, and `BPF_F_USER_STACK` must be asked for: there is no kernel stack
//! here, so without the flag the result is `-EFAULT`, as from a kernel that cannot give one.

use super::err;
use crate::abi::{RUN_RETURN, RunCtx};
use crate::map::{Map, stack};
use crate::slot::with_slot;
use crate::usermem::UserMem;
use stylet_uapi::errno::{EBUSY, EFAULT, EINVAL};

/// `BPF_F_SKIP_FIELD_MASK`: frames to leave out.
const SKIP_FIELD_MASK: u64 = 0xff;
/// `BPF_F_USER_STACK`.
const USER_STACK: u64 = 1 << 8;
/// `PERF_MAX_STACK_DEPTH`, the default of `kernel.perf_event_max_stack`.
const MAX_DEPTH: usize = 127;
/// Bytes of the stack that are read at a time.
const CHUNK: usize = 1024;

/// A piece of the stack that was read already, in scratch memory.
struct Window {
    buf: *mut u8,
    start: u64,
    len: usize,
    mem: UserMem,
}

impl Window {
    /// The two words at `fp`: caller's frame and return address.
    fn frame(&mut self, fp: u64) -> Option<(u64, u64)> {
        const PAGE: u64 = 4096;
        let off = fp.wrapping_sub(self.start);
        if off > CHUNK as u64 || off as usize + 16 > self.len {
            // No chunk crosses a page, but for a frame that does.
            let want = (CHUNK as u64).min(PAGE - fp % PAGE).max(16) as usize;
            // SAFETY: the buffer has CHUNK bytes.
            self.len = if unsafe { self.mem.read(self.buf, fp, want) } { want } else { 0 };
            self.start = fp;
            if self.len == 0 {
                return None;
            }
        }
        // SAFETY: 16 bytes at an offset below `len`.
        unsafe {
            let at = self.buf.add(fp.wrapping_sub(self.start) as usize).cast::<u64>();
            Some((at.read_unaligned(), at.add(1).read_unaligned()))
        }
    }
}

/// Collects up to `max` addresses: the probed instruction, then callers.
unsafe fn walk(rc: *const RunCtx, ips: *mut u64, max: usize, chunk: *mut u8) -> usize {
    // SAFETY: promised by the callers; `ips` has MAX_DEPTH entries.
    let (rc, regs) = unsafe { (&*rc, (*rc).regs.as_ref()) };
    let (Some(regs), max) = (regs, max.min(MAX_DEPTH)) else { return 0 };
    let mut nr = 0;
    let mut store = |ip: u64| {
        if nr < max {
            // SAFETY: below MAX_DEPTH.
            unsafe { *ips.add(nr) = ip };
            nr += 1;
        }
        nr < max
    };
    // SAFETY: as above.
    let mem = unsafe { UserMem::of(rc.arena) };
    let mut window = Window { buf: chunk, start: 0, len: 0, mem };
    let mut more = store(regs.ip);
    // At a function's first instruction its frame does not exist yet: the return address is on top of the stack.
    if more && rc.flags & RUN_RETURN == 0 && rc.func_ip != 0 && rc.func_ip == regs.ip {
        let mut ret = 0u64;
        // SAFETY: 8 bytes.
        if unsafe { window.mem.read((&raw mut ret).cast(), regs.sp, 8) } {
            more = store(ret);
        }
    }
    let mut fp = regs.bp;
    while more && fp != 0 {
        let Some((next, ret)) = window.frame(fp) else { break };
        more = store(ret);
        fp = next;
    }
    nr
}

/// `bpf_get_stackid(ctx, map, flags)`: the stack's id, `-EINVAL` unknown flags, `-EFAULT` nothing beyond the frames to skip,
/// `-EEXIST` the id is another stack's.
///
/// # Safety
/// Verified arguments; `rc.regs` has `ip`, `sp`, `bp`.
pub unsafe extern "C" fn get_stackid(
    _: u64,
    map: u64,
    flags: u64,
    _: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    if flags & !(SKIP_FIELD_MASK | USER_STACK | stack::FAST_STACK_CMP | stack::REUSE_STACKID) != 0 {
        return err(EINVAL);
    }
    if flags & USER_STACK == 0 {
        return err(EFAULT);
    }
    let skip = (flags & SKIP_FIELD_MASK) as usize;
    // SAFETY: verified arguments.
    unsafe {
        let map = Map::from_ptr(map as *mut u8);
        with_slot(rc, |cx| {
            let ips = cx.scratch().cast::<u64>();
            let nr = walk(
                rc,
                ips,
                map.stack_depth() as usize + skip,
                cx.scratch().add(MAX_DEPTH * 8 + 8),
            );
            if nr <= skip {
                return err(EFAULT);
            }
            match stack::insert(&map, ips.add(skip), (nr - skip) as u32, flags, cx) {
                Ok(id) => id as u64,
                Err(errno) => err(errno),
            }
        })
        .unwrap_or(err(EBUSY))
    }
}

/// `bpf_get_stack(ctx, buf, size, flags)`: bytes written, the rest of `buf` zeroed; `-EINVAL` unknown flags or a size that is
/// no multiple of 8, `-EFAULT` fewer frames than to skip.
///
/// # Safety
/// Verified arguments; `rc.regs` has `ip`, `sp`, `bp`.
pub unsafe extern "C" fn get_stack(
    _: u64,
    buf: u64,
    size: u64,
    flags: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    let (out, size) = (buf as *mut u8, size as u32 as usize);
    let skip = (flags & SKIP_FIELD_MASK) as usize;
    let bad = if flags & !(SKIP_FIELD_MASK | USER_STACK) != 0 || !size.is_multiple_of(8) {
        Some(EINVAL)
    } else if flags & USER_STACK == 0 {
        Some(EFAULT)
    } else {
        None
    };
    // SAFETY: verified arguments.
    unsafe {
        out.write_bytes(0, size);
        if let Some(errno) = bad {
            return err(errno);
        }
        with_slot(rc, |cx| {
            let ips = cx.scratch().cast::<u64>();
            let nr = walk(rc, ips, size / 8 + skip, cx.scratch().add(MAX_DEPTH * 8 + 8));
            if nr < skip {
                return err(EFAULT);
            }
            let bytes = ((nr - skip) * 8).min(size);
            out.copy_from_nonoverlapping(ips.add(skip).cast(), bytes);
            bytes as u64
        })
        .unwrap_or(err(EBUSY))
    }
}
