//! BPF ELF objects to a deterministic [`Spec`].
//!
//! [`Spec::parse`] is a pure function of a file's bytes (and its name, which internal maps carry): it resolves
//! section names, collects maps, links every program with the functions it uses and keeps what only a target can
//! settle (CO-RE, kconfig, ksyms, kfuncs) as lists. [`Spec::relocate`] settles that against a [`Target`].
//! The rules are libbpf's 1.x, and legacy `SEC("maps")` besides.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod elf;
mod error;
mod link;
mod maps;
mod parse;
mod relocate;
mod sec;
mod spec;

pub use error::{Error, ExternFault, MapFault, Place, RelocFault, SourceLine};
pub use parse::Options;
pub use relocate::{Module, POISON_CALL_KFUNC_BASE, Target};
pub use sec::{AttachTarget, SecDef, SecFlags, SecSpec, TracingKind};
pub use spec::{
    CoreRelo, ExternKind, ExternRelo, ExternSpec, FuncInfo, Global, KconfigType, KconfigVar,
    LineInfo, MapKind, MapSpec, Pinning, ProgSpec, SlotValue, Spec, Subprog,
};
