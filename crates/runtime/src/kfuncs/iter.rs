//! Open-coded iterators (kernel/bpf/bpf_iter.c, kernel/bpf/helpers.c).

use super::Args;
use crate::abi::RunCtx;
use crate::helpers::err;
use crate::usermem::UserMem;
use stylet_uapi::errno::{E2BIG, EFAULT, EINVAL};

/// `BPF_MAX_LOOPS`.
const BPF_MAX_LOOPS: i64 = 8 << 20;

/// `struct bpf_iter_num`.
#[repr(C)]
struct Num {
    /// The last number given.
    cur: i32,
    /// The first number not given.
    end: i32,
}

/// `bpf_iter_num_new(it, start, end)`: 0, `-EINVAL` backwards, `-E2BIG` for more than `BPF_MAX_LOOPS` numbers. The iterator is
/// empty on failure.
///
/// # Safety
/// Verified arguments; so for every kfunc here.
pub unsafe fn num_new([it, start, end, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let it = unsafe { &mut *(it as *mut Num) };
    let (start, end) = (start as i32, end as i32);
    *it = Num { cur: 0, end: 0 };
    if start > end {
        return err(EINVAL);
    }
    if i64::from(end) - i64::from(start) > BPF_MAX_LOOPS {
        return err(E2BIG);
    }
    *it = Num { cur: start.wrapping_sub(1), end };
    0
}

/// `bpf_iter_num_next(it)`: address of the next number, 0 at the end.
///
/// # Safety
/// Verified arguments.
#[inline]
pub unsafe fn num_next([it, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let it = unsafe { &mut *(it as *mut Num) };
    let next = it.cur.wrapping_add(1);
    if next >= it.end {
        *it = Num { cur: 0, end: 0 };
        return 0;
    }
    it.cur = next;
    &raw mut it.cur as u64
}

/// `bpf_iter_num_destroy(it)`.
///
/// # Safety
/// Verified arguments.
pub unsafe fn num_destroy([it, ..]: Args, _: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    unsafe { *(it as *mut Num) = Num { cur: 0, end: 0 } };
    0
}

/// `BITS_ITER_NR_WORDS_MAX`.
const MAX_WORDS: u32 = 511;

/// `struct bpf_iter_bits`. Where the kernel keeps a copy of more than one word, this keeps their address: a word is read when
/// its first bit is looked for, and counts as zero if it cannot be read any more.
#[repr(C)]
struct Bits {
    /// The one word, or the address of several.
    word: u64,
    /// Bits in all of them.
    nr_bits: i32,
    /// The last bit given, -1 before the first.
    bit: i32,
}

/// `bpf_iter_bits_new(it, ptr, nr_words)`: 0, `-EINVAL` null or no words, `-E2BIG` more than 511 words, `-EFAULT` unreadable.
/// The iterator is empty on failure.
///
/// # Safety
/// Verified arguments.
pub unsafe fn bits_new([it, from, words, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let it = unsafe { &mut *(it as *mut Bits) };
    let words = words as u32;
    *it = Bits { word: 0, nr_bits: 0, bit: -1 };
    if from == 0 || words == 0 {
        return err(EINVAL);
    }
    if words > MAX_WORDS {
        return err(E2BIG);
    }
    for i in 0..u64::from(words) {
        // Every word is tried; the last one read is the one if there is only one.
        // SAFETY: promised by the caller.
        match unsafe { word(from.wrapping_add(8 * i), rc) } {
            Some(word) => it.word = word,
            None => return err(EFAULT),
        }
    }
    if words > 1 {
        it.word = from;
    }
    it.nr_bits = 64 * words as i32;
    0
}

/// The word at an address that may be bad.
///
/// # Safety
/// `rc` is valid.
unsafe fn word(at: u64, rc: *mut RunCtx) -> Option<u64> {
    let mut word = 0u64;
    // SAFETY: promised by the caller.
    let read = unsafe { UserMem::of((*rc).arena).read((&raw mut word).cast(), at, 8) };
    read.then_some(word)
}

/// `bpf_iter_bits_next(it)`: address of the number of the next bit that is set, 0 at the end.
///
/// # Safety
/// Verified arguments.
pub unsafe fn bits_next([it, ..]: Args, rc: *mut RunCtx) -> u64 {
    // SAFETY: verified arguments.
    let it = unsafe { &mut *(it as *mut Bits) };
    let mut bit = it.bit.wrapping_add(1);
    while bit >= 0 && bit < it.nr_bits {
        let word = match it.nr_bits {
            64 => it.word,
            // SAFETY: promised by the caller.
            _ => unsafe { word(it.word.wrapping_add(8 * (bit as u64 / 64)), rc) }.unwrap_or(0),
        };
        let rest = word >> (bit & 63);
        if rest != 0 {
            it.bit = bit + rest.trailing_zeros() as i32;
            return &raw mut it.bit as u64;
        }
        bit = (bit | 63) + 1;
    }
    it.bit = it.nr_bits;
    0
}

/// `bpf_iter_bits_destroy(it)`.
///
/// # Safety
/// None is needed.
pub unsafe fn bits_destroy(_: Args, _: *mut RunCtx) -> u64 {
    0
}
