//! What both backends share: what is asked of a session and what it answers.
//!
//! [`user::Session`](crate::user::Session) and [`kernel::Session`](crate::kernel::Session) have the same methods;
//! [`Session`] is either of them.

mod either;
mod event;
mod map;
mod options;
pub(crate) mod place;
pub(crate) mod process;
mod target;

pub use either::Session;
pub use event::{Event, EventSource, Lost, OnceOutput, Printk, ProgStats};
pub(crate) use map::Source;
pub use map::{Entry, MapView};
pub use options::{AttachOptions, AttachReport, Attached, ForProg, LoadOptions, Override};
pub use target::{Ended, TargetId};
