//! BTF: parse, write, print as C, CO-RE relocation.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// A set of BTF types, maybe on top of a base set (split BTF).
#[derive(Clone, Debug, Default)]
pub struct Btf {}
