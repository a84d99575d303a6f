//! From `path:function+offset` to addresses in a process.

mod find;

pub use find::{FileRef, find_file, open_mapped};
pub use stylet_symbols::{ElfImage, Func, Place, Symbolic, glob_match, similar};
