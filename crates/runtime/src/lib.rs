//! The user-space kernel: maps, helpers, kfuncs and ring buffers in one shared-memory arena.
//!
//! The same code runs in the tracer and, as the `agent` image, in traced processes. Nothing here allocates, panics,
//! uses thread-local storage or calls libc; [`host`], the tracer's side, is the exception (feature `std`).
#![cfg_attr(not(feature = "std"), no_std)]

pub mod abi;
pub mod control;
pub mod fmt;
pub mod helpers;
#[cfg(feature = "std")]
pub mod host;
pub mod identity;
pub mod kfuncs;
pub mod lock;
pub mod map;
pub mod slot;
pub mod sys;
pub mod usermem;

pub use slot::{slot_enter, slot_leave};
