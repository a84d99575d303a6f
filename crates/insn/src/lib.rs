//! BPF instructions: decode, encode, assemble and disassemble (RFC 9669 and the kernel's additions).
//!
//! An instruction is kept raw, as in the kernel: `LDDW` takes two consecutive [`Insn`] slots, and an
//! instruction index (`insn_idx`) counts slots.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod insn;
mod make;
pub mod opcode;

pub use insn::Insn;
