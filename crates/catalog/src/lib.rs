//! What a kernel release, or the user backend, offers to a BPF program: as data.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod proto;

pub use proto::{ArgBase, ArgFlags, ArgType, FuncProto, RetBase, RetType};
