//! Stylet: eBPF tracing. An ordinary BPF object file, verified by the Linux kernel's rules, runs inside ordinary processes.
//!
//! [`Object`] is a file, opened; a [`user::Session`] loads objects, attaches their programs to processes and reads their
//! events and maps.
#![forbid(unsafe_code)]

pub mod check;
mod error;
pub mod kernel;
mod object;
mod prepare;
mod session;
mod symbolize;
pub mod user;

pub use crate::object::Object;
pub use crate::object::globals::for_each_var;
pub use error::{Error, Fault};
pub use prepare::{SpecNames, source_line, types_as_c};
pub use session::{
    AttachOptions, AttachReport, Attached, Ended, Entry, Event, EventSource, ForProg, LoadOptions,
    Lost, MapView, Override, Printk, ProgStats, TargetId,
};
pub use stylet_object::{AttachTarget, MapKind, MapSpec, ProgSpec, Spec};
pub use symbolize::{Mappings, Symbolizer};
