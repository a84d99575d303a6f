//! The Linux verifier, written afresh: [`verify`] turns instructions into a [`VerifiedProg`] or a
//! [`Rejection`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attach;
mod backtrack;
mod bounds;
mod btf_walk;
mod cfg;
mod check;
mod depth;
mod env;
mod equal;
mod fields;
mod flow;
mod input;
mod kind;
mod liveness;
mod log;
mod maps;
mod regs;
mod rejection;
mod scc;
mod state;
mod states;
mod tnum;
mod verified;
mod verify;
mod walk;

pub use bounds::{AluOp, Bounds, is_branch_taken, refine};
pub use input::{FuncInfo, LineInfo, MapDef, ProgInput};
pub use kind::Region;
pub use regs::TypeName;
pub use rejection::{PathStep, Rejection, RejectionKind};
pub use tnum::Tnum;
pub use verified::{Facts, InsnFact, MemKind, Stats, Subprog, VerifiedProg};
pub use verify::verify;
