//! x86-64 machine code for verified programs.
//!
//! [`compile`] turns a [`VerifiedProg`](stylet_verifier::VerifiedProg) into position-independent [`Code`]; who places it
//! fills in the relocations. Code has no run-time checks on memory: the verifier has made them.
#![deny(unsafe_code)]

mod alu;
mod atomic;
mod call;
mod code;
mod div;
mod emit;
mod error;
mod exec;
mod func;
mod jmp;
mod layout;
mod lazy;
mod liveness;
mod magic;
mod mem;
mod regs;
mod rotate;
mod scan;

pub use code::{Code, CpuFeatures, HelperImpl, Options, Reloc, Sym};
pub use error::Error;
pub use exec::ExecMem;
pub use func::compile;
