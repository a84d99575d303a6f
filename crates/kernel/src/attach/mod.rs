//! Attaching, each method by itself: options in, a [`Link`](crate::Link) out.

mod iter;
mod lsm;
mod perf_event;
mod raw_tp;
mod tracefs_root;
mod tracepoint;
mod tracing;

pub use iter::{IterOpts, IterTarget, iter};
pub use lsm::lsm;

pub use perf_event::{PerfEventOpts, PerfMethod, Sampling, attach_event, perf_event};
pub use raw_tp::{RawTpMethod, RawTpOpts, raw_tracepoint, tracepoint_args, writable_size};
pub use tracefs_root::tracefs_root;
pub use tracepoint::{TracepointOpts, tracepoint};
pub use tracing::{TracingMethod, TracingOpts, tracing};
