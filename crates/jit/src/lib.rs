//! x86-64 machine code for verified programs.
#![deny(unsafe_code)]

mod code;

pub use code::{Code, HelperImpl, Options, Reloc, Sym};
