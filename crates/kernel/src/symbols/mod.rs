//! What the kernel says about its functions: kallsyms, which of them can be traced, and which cannot be probed.

mod functions;
mod kallsyms;
mod table;
mod why;

pub(crate) use functions::read_traceable;
pub use functions::{Function, matching_functions, not_traceable};
pub use kallsyms::Ksymbol;
pub(crate) use kallsyms::read_symbols;
pub(crate) use table::Kept;
pub use table::Symbols;
pub(crate) use why::{kernel_function, syscall_names, why_not};
