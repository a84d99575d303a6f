//! The crate's one error type.

use std::io;
use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file, a function or a marker cannot be named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file of /proc/PID could not be read.
    #[error("/proc/{pid}/{file}: {source}")]
    Proc {
        /// Process.
        pid: i32,
        /// Name in its directory.
        file: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// A file is not a usable ELF file.
    #[error("{}: {why}", path.display())]
    BadElf {
        /// File.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// `path:function` names nothing.
    #[error("{}: no function `{name}`{}", path.display(), suggestion(near))]
    NoSymbol {
        /// File.
        path: PathBuf,
        /// Wanted name.
        name: String,
        /// Names that are close, best first.
        near: Vec<String>,
    },
    /// The symbol is an indirect function.
    #[error(
        "{}: `{name}` is an IFUNC: its symbol is the resolver, which the dynamic linker calls once, not the function that \
         programs call; attach to the implementation it selects ({hint})", path.display()
    )]
    Ifunc {
        /// File.
        path: PathBuf,
        /// Symbol.
        name: String,
        /// How to find it.
        hint: String,
    },
    /// The library or executable was found nowhere.
    #[error("no file `{name}`: searched {}", searched.join(", "))]
    NoFile {
        /// Wanted name.
        name: String,
        /// Places.
        searched: Vec<String>,
    },
    /// The file is not mapped by the process.
    #[error("{} is not mapped in process {pid}", path.display())]
    NotMapped {
        /// File.
        path: PathBuf,
        /// Process.
        pid: i32,
    },
    /// An argument of a USDT marker that cannot be parsed, or not be read by a program.
    #[error("argument `{text}` of the marker: {why}")]
    BadMarkerArg {
        /// The operand.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file has no such USDT marker.
    #[error("{}: no USDT marker `{provider}:{name}`{}", path.display(), suggestion(near))]
    NoMarker {
        /// File.
        path: PathBuf,
        /// Provider.
        provider: String,
        /// Name.
        name: String,
        /// Markers that are close, best first.
        near: Vec<String>,
    },
    /// A `path:function+off` text that cannot be parsed.
    #[error("`{text}`: {why}")]
    BadSpec {
        /// The text.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// `; similar: a, b`, or nothing: the end of a message about a name that was not found.
pub fn suggestion(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; similar: {}", near.join(", ")) }
}
