//! Why a program was refused, for people and machines.
//!
//! A [`Finding`] is what a verifier says: ours ([`Finding::from`] a `Rejection`) or a kernel's
//! ([`Finding::from_kernel_log`]). [`explain`] adds what the program's debug information and the
//! target's facts know of it, as a [`Report`]: the reason, the C source line, the path that led
//! there and what may help. A report is text through [`Report::render`] and JSON through `serde`.
//!
//! Suggestions are keyed by the kernel's message, which both sources share.
#![forbid(unsafe_code)]

mod finding;
mod origin;
mod render;
mod report;
mod source;
mod suggest;

pub use finding::Finding;
pub use report::{Location, Origin, Report, Step, explain};
