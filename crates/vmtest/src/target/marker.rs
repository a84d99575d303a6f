//! USDT markers, as the macros of `sys/sdt.h` make them.

use std::arch::asm;

/// The semaphore of marker `guarded`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".probes")]
pub static mut vmtest_semaphore: u16 = 0;

/// A place of a marker of provider `vmtest`: its name, semaphore and arguments, then operands of `asm!`.
macro_rules! marker {
    ($name:literal, $semaphore:literal, $args:literal $(, $($operand:tt)*)?) => {
        asm!(
            "990: nop",
            ".pushsection .note.stapsdt, \"\", @note",
            ".balign 4",
            ".4byte 992f-991f, 994f-993f, 3",
            "991: .asciz \"stapsdt\"",
            "992: .balign 4",
            "993: .8byte 990b",
            ".8byte _.stapsdt.base",
            concat!(".8byte ", $semaphore),
            ".asciz \"vmtest\"",
            concat!(".asciz \"", $name, "\""),
            concat!(".asciz \"", $args, "\""),
            "994: .balign 4",
            ".popsection",
            ".ifndef _.stapsdt.base",
            ".pushsection .stapsdt.base, \"aG\", @progbits, .stapsdt.base, comdat",
            ".weak _.stapsdt.base",
            ".hidden _.stapsdt.base",
            "_.stapsdt.base: .space 1",
            ".size _.stapsdt.base, 1",
            ".popsection",
            ".endif",
            $($($operand)*,)?
            options(att_syntax, nostack),
        )
    };
}

/// Passes the places of the markers: 1 and 2 those of `marker`, 3 `guarded`, 4 `float`. Returns `which`.
#[inline(never)]
pub fn markers(which: u64) -> u64 {
    let values = [0_u64, 77];
    match which {
        // SAFETY: a `nop`, whose operands are only named.
        1 => unsafe {
            marker!(
                "marker", "0", "8@{wide} -4@{narrow:e} 8@8({memory})",
                wide = in(reg) 0x1234_5678_9abc_u64, narrow = in(reg) -7_i32, memory = in(reg) values.as_ptr()
            );
        },
        // SAFETY: as above.
        2 => unsafe { marker!("marker", "0", "-4@$-5") },
        // SAFETY: as above.
        3 => unsafe {
            marker!("guarded", "vmtest_semaphore", "8@{number}", number = in(reg) which)
        },
        // SAFETY: as above.
        4 => unsafe { marker!("float", "0", "8f@%xmm0") },
        _ => {}
    }
    which
}

/// The semaphore's value, as an application asks for it before it passes the marker.
pub fn semaphore() -> u64 {
    // SAFETY: an aligned word that only the kernel writes.
    u64::from(unsafe { (&raw const vmtest_semaphore).read_volatile() })
}

/// Address of the semaphore.
pub fn semaphore_address() -> u64 {
    (&raw const vmtest_semaphore) as u64
}
