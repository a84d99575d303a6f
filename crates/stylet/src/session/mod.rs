//! What both backends share: what is asked of a session and what it answers.
//!
//! A [`user::Session`](crate::user::Session) and its counterpart of the kernel backend have the same methods.

mod event;
mod map;
mod options;
pub(crate) mod place;
pub(crate) mod process;
mod target;

pub use event::{Event, EventSource, Lost, Printk, ProgStats};
pub(crate) use map::Source;
pub use map::{Entry, MapView};
pub use options::{AttachOptions, AttachReport, Attached, ForProg, LoadOptions, Override};
pub use target::{Ended, TargetId};
