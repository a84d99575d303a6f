//! BPF instructions: decode, encode, assemble and disassemble (RFC 9669 and the kernel's additions).
//!
//! An instruction is kept raw, as in the kernel: `LDDW` takes two consecutive [`Insn`] slots, and an
//! instruction index (`insn_idx`) counts slots.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod asm;
mod disasm;
mod insn;
mod make;
mod names;
pub mod opcode;
pub mod valid;

pub use asm::{AsmError, Assembled, assemble, assemble_with};
pub use disasm::{Disasm, Style, disasm, listing};
pub use insn::Insn;
pub use names::{Names, Symbols};
