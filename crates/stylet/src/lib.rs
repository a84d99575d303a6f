//! Stylet: eBPF tracing. An ordinary BPF object file, verified by the Linux kernel's rules, runs inside ordinary processes or
//! in the kernel.
//!
//! [`Object`] is a file, opened; a [`Session`] loads objects, attaches their programs and reads their events and maps: in
//! processes ([`user::Session`]) or in the kernel ([`kernel::Session`]).
#![forbid(unsafe_code)]

pub mod check;
mod effects;
mod error;
pub mod kernel;
mod object;
mod prepare;
mod session;
mod symbolize;
pub mod user;

pub use crate::object::Object;
pub use crate::object::globals::for_each_var;
pub use effects::effects;
pub use error::{Error, Fault};
pub use prepare::{SpecNames, source_line, types_as_c};
pub use session::{
    AttachOptions, AttachReport, Attached, Ended, Entry, Event, EventSource, ForProg, LoadOptions,
    Lost, MapView, OnceOutput, Override, Printk, ProgStats, Session, TargetId,
};
pub use stylet_object::{AttachTarget, MapKind, MapSpec, ProgSpec, Spec};
pub use symbolize::{Mappings, Symbolizer};
