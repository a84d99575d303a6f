//! Probe sites: which bytes can be replaced by a jump, and the instructions that make room for it.

mod branches;
mod plan;
mod relocate;

pub use branches::far_branches;
pub use plan::{JUMP, Plan, PlanInput, jump_bytes};
pub use relocate::Relocated;
