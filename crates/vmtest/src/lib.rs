//! The tests of the kernel backend, as one static program that `cargo xtask vm` boots as the first process of a virtual machine.
//!
//! On the host it only lists its tests (`--list`) and tests its own runner (`--selftest`): what it does in a guest
//! (mounting, loading modules, killing every other process) must not happen to a machine that someone uses.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod event;
pub mod guest;
pub mod init;
mod leftover;
pub mod objects;
pub mod probe;
pub mod runner;
pub mod selftest;
pub mod target;
pub mod test;
pub mod tests;
