//! The kernel backend's one error type.

use stylet_catalog::Release;

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
    /// The object can not be fitted to the kernel.
    #[error(transparent)]
    Object(#[from] stylet_object::Error),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Missing { .. } | Error::Denied { .. } | Error::Sys { .. } => Fault::Environment,
            Error::Rejected { .. } => Fault::Verdict,
            Error::Object(_) => Fault::Input,
        }
    }

    /// Makes a [`Error::Sys`] out of an error number.
    pub(crate) fn sys(call: &'static str, what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
        let what = what.into();
        move |errno| Error::Sys { call, errno, what }
    }

    /// The error number that the kernel answered, where it did.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Missing { errno, .. } => *errno,
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
