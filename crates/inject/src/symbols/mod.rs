//! From `path:function+offset` to addresses in a process.

mod elf;
mod find;
mod mmap;
mod near;
mod spec;

pub use elf::{ElfImage, Func};
pub use find::{FileRef, find_file, open_mapped};
pub use near::{glob_match, similar};
pub use spec::{Place, Symbolic};
