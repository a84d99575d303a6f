//! Formatted text by the rules of `bpf_bprintf_prepare` (kernel/bpf/helpers.c) and `bstr_printf` (lib/vsprintf.c).
//!
//! `%[flags][width]` with flags `0 + - space`, then `d i u x X` (with `l` or `ll`), `c`, `s`, `p` and `pK px ps pS pB pks pus pi4
//! pI4 pi6 pI6`. There are no kernel symbols: `%ps`, `%pS`, `%pB` print the address as the kernel prints an unknown one, and
//! `%p` prints it unhashed.

use crate::usermem::UserMem;
use stylet_uapi::errno::{EINVAL, ENOSPC};

/// `MAX_BPRINTF_VARARGS`.
pub const MAX_VARARGS: usize = 12;
/// `MAX_BPRINTF_BIN_ARGS`: room that the arguments of one call may take.
const MAX_BIN_ARGS: usize = 512;
/// `FIELD_WIDTH_MAX`, lib/vsprintf.c.
const FIELD_WIDTH_MAX: usize = (1 << 23) - 1;

/// Where text goes: like snprintf, what does not fit is counted but not written.
pub struct Out {
    dst: *mut u8,
    size: usize,
    len: usize,
    mem: UserMem,
}

impl Out {
    /// Writes to `size` bytes at `dst`, the last of them for the NUL. Strings are read from `mem`.
    ///
    /// # Safety
    /// `dst` has `size` bytes.
    pub unsafe fn new(dst: *mut u8, size: usize, mem: UserMem) -> Out {
        Out { dst, size, len: 0, mem }
    }

    fn push(&mut self, byte: u8) {
        if self.len + 1 < self.size {
            // SAFETY: below `size`.
            unsafe { *self.dst.add(self.len) = byte };
        }
        self.len += 1;
    }

    fn pad(&mut self, byte: u8, n: usize) {
        let writable = n.min(self.size.saturating_sub(self.len));
        for _ in 0..writable {
            self.push(byte);
        }
        self.len += n - writable;
    }

    /// Ends the text with a NUL; its length, whether or not all of it was written.
    pub fn finish(self) -> usize {
        if self.size != 0 {
            // SAFETY: below `size`.
            unsafe { *self.dst.add(self.len.min(self.size - 1)) = 0 };
        }
        self.len
    }
}

/// A conversion: `%` up to its last character.
#[derive(Clone, Copy, Default)]
struct Spec {
    zero: bool,
    plus: bool,
    space: bool,
    left: bool,
    width: usize,
    conv: Conv,
}

#[derive(Clone, Copy, Default)]
enum Conv {
    /// Base, upper case, signed, 8 bytes.
    Int {
        hex: bool,
        upper: bool,
        signed: bool,
        wide: bool,
    },
    #[default]
    Char,
    Str,
    /// `%pks`, `%pus`: a string that is not padded.
    Text,
    /// Address with 16 digits.
    Ptr,
    /// Address as of an unknown symbol.
    Sym,
    /// IPv4 or IPv6 address, with leading zeros or colons as of its letter.
    Ip {
        six: bool,
        upper: bool,
    },
}

/// A format string that is read up to its NUL.
#[derive(Clone, Copy)]
struct Fmt {
    at: *const u8,
    len: usize,
}

impl Fmt {
    /// Byte `i`, 0 from the end on.
    fn get(&self, i: usize) -> u8 {
        // SAFETY: below `len`.
        if i < self.len { unsafe { *self.at.add(i) } } else { 0 }
    }
}

fn is_space(c: u8) -> bool {
    matches!(c, b'\t'..=b'\r' | b' ')
}

/// Whether a conversion may end before `c`.
fn is_boundary(c: u8) -> bool {
    c == 0 || is_space(c) || c.is_ascii_punctuation()
}

/// Parses the conversion whose `%` is at `i - 1`: it and the index after it.
fn parse(fmt: Fmt, mut i: usize) -> Result<(Spec, usize), i32> {
    let mut spec = Spec::default();
    loop {
        match fmt.get(i) {
            b'0' => spec.zero = true,
            b'+' => spec.plus = true,
            b'-' => spec.left = true,
            b' ' => spec.space = true,
            _ => break,
        }
        i += 1;
    }
    while fmt.get(i).is_ascii_digit() {
        spec.width = (spec.width * 10 + (fmt.get(i) - b'0') as usize).min(FIELD_WIDTH_MAX);
        i += 1;
    }
    let (conv, end) = match fmt.get(i) {
        b'p' => pointer(fmt, i + 1)?,
        b's' if is_boundary(fmt.get(i + 1)) => (Conv::Str, i + 1),
        b'c' => (Conv::Char, i + 1),
        _ => integer(fmt, i)?,
    };
    spec.conv = conv;
    Ok((spec, end))
}

/// After `%p`. Letters and digits that follow are part of it, as for every reader of `%p` in lib/vsprintf.c.
fn pointer(fmt: Fmt, i: usize) -> Result<(Conv, usize), i32> {
    let (conv, mut end) = match (fmt.get(i), fmt.get(i + 1)) {
        (b'k' | b'u', b's') if is_boundary(fmt.get(i + 2)) => (Conv::Text, i + 2),
        (b'k' | b'u', b's') => return Err(EINVAL),
        (b'K' | b'x', _) => (Conv::Ptr, i + 1),
        (b's' | b'S' | b'B', _) => (Conv::Sym, i + 1),
        (c @ (b'i' | b'I'), d @ (b'4' | b'6')) => {
            (Conv::Ip { six: d == b'6', upper: c == b'I' }, i + 2)
        }
        (c, _) if is_boundary(c) => (Conv::Ptr, i),
        _ => return Err(EINVAL),
    };
    while fmt.get(end).is_ascii_alphanumeric() {
        end += 1;
    }
    Ok((conv, end))
}

fn integer(fmt: Fmt, mut i: usize) -> Result<(Conv, usize), i32> {
    let start = i;
    while fmt.get(i) == b'l' && i < start + 2 {
        i += 1;
    }
    let wide = i > start;
    let (hex, upper, signed) = match fmt.get(i) {
        b'd' | b'i' => (false, false, true),
        b'u' => (false, false, false),
        b'x' => (true, false, false),
        b'X' => (true, true, false),
        _ => return Err(EINVAL),
    };
    Ok((Conv::Int { hex, upper, signed, wide }, i + 1))
}

/// Checks a format string: `EINVAL` as `bpf_bprintf_prepare`, without looking at arguments. Length of the string.
fn check(fmt: *const u8, size: usize, nargs: usize) -> Result<usize, i32> {
    let mut len = 0;
    loop {
        if len >= size {
            return Err(EINVAL);
        }
        // SAFETY: below `size`, or before the NUL that the caller promised.
        let c = unsafe { *fmt.add(len) };
        if c == 0 {
            break;
        }
        len += 1;
    }
    let fmt = Fmt { at: fmt, len };
    let (mut i, mut specs) = (0, 0);
    while i < len {
        let c = fmt.get(i);
        i += 1;
        if !(c.is_ascii_graphic() || is_space(c)) {
            return Err(EINVAL);
        }
        if c != b'%' {
            continue;
        }
        if fmt.get(i) == b'%' {
            i += 1;
            continue;
        }
        if specs >= nargs {
            return Err(EINVAL);
        }
        specs += 1;
        i = parse(fmt, i)?.1;
    }
    Ok(len)
}

/// Formats `fmt` (`size` bytes, a NUL among them) with `nargs` arguments: `EINVAL` for a bad format, `ENOSPC` when the
/// arguments take more than the kernel's buffer for them.
///
/// # Safety
/// `fmt` has `size` bytes or a NUL before, `args` has `nargs` values.
pub unsafe fn format(
    out: &mut Out,
    fmt: *const u8,
    size: usize,
    args: *const u64,
    nargs: usize,
) -> Result<(), i32> {
    let len = check(fmt, size, nargs)?;
    let fmt = Fmt { at: fmt, len };
    let mut room = Room { used: 0 };
    let (mut i, mut n) = (0, 0);
    while i < len {
        let c = fmt.get(i);
        i += 1;
        if c != b'%' {
            out.push(c);
        } else if fmt.get(i) == b'%' {
            out.push(b'%');
            i += 1;
        } else {
            let (spec, end) = parse(fmt, i)?;
            // The text may lie in a map and change after `check` has counted its conversions.
            if n >= nargs {
                return Err(EINVAL);
            }
            // SAFETY: below `nargs`.
            let arg = unsafe { *args.add(n) };
            (i, n) = (end, n + 1);
            convert(out, &spec, arg, &mut room)?;
        }
    }
    Ok(())
}

/// What the arguments take of the kernel's buffer.
struct Room {
    used: usize,
}

impl Room {
    fn take(&mut self, align: usize, bytes: usize) -> Result<(), i32> {
        self.used = self.used.next_multiple_of(align) + bytes;
        if self.used > MAX_BIN_ARGS { Err(ENOSPC) } else { Ok(()) }
    }
}

fn convert(out: &mut Out, spec: &Spec, arg: u64, room: &mut Room) -> Result<(), i32> {
    match spec.conv {
        Conv::Int { hex, upper, signed, wide } => {
            room.take(4, if wide { 8 } else { 4 })?;
            let value = match (wide, signed) {
                (true, _) => arg,
                (false, true) => arg as i32 as i64 as u64,
                (false, false) => arg as u32 as u64,
            };
            let negative = signed && (value as i64) < 0;
            let sign = match () {
                _ if negative => Some(b'-'),
                _ if signed && spec.plus => Some(b'+'),
                _ if signed && spec.space => Some(b' '),
                _ => None,
            };
            number(
                out,
                spec,
                if negative { value.wrapping_neg() } else { value },
                hex,
                upper,
                sign,
            );
        }
        Conv::Char => {
            room.take(1, 1)?;
            padded(out, spec, 1, |out| out.push(arg as u8));
        }
        Conv::Ptr => {
            room.take(4, 8)?;
            let all = Spec { zero: true, width: 16, ..*spec };
            number(out, if spec.width == 0 { &all } else { spec }, arg, true, false, None);
        }
        Conv::Sym => {
            room.take(4, 8)?;
            let digits = digits_of(arg, true);
            padded(out, spec, digits + 2, |out| {
                out.push(b'0');
                out.push(b'x');
                number(out, &Spec::default(), arg, true, false, None);
            });
        }
        Conv::Str => string(out, spec, arg, room)?,
        Conv::Text => string(out, &Spec::default(), arg, room)?,
        Conv::Ip { six, upper } => ip(out, arg, six, upper, room)?,
    }
    Ok(())
}

/// Text of `len` characters, filled with spaces to the width.
fn padded(out: &mut Out, spec: &Spec, len: usize, text: impl FnOnce(&mut Out)) {
    let fill = spec.width.saturating_sub(len);
    if !spec.left {
        out.pad(b' ', fill);
    }
    text(out);
    if spec.left {
        out.pad(b' ', fill);
    }
}

fn digits_of(mut value: u64, hex: bool) -> usize {
    let mut n = 1;
    loop {
        value = if hex { value >> 4 } else { value / 10 };
        if value == 0 {
            return n;
        }
        n += 1;
    }
}

/// A number with sign and padding (`number`, lib/vsprintf.c).
fn number(out: &mut Out, spec: &Spec, value: u64, hex: bool, upper: bool, sign: Option<u8>) {
    let digits = digits_of(value, hex);
    let fill = spec.width.saturating_sub(digits + sign.is_some() as usize);
    if !spec.left && !spec.zero {
        out.pad(b' ', fill);
    }
    if let Some(sign) = sign {
        out.push(sign);
    }
    if !spec.left && spec.zero {
        out.pad(b'0', fill);
    }
    for i in (0..digits).rev() {
        let digit =
            if hex { (value >> (4 * i.min(15))) as u8 & 15 } else { (value / pow10(i) % 10) as u8 };
        out.push(match digit {
            0..=9 => b'0' + digit,
            _ if upper => b'A' + digit - 10,
            _ => b'a' + digit - 10,
        });
    }
    if spec.left {
        out.pad(b' ', fill);
    }
}

/// 10 to the power of `i`, never 0.
fn pow10(i: usize) -> u64 {
    (0..i.min(19)).fold(1u64, |p, _| p.wrapping_mul(10)).max(1)
}

/// A string at an address that may be bad (then it is empty).
fn string(out: &mut Out, spec: &Spec, address: u64, room: &mut Room) -> Result<(), i32> {
    let mut buf = [0u8; 128];
    let max = MAX_BIN_ARGS.saturating_sub(room.used);
    if max == 0 {
        return Err(ENOSPC);
    }
    let length = str_len(out.mem, address, max);
    room.take(1, length + 1)?;
    padded(out, spec, length, |out| {
        let mut done = 0;
        while done < length {
            let n = buf.len().min(length - done);
            // SAFETY: `buf` has as many bytes.
            if !unsafe { out.mem.read(buf.as_mut_ptr(), address.wrapping_add(done as u64), n) } {
                break;
            }
            for &b in buf.iter().take(n) {
                // Shortened by another thread since it was measured.
                out.push(if b == 0 { b' ' } else { b });
            }
            done += n;
        }
    });
    Ok(())
}

/// Length of the string at `address`, at most `max - 1`; 0 when it cannot be read.
fn str_len(mem: UserMem, address: u64, max: usize) -> usize {
    let mut buf = [0u8; MAX_BIN_ARGS];
    // SAFETY: `max` is at most the size of `buf` and not 0.
    unsafe { mem.read_str(buf.as_mut_ptr(), address, max.min(MAX_BIN_ARGS)) }.map_or(0, |n| n - 1)
}

/// An IP address read from memory, zeros when it cannot be read (`ip4_string`, `ip6_string`, lib/vsprintf.c).
fn ip(out: &mut Out, address: u64, six: bool, upper: bool, room: &mut Room) -> Result<(), i32> {
    let mut bytes = [0u8; 16];
    let n = if six { 16 } else { 4 };
    // SAFETY: `bytes` has 16.
    if !unsafe { out.mem.read(bytes.as_mut_ptr(), address, n) } {
        bytes = [0; 16];
    }
    let start = out.len;
    for (i, &b) in bytes.iter().take(n).enumerate() {
        let digits = |width| Spec { zero: true, width, ..Spec::default() };
        if six {
            if upper && i != 0 && i % 2 == 0 {
                out.push(b':');
            }
            number(out, &digits(2), b as u64, true, false, None);
        } else {
            if i != 0 {
                out.push(b'.');
            }
            number(out, &digits(if upper { 0 } else { 3 }), b as u64, false, false, None);
        }
    }
    room.take(1, out.len - start + 1)
}
