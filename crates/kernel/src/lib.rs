//! The kernel backend: a [`stylet_object::Spec`] loaded through bpf(2) into the running kernel.
//!
//! [`Kernel`] is what is known of the running kernel; [`Feature`] is what it may have; [`Map`], [`Prog`] and [`Link`] own
//! its objects by file descriptor.

pub mod attach;
mod error;
mod feature;
mod kernel;
pub mod link;
pub mod list;
mod load;
mod map;
mod prog;
pub mod read;
pub mod symbols;
pub mod sys;

pub use error::{Error, Fault, Unprobeable};
pub use feature::Feature;
pub use kernel::{Kernel, ModuleBtf};
pub use link::{Leftover, Link, LinkDetails, LinkInfo};
pub use load::{LoadOptions, Loaded, load};
pub use map::{Entry, Map};
pub use prog::{Prog, ProgLoad};
pub use stylet_catalog::Release;
