//! Text: trace_printk, snprintf, numbers from strings.

use super::err;
use crate::abi::RunCtx;
use crate::control;
use crate::fmt::{self, MAX_VARARGS, Out};
use crate::identity;
use crate::map::ring::{self, Ring};
use crate::slot::{Cx, with_slot};
use crate::sys;
use crate::usermem::UserMem;
use stylet_uapi::errno::{EBUSY, EINVAL, ERANGE};

/// `MAX_BPRINTF_BUF`: longest text of `bpf_trace_printk`, NUL included.
const MAX_BPRINTF_BUF: usize = 1024;

/// What precedes the text of a record of the printk ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PrintkHdr {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// Thread id.
    pub pid: u32,
    /// Process id.
    pub tgid: u32,
    /// CPU slot.
    pub cpu: u32,
    /// Program number.
    pub prog: u32,
    /// The thread's name.
    pub comm: [u8; 16],
}

/// Formats into the slot's scratch memory and sends the text to the printk ring; its length, or `-errno`.
unsafe fn printk(
    f: *const u8,
    size: usize,
    args: *const u64,
    nargs: usize,
    rc: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the callers.
    unsafe {
        with_slot(rc, |cx| {
            let text = cx.scratch();
            let mut out = Out::new(text, MAX_BPRINTF_BUF, UserMem::of(cx.arena));
            if let Err(errno) = fmt::format(&mut out, f, size, args, nargs) {
                return err(errno);
            }
            let len = out.finish();
            send(text, len.min(MAX_BPRINTF_BUF - 1), cx, rc);
            len as u64
        })
        .unwrap_or(err(EBUSY))
    }
}

/// Appends a record to the printk ring; a lost one is counted there.
unsafe fn send(text: *const u8, len: usize, cx: &Cx, rc: *mut RunCtx) {
    // SAFETY: the ring is where the tracer put it; `text` has `len` bytes.
    unsafe {
        let ctl = control::control(cx.arena);
        if ctl.printk_off == 0 || !ctl.printk_size.is_power_of_two() {
            return;
        }
        let ring = Ring::new(cx.arena.add(ctl.printk_off as usize), ctl.printk_size - 1);
        let hdr = PrintkHdr {
            ns: super::time::ktime_get_ns(0, 0, 0, 0, 0, rc),
            pid: identity::tid(cx.arena),
            tgid: identity::tgid(control::proc_page(cx.arena)),
            cpu: cx.slot,
            prog: (*rc).prog,
            comm: sys::comm(),
        };
        let Some(to) = ring.reserve((size_of::<PrintkHdr>() + len) as u64, cx) else { return };
        to.cast::<PrintkHdr>().write(hdr);
        to.add(size_of::<PrintkHdr>()).copy_from_nonoverlapping(text, len);
        ring::commit(cx.arena, to, 0, false);
    }
}

/// `bpf_trace_printk(fmt, fmt_size, a, b, c)`: length of the text, `-EINVAL` for a bad format, `-ENOSPC`.
///
/// # Safety
/// `fmt` has `fmt_size` bytes.
pub unsafe extern "C" fn trace_printk(
    f: u64,
    size: u64,
    a: u64,
    b: u64,
    c: u64,
    rc: *mut RunCtx,
) -> u64 {
    let args = [a, b, c];
    // SAFETY: promised by the caller.
    unsafe { printk(f as *const u8, size as u32 as usize, args.as_ptr(), args.len(), rc) }
}

/// Number of arguments in `len` bytes, `None` when the length is bad.
fn vararg_count(args: u64, len: u64) -> Option<usize> {
    let len = len as u32 as usize;
    let good = len.is_multiple_of(8) && len <= MAX_VARARGS * 8 && (len == 0 || args != 0);
    good.then_some(len / 8)
}

/// `bpf_trace_vprintk(fmt, fmt_size, data, data_len)`.
///
/// # Safety
/// `fmt` has `fmt_size` bytes, `data` has `data_len`.
pub unsafe extern "C" fn trace_vprintk(
    f: u64,
    size: u64,
    args: u64,
    len: u64,
    _: u64,
    rc: *mut RunCtx,
) -> u64 {
    let Some(nargs) = vararg_count(args, len) else { return err(EINVAL) };
    // SAFETY: promised by the caller.
    unsafe { printk(f as *const u8, size as u32 as usize, args as *const u64, nargs, rc) }
}

/// `bpf_snprintf(str, str_size, fmt, data, data_len)`: length of the text and its NUL, also of what did not fit.
///
/// # Safety
/// `str` has `str_size` bytes, `fmt` ends in a NUL, `data` has `data_len` bytes.
pub unsafe extern "C" fn snprintf(
    s: u64,
    size: u64,
    f: u64,
    args: u64,
    len: u64,
    rc: *mut RunCtx,
) -> u64 {
    let Some(nargs) = vararg_count(args, len) else { return err(EINVAL) };
    // SAFETY: promised by the caller.
    unsafe {
        let mem = UserMem::of((*rc).arena);
        let mut out = Out::new(s as *mut u8, size as u32 as usize, mem);
        match fmt::format(&mut out, f as *const u8, u32::MAX as usize, args as *const u64, nargs) {
            Ok(()) => out.finish() as u64 + 1,
            Err(errno) => err(errno),
        }
    }
}

/// A number at the start of a string (`__bpf_strtoull`, kernel/bpf/helpers.c): value, sign, bytes consumed.
unsafe fn parse(buf: *const u8, len: usize, flags: u64) -> Result<(u64, bool, usize), i32> {
    /// Longest number, with its prefix.
    const MAX_DIGITS: usize = 63;
    let mut base = flags;
    if !matches!(base, 0 | 8 | 10 | 16) {
        return Err(EINVAL);
    }
    // SAFETY: below `len`, promised by the caller.
    let at = |i: usize, end: usize| if i < end { unsafe { *buf.add(i) } } else { 0 };
    let mut i = 0;
    while matches!(at(i, len), b'\t'..=b'\r' | b' ' | 0xa0) {
        i += 1;
    }
    let negative = at(i, len) == b'-';
    i += negative as usize;
    let end = len.min(i + MAX_DIGITS);
    let prefix = at(i, end) == b'0' && at(i + 1, end) | 0x20 == b'x';
    if base == 0 {
        base = match at(i, end) {
            b'0' if prefix && at(i + 2, end).is_ascii_hexdigit() => 16,
            b'0' => 8,
            _ => 10,
        };
    }
    if base == 16 && prefix {
        i += 2;
    }
    let (start, mut value, mut overflow) = (i, 0u64, false);
    loop {
        let digit = match at(i, end) {
            c @ b'0'..=b'9' => c - b'0',
            c @ (b'a'..=b'f' | b'A'..=b'F') => (c | 0x20) - b'a' + 10,
            _ => break,
        } as u64;
        if digit >= base {
            break;
        }
        match value.checked_mul(base).and_then(|v| v.checked_add(digit)) {
            Some(v) => value = v,
            None => overflow = true,
        }
        i += 1;
    }
    if overflow {
        return Err(ERANGE);
    }
    if i == start { Err(EINVAL) } else { Ok((value, negative, i)) }
}

/// `bpf_strtol(buf, buf_len, flags, res)`: bytes consumed, `-EINVAL`, `-ERANGE`.
///
/// # Safety
/// `buf` has `buf_len` bytes, `res` has 8.
pub unsafe extern "C" fn strtol(
    buf: u64,
    len: u64,
    flags: u64,
    res: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        *(res as *mut i64) = 0;
        let (value, negative, used) = match parse(buf as *const u8, len as usize, flags) {
            Ok(parsed) => parsed,
            Err(errno) => return err(errno),
        };
        let signed = if negative { value.wrapping_neg() as i64 } else { value as i64 };
        if (negative && signed > 0) || (!negative && signed < 0) {
            return err(ERANGE);
        }
        *(res as *mut i64) = signed;
        used as u64
    }
}

/// `bpf_strtoul(buf, buf_len, flags, res)`: bytes consumed, `-EINVAL` (also for a minus), `-ERANGE`.
///
/// # Safety
/// `buf` has `buf_len` bytes, `res` has 8.
pub unsafe extern "C" fn strtoul(
    buf: u64,
    len: u64,
    flags: u64,
    res: u64,
    _: u64,
    _: *mut RunCtx,
) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        *(res as *mut u64) = 0;
        match parse(buf as *const u8, len as usize, flags) {
            Ok((_, true, _)) => err(EINVAL),
            Ok((value, false, used)) => {
                *(res as *mut u64) = value;
                used as u64
            }
            Err(errno) => err(errno),
        }
    }
}
