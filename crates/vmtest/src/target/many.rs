//! A thousand functions, `vmtest_many_000` to `vmtest_many_999`, each of which returns its number.

use std::arch::global_asm;

/// How many there are.
pub const MANY: u64 = 1000;

// In one piece: the order of several would be the compiler's choice.
global_asm!(
    r#".pushsection .data.rel.ro.vmtest_many, "aw", @progbits"#,
    ".balign 8",
    ".globl vmtest_many_table",
    "vmtest_many_table:",
    ".popsection",
    ".irp a, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ".irp b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ".irp c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    r#".pushsection .text.vmtest_many, "ax", @progbits"#,
    r".globl vmtest_many_\a\b\c",
    r".type vmtest_many_\a\b\c, @function",
    ".balign 16",
    r"vmtest_many_\a\b\c:",
    "push rbp",
    "mov rbp, rsp",
    // A leading zero would make it octal.
    r"mov eax, 1\a\b\c - 1000",
    "pop rbp",
    "ret",
    r".size vmtest_many_\a\b\c, . - vmtest_many_\a\b\c",
    ".popsection",
    r#".pushsection .data.rel.ro.vmtest_many, "aw", @progbits"#,
    r".quad vmtest_many_\a\b\c",
    ".popsection",
    ".endr",
    ".endr",
    ".endr",
);

unsafe extern "C" {
    static vmtest_many_table: [extern "C" fn() -> u64; MANY as usize];
}

/// Calls each of them once; the sum of what they return.
pub fn call_many() -> u64 {
    // SAFETY: the assembler text above defines the table with so many entries, each a function that returns a number.
    unsafe { vmtest_many_table.iter().map(|function| function()).sum() }
}
