//! The tracer's side of the arena: it owns the memory, and trusts nothing that it reads from it.

mod alloc;
mod arena;
mod clock;
mod map;
mod reader;
mod repair;

pub use arena::{Arena, MapId, Options, Part};
pub use map::HostMap;
pub use reader::{Record, RingReader};
pub use repair::Repaired;

/// Why an operation on the arena failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A system call failed.
    Os {
        /// The system call.
        call: &'static str,
        /// Its errno.
        errno: i32,
    },
    /// A part of the arena is full.
    Full {
        /// Which part.
        part: Part,
        /// Bytes asked for.
        bytes: u64,
    },
    /// A map's definition was refused.
    MapDef {
        /// `EINVAL` where the kernel refuses it too, `EOPNOTSUPP` for what does not exist here, `E2BIG`.
        errno: i32,
    },
    /// An operation on a map failed as bpf(2) would.
    Map {
        /// The kernel's errno.
        errno: i32,
    },
    /// There is no such map.
    NoSuchMap {
        /// Its number.
        map: u32,
    },
    /// A key or value has the wrong length.
    Length {
        /// "key" or "value".
        what: &'static str,
        /// Bytes given.
        given: usize,
        /// Bytes wanted.
        wanted: usize,
    },
    /// The arena contains what no program of ours writes.
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = |errno: i32| stylet_uapi::errno::name(errno).unwrap_or("unknown error");
        match self {
            Error::Os { call, errno } => write!(f, "{call}: {} ({errno})", name(*errno)),
            Error::Full { part, bytes } => {
                write!(f, "no room for {bytes} bytes in the arena's {part:?} part")
            }
            Error::MapDef { errno } => write!(f, "map definition refused: {}", name(*errno)),
            Error::Map { errno } => write!(f, "map operation failed: {}", name(*errno)),
            Error::NoSuchMap { map } => write!(f, "there is no map {map} in this arena"),
            Error::Length { what, given, wanted } => {
                write!(f, "{what} of {given} bytes where {wanted} are wanted")
            }
            Error::Corrupt { what } => write!(f, "the arena is corrupt: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// Result of the tracer's operations.
pub type Result<T> = core::result::Result<T, Error>;
