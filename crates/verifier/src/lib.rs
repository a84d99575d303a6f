//! The Linux verifier, written afresh: [`verify`] turns instructions into a [`VerifiedProg`] or a
//! [`Rejection`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod input;
mod verified;

pub use input::{FuncInfo, LineInfo, MapDef, ProgInput};
pub use verified::{Facts, InsnFact, MemKind, Subprog, VerifiedProg};
