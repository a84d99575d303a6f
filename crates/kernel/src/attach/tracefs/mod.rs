//! The oldest way to attach: an event made by writing to tracefs, opened as a perf tracepoint event.
//!
//! Such an event belongs to nobody: it outlives the process that made it. Each of ours is named after its maker, removes
//! itself, and is removed by the next process that comes along if its maker was killed.

mod event;
mod mount;
mod owner;

pub use event::{Event, EventKind};
pub use mount::{Tracefs, leftovers, tracefs_root};
