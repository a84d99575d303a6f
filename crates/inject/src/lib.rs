//! ptrace, code patching, trampolines.
mod error;
pub mod proc;
pub mod ptrace;
pub use error::{Error, Result, Unpatchable};
pub mod site;
mod target;
pub mod tramp;
pub use target::{
    Command, Detached, Kind, ProbeId, ProbeSpec, ProgRef, Resolved, Target, WindowId, WindowSpec,
};
pub mod symbols;
