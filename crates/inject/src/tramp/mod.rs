//! Code that stands between a probed function and the programs.
//!
//! Each site has a block: the entry part that the patched bytes jump to, ending in the displaced instructions, and the return
//! part if there are return probes. Only what the programs use is saved and built.

pub mod asm;
mod block;
mod frame;
mod run;
pub mod table;

pub use block::{Block, BlockSpec, build};
pub use frame::MARKER;
pub use run::Bound;
