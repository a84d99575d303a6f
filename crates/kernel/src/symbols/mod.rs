//! What the kernel says about its functions: kallsyms, which of them can be traced, and which cannot be probed.

mod functions;
mod kallsyms;
mod why;

pub use functions::{Function, matching_functions, not_traceable};
pub use kallsyms::{Ksymbol, each_symbol};
pub(crate) use why::{kernel_function, syscall_names, why_not};
