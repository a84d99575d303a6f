//! Programs in other processes: ptrace, code patching, trampolines.
//!
//! A [`Target`] is a process that was running or has been started. Its threads run untraced; to change something they are
//! stopped for a moment, and what is changed stays when the tracer ends, however it ends.
//!
//! ```no_run
//! # fn main() -> stylet_inject::Result<()> {
//! # let (fd, slot_enter, slot_leave, code_off, pid) = (0, 0, 0, 0, 0);
//! use stylet_inject::{Kind, ProbeSpec, ProgRef, Target, WindowSpec};
//! let mut target = Target::attach(pid)?;
//! let window = target.map_window(&WindowSpec { fd, slot_enter, slot_leave })?;
//! let site = target.resolve(&"libc:malloc".parse()?)?;
//! let prog = ProgRef { uses_run_ctx: true, ..ProgRef::new(window, code_off) };
//! let spec = ProbeSpec { site: site.site, kind: Kind::Entry, prog, func_ip: site.func_ip, func: None, counter: None };
//! let probe = target.attach_probe(&spec)?;
//! target.detach_probe(probe)?;
//! target.detach()?;
//! # Ok(()) }
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`proc`] | /proc: may the process be traced, mappings, memory |
//! | [`ptrace`] | stopping threads, system calls made in them |
//! | [`symbols`] | names to addresses |
//! | [`site`] | can these bytes become a jump, and the instructions that it displaces |
//! | [`tramp`] | the code between a site and the programs |
//! | `target` | the state of one process: windows, regions of trampolines, sites; putting in and taking out |
//!
//! # What is refused
//! A site is refused when a branch leads into the five bytes of the jump, when the function ends before them, or when
//! a switch might lead there. Return probes are refused in Go programs (stacks move) and in threads with a shadow stack. A C++
//! exception thrown through a function with a return probe ends the program, as with the kernel's uretprobes: unwinders do
//! not know the replaced return address.

mod error;
pub mod proc;
pub mod ptrace;
pub mod site;
pub mod symbols;
mod target;
pub mod tramp;

pub use error::{Error, Result, Unpatchable};
pub use target::{
    Command, Detached, Kind, MarkerPlace, ProbeId, ProbeSpec, ProgRef, Resolved, Target, WindowId,
    WindowSpec,
};
