//! The memory functions that compilers call; no library of the traced program may be relied on.

use core::arch::asm;

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        if n <= 16 {
            return copy_small(dst, src, n);
        }
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") dst => _, inout("rsi") src => _,
             options(nostack, preserves_flags));
    }
    dst
}

/// Up to 16 bytes, as two loads and stores that may overlap.
#[inline(always)]
unsafe fn copy_small(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    macro_rules! ends {
        ($ty:ty) => {{
            let last = n - size_of::<$ty>();
            let (a, b) =
                (src.cast::<$ty>().read_unaligned(), src.add(last).cast::<$ty>().read_unaligned());
            dst.cast::<$ty>().write_unaligned(a);
            dst.add(last).cast::<$ty>().write_unaligned(b);
        }};
    }
    // SAFETY: both accesses are within `n` bytes.
    unsafe {
        match n {
            8.. => ends!(u64),
            4.. => ends!(u32),
            2.. => ends!(u16),
            1 => *dst = *src,
            _ => {}
        }
    }
    dst
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise; backwards when the ranges overlap that way.
    unsafe {
        if (dst as usize).wrapping_sub(src as usize) >= n {
            return memcpy(dst, src, n);
        }
        asm!("std", "rep movsb", "cld", inout("rcx") n => _, inout("rdi") dst.wrapping_add(n).wrapping_sub(1) => _,
             inout("rsi") src.wrapping_add(n).wrapping_sub(1) => _, options(nostack));
    }
    dst
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(dst: *mut u8, byte: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") dst => _, in("al") byte as u8,
             options(nostack, preserves_flags));
    }
    dst
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller's promise; volatile so that this loop is not compiled into a call of itself.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}
