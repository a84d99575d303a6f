//! USDT markers: what `sys/sdt.h` leaves in a file, and the form in which libbpf's `usdt.bpf.h` wants to be told.

mod arg;
mod marker;
mod spec;

pub use arg::{Arg, Loc, parse_args};
pub use marker::Marker;
pub(crate) use marker::markers;
pub use spec::{Layout, MAX_ARGS};
