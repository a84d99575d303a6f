//! Reference interpreter of verified programs: each instruction as RFC 9669 and the kernel define it, written to be
//! read, with every memory access checked. It is the oracle for the compiler.
#![forbid(unsafe_code)]

mod alu;
mod atomic;
mod error;
mod host;
mod jmp;
mod memory;
mod vm;

pub use error::Error;
pub use host::{Host, NoHost};
pub use memory::Memory;
pub use vm::{Interp, Limits, Vm};
