//! Searches in strings at addresses that may be bad (kernel/bpf/helpers.c).
//!
//! Results are positions or orders; `-EFAULT` for an unreadable byte, `-E2BIG` for a string longer than [`MAX`], `-ENOENT`
//! where nothing is found, `-ERANGE` for an address that never is one of a string: there is one address space, so that the
//! kernel's test whether it is a kernel address has no other meaning.

use super::Args;
use crate::abi::RunCtx;
use crate::helpers::err;
use crate::usermem::UserMem;
use stylet_uapi::errno::{E2BIG, EFAULT, ENOENT, ERANGE};

/// `XATTR_SIZE_MAX`: strings are read no further.
const MAX: u64 = 65536;
/// Addresses below it are never mapped (`vm.mmap_min_addr`).
const FIRST: u64 = 4096;
/// Addresses of user space end here.
const END: u64 = 1 << 47;
/// Bytes read at a time.
const CHUNK: usize = 64;

/// A string, read in aligned chunks.
struct Str {
    mem: UserMem,
    start: u64,
    /// Address of the chunk read last; odd before the first.
    chunk: u64,
    bytes: [u8; CHUNK],
}

impl Str {
    /// # Safety
    /// `rc` is valid.
    unsafe fn new(start: u64, rc: *mut RunCtx) -> Result<Str, i32> {
        if !(FIRST..END).contains(&start) {
            return Err(ERANGE);
        }
        // SAFETY: promised by the caller.
        let mem = unsafe { UserMem::of((*rc).arena) };
        Ok(Str { mem, start, chunk: 1, bytes: [0; CHUNK] })
    }

    /// Byte `i`.
    fn at(&mut self, i: u64) -> Result<u8, i32> {
        let address = self.start.wrapping_add(i);
        let chunk = address & !(CHUNK as u64 - 1);
        if chunk != self.chunk {
            // SAFETY: the buffer has the size of a chunk, which lies in one page.
            if !unsafe { self.mem.read(self.bytes.as_mut_ptr(), chunk, CHUNK) } {
                return Err(EFAULT);
            }
            self.chunk = chunk;
        }
        Ok(self.bytes[address as usize % CHUNK])
    }
}

fn value(result: Result<u64, i32>) -> u64 {
    result.unwrap_or_else(err)
}

fn compare(a: &mut Str, b: &mut Str, fold: bool) -> Result<u64, i32> {
    for i in 0..MAX {
        let (mut x, mut y) = (a.at(i)?, b.at(i)?);
        if fold {
            (x, y) = (lower(x), lower(y));
        }
        if x != y {
            return Ok(if x < y { -1i64 as u64 } else { 1 });
        }
        if x == 0 {
            return Ok(0);
        }
    }
    Err(E2BIG)
}

/// `tolower` of the kernel's table, which is Latin-1 (lib/ctype.c).
fn lower(c: u8) -> u8 {
    match c {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => c + 32,
        _ => c,
    }
}

/// `bpf_strcmp(s1, s2)`: 0, -1 or 1.
///
/// # Safety
/// `rc` is valid; so for every kfunc here.
pub unsafe fn strcmp([a, b, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { pair(a, b, rc) }.and_then(|(mut a, mut b)| compare(&mut a, &mut b, false)))
}

/// `bpf_strcasecmp(s1, s2)`: 0, -1 or 1.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strcasecmp([a, b, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { pair(a, b, rc) }.and_then(|(mut a, mut b)| compare(&mut a, &mut b, true)))
}

/// # Safety
/// `rc` is valid.
unsafe fn pair(a: u64, b: u64, rc: *mut RunCtx) -> Result<(Str, Str), i32> {
    // SAFETY: promised by the caller.
    unsafe { Ok((Str::new(a, rc)?, Str::new(b, rc)?)) }
}

/// Position of the first byte that `is` one, of the first `count`; `None` if the string ends before.
fn find(s: &mut Str, count: u64, is: impl Fn(u8) -> bool) -> Result<(u64, bool), i32> {
    for i in 0..count.min(MAX) {
        let c = s.at(i)?;
        if is(c) {
            return Ok((i, true));
        }
        if c == 0 {
            return Ok((i, false));
        }
    }
    if count >= MAX { Err(E2BIG) } else { Ok((count, false)) }
}

/// # Safety
/// `rc` is valid.
unsafe fn found(s: u64, count: u64, c: u8, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    let result = unsafe { Str::new(s, rc) }.and_then(|mut s| find(&mut s, count, |b| b == c));
    value(result.and_then(|(i, found)| if found { Ok(i) } else { Err(ENOENT) }))
}

/// `bpf_strnchr(s, count, c)`: position in the first `count` bytes.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strnchr([s, count, c, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { found(s, count, c as u8, rc) }
}

/// `bpf_strchr(s, c)`: position.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strchr([s, c, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { found(s, MAX, c as u8, rc) }
}

/// `bpf_strchrnul(s, c)`: position, or that of the end.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strchrnul([s, c, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    let s = unsafe { Str::new(s, rc) };
    value(s.and_then(|mut s| find(&mut s, MAX, |b| b == c as u8)).map(|(i, _)| i))
}

/// `bpf_strrchr(s, c)`: last position. `c` is an `int`, the kernel's `char` is unsigned: no byte equals a negative one.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strrchr([s, c, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { Str::new(s, rc) }.and_then(|mut s| {
        let mut last = Err(ENOENT);
        for i in 0..MAX {
            let byte = s.at(i)?;
            if i32::from(byte) == c as i32 {
                last = Ok(i);
            }
            if byte == 0 {
                return last;
            }
        }
        Err(E2BIG)
    }))
}

/// `bpf_strnlen(s, count)`: length, at most `count`.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strnlen([s, count, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    let s = unsafe { Str::new(s, rc) };
    value(s.and_then(|mut s| find(&mut s, count, |_| false)).map(|(i, _)| i))
}

/// `bpf_strlen(s)`: length.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strlen([s, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { strnlen([s, MAX, 0, 0, 0], rc) }
}

/// Bytes at the start of `s` that are (`accept`) or are not in `set`.
fn span(s: &mut Str, set: &mut Str, accept: bool) -> Result<u64, i32> {
    for i in 0..MAX {
        let c = s.at(i)?;
        if c == 0 {
            return Ok(i);
        }
        let mut j = 0;
        let is_in = loop {
            if j == MAX {
                return Err(E2BIG);
            }
            match set.at(j)? {
                x if x == c => break true,
                0 => break false,
                _ => j += 1,
            }
        };
        if is_in != accept {
            return Ok(i);
        }
    }
    Err(E2BIG)
}

/// `bpf_strspn(s, accept)`: bytes at the start that are all in `accept`.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strspn([s, set, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { pair(s, set, rc) }.and_then(|(mut s, mut set)| span(&mut s, &mut set, true)))
}

/// `bpf_strcspn(s, reject)`: bytes at the start that are all not in `reject`.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strcspn([s, set, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { pair(s, set, rc) }.and_then(|(mut s, mut set)| span(&mut s, &mut set, false)))
}

/// `bpf_strstr(s1, s2)`: position of `s2` in `s1`.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strstr([s1, s2, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { strnstr([s1, s2, MAX, 0, 0], rc) }
}

/// `bpf_strnstr(s1, s2, len)`: position of `s2` in the first `len` bytes of `s1`.
///
/// # Safety
/// `rc` is valid.
pub unsafe fn strnstr([s1, s2, len, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: promised by the caller.
    value(unsafe { pair(s1, s2, rc) }.and_then(|(mut a, mut b)| search(&mut a, &mut b, len)))
}

fn search(hay: &mut Str, needle: &mut Str, len: u64) -> Result<u64, i32> {
    for i in 0..MAX {
        let mut j = 0;
        loop {
            // The needle may end where the part that is looked at does.
            if j == MAX {
                return Err(E2BIG);
            }
            if i + j > len {
                return Err(ENOENT);
            }
            let want = needle.at(j)?;
            if want == 0 {
                return Ok(i);
            }
            if i + j == len {
                return Err(ENOENT);
            }
            let have = hay.at(i + j)?;
            if have == 0 {
                return Err(ENOENT);
            }
            if have != want {
                break;
            }
            j += 1;
        }
    }
    Err(E2BIG)
}
