//! Stopping threads, their registers, and system calls made in them.
//!
//! Threads are seized (`PTRACE_SEIZE`, no signals sent), interrupted, and let go again after each change. Every stop is held
//! by a thread of its own ([`session`]): when that thread ends, however it ends, the kernel releases what it holds.

mod raw;
mod remote;
mod session;
mod stop;

pub use raw::{Regs, Wait, wait_blocking};
pub(crate) use raw::{cont, get_regs, request, set_regs};
pub use remote::Remote;
pub use session::Session;
pub use stop::{Stop, Thread};
