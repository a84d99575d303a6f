//! Names of user-space code, for either backend: functions of ELF files, where a library is, what a process has mapped.
//!
//! Nothing here needs privileges, a kernel feature, or a running process other than the one asked about.

mod elf;
mod error;
mod find;
mod frames;
mod maps;
mod mmap;
mod near;
mod search;
mod spec;
pub mod usdt;

pub use elf::{ElfImage, Func};
pub use error::{Error, Result, suggestion};
pub use find::{FileRef, find_file, open_mapped};
pub use maps::{Map, Maps};
pub use mmap::Mmap;
pub use near::{glob_match, similar};
pub use search::{is_library, search};
pub use spec::{Place, Symbolic};
