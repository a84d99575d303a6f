//! From `path:function+offset` to addresses in a process.

pub use stylet_symbols::{
    ElfImage, FileRef, Func, Place, Symbolic, find_file, glob_match, open_mapped, similar,
};
