//! The kernel backend's one error type.

use std::path::PathBuf;

use stylet_catalog::Release;
use stylet_uapi::{LinkType, MapType};

use crate::Map;
use crate::feature::Feature;
use crate::sys::Errno;

/// Whose fault an error is; the command's exit code follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The kernel's verifier refuses a program: exit code 1.
    Verdict,
    /// An object, a name, a path or an option is wrong: exit code 2.
    Input,
    /// A privilege or a feature of this machine is missing: exit code 3.
    Environment,
    /// A defect of Stylet: exit code 2, with a request to report it.
    Bug,
}

/// What can go wrong between an object and the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The running kernel does not have a feature.
    #[error("this kernel ({running}) has no {}{}{}", feature.describe(), advice(*feature), because(*errno))]
    Missing {
        /// What it does not have.
        feature: Feature,
        /// The running release, as `uname -r` says.
        running: String,
        /// What the kernel answered; `None` when it was not asked.
        errno: Option<Errno>,
    },
    /// The kernel's verifier refuses a program.
    #[error("program '{prog}' is rejected by the kernel: {errno}{}", last_line(log))]
    Rejected {
        /// The program.
        prog: String,
        /// What BPF_PROG_LOAD answered.
        errno: Errno,
        /// The verifier's log, whole; empty when it wrote none.
        log: String,
    },
    /// A privilege is missing, or something on this machine forbids the call.
    #[error("{what}: {errno}: {advice}")]
    Denied {
        /// What was being done.
        what: String,
        /// What the kernel answered.
        errno: Errno,
        /// What would provide it.
        advice: String,
    },
    /// A system call failed.
    #[error("{what}: {call}: {errno}")]
    Sys {
        /// The call, as `BPF_MAP_CREATE` or `perf_event_open`.
        call: &'static str,
        /// What the kernel answered.
        errno: Errno,
        /// What was being done, and to what.
        what: String,
    },
    /// A program cannot be attached.
    #[error("program '{prog}' cannot be attached to {to}: {why}{}", because(*errno))]
    Attach {
        /// The program.
        prog: String,
        /// Where: `tracepoint 'sched/sched_switch'`.
        to: String,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not, and what would help.
        why: String,
    },
    /// A link does not allow an operation.
    #[error("a {link_type} link cannot be {op}: {why}{}", because(*errno))]
    LinkOp {
        /// The operation: `pinned`, `given another program`.
        op: &'static str,
        /// Type of the link.
        link_type: LinkType,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not, and what would help.
        why: String,
    },
    /// Something is wrong with a path in a BPF file system.
    #[error("{}: {why}{}", path.display(), because(*errno))]
    Pin {
        /// The path.
        path: PathBuf,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// What is wrong, and what would help.
        why: String,
    },
    /// A map cannot be used that way.
    #[error("map '{map}' (of type {map_type}) cannot be {what}: {why}{}", because(*errno))]
    MapUse {
        /// The map.
        map: String,
        /// Its type.
        map_type: MapType,
        /// The operation: `read as a ring buffer`.
        what: &'static str,
        /// What the kernel answered, if it was asked.
        errno: Option<Errno>,
        /// Why not.
        why: String,
    },
    /// Memory shared with the kernel holds what the kernel would not have written: someone else writes to it.
    #[error("{what} is corrupt at position {position}: another process writes to it")]
    Corrupt {
        /// The buffer.
        what: String,
        /// Byte position, from the buffer's creation on.
        position: u64,
    },
    /// Something is too large for its place.
    #[error("{what} has {len} bytes; there is room for {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// Its bytes.
        len: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The object can not be fitted to the kernel.
    #[error(transparent)]
    Object(#[from] stylet_object::Error),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Missing { .. }
            | Error::Denied { .. }
            | Error::Sys { .. }
            | Error::Corrupt { .. } => Fault::Environment,
            Error::Attach { .. }
            | Error::LinkOp { .. }
            | Error::Pin { .. }
            | Error::MapUse { .. }
            | Error::TooLarge { .. } => Fault::Input,
            Error::Rejected { .. } => Fault::Verdict,
            Error::Object(_) => Fault::Input,
        }
    }

    /// Makes a [`Error::Sys`] out of an error number.
    pub(crate) fn sys(call: &'static str, what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
        let what = what.into();
        move |errno| Error::Sys { call, errno, what }
    }

    /// A use that a map is not made for; the kernel was not asked.
    pub(crate) fn map_use(map: &Map, what: &'static str, why: &str) -> Error {
        let (map, map_type) = (map.name().to_string(), map.map_type());
        Error::MapUse { map, map_type, what, errno: None, why: why.to_string() }
    }

    /// The error number that the kernel answered, where it did.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Missing { errno, .. }
            | Error::Attach { errno, .. }
            | Error::LinkOp { errno, .. }
            | Error::Pin { errno, .. }
            | Error::MapUse { errno, .. } => *errno,
            Error::Corrupt { .. } | Error::TooLarge { .. } => None,
            Error::Rejected { errno, .. }
            | Error::Denied { errno, .. }
            | Error::Sys { errno, .. } => Some(*errno),
            Error::Object(_) => None,
        }
    }
}

/// First release and config option of a feature, as far as they are known.
fn advice(feature: Feature) -> String {
    let since =
        feature.since().map(|Release { major, minor }| format!("in Linux since {major}.{minor}"));
    let config = feature.config().map(|config| format!("needs {config}"));
    let parts: Vec<String> = since.into_iter().chain(config).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn because(errno: Option<Errno>) -> String {
    errno.map_or_else(String::new, |errno| format!(": {errno}"))
}

/// The last line of a verifier's log that is no statistics.
fn last_line(log: &str) -> String {
    let is_stats = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    log.lines()
        .rev()
        .map(str::trim)
        .find(is_stats)
        .map_or_else(String::new, |line| format!(": {line}"))
}
