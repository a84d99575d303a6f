//! The user-space kernel: maps, helpers, kfuncs and ring buffers in one shared-memory arena.
//!
//! The same code runs in the tracer and, as the `agent` image, in traced processes. Nothing here allocates, panics,
//! uses thread-local storage or calls libc.
#![no_std]

pub mod abi;
