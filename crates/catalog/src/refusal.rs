//! Why something is not to be had.

use crate::Release;
use core::fmt;
use stylet_uapi::{AttachType, ProgType};

/// Why a program may not call a helper on some target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelperRefusal {
    /// No kernel has a helper with this number.
    Unknown {
        /// Helper number.
        id: u32,
    },
    /// The helper exists, but not for this program type.
    NotInProgType {
        /// Name with `bpf_`.
        name: &'static str,
        /// The program's type.
        prog_type: ProgType,
    },
    /// The program type has it, but not with this expected attach type.
    NotForAttachType {
        /// Name with `bpf_`.
        name: &'static str,
        /// The program's expected attach type.
        attach_type: AttachType,
    },
    /// A later release offers it to this program type.
    SinceRelease {
        /// Name with `bpf_`.
        name: &'static str,
        /// First release that has it.
        since: Release,
    },
    /// Only sleepable programs may call it.
    NotSleepable {
        /// Name with `bpf_`.
        name: &'static str,
    },
    /// The user backend does not implement it.
    NotInUserBackend {
        /// Name with `bpf_`.
        name: &'static str,
    },
    /// This kernel's configuration or lockdown leaves it out.
    Hidden {
        /// Name with `bpf_`.
        name: &'static str,
    },
}

impl fmt::Display for HelperRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            HelperRefusal::Unknown { id } => write!(f, "no kernel has a helper number {id}"),
            HelperRefusal::NotInProgType { name, prog_type } => {
                write!(f, "{name} is not for programs of type {prog_type}")
            }
            HelperRefusal::NotForAttachType { name, attach_type } => {
                write!(f, "{name} is not for programs with attach type {attach_type}")
            }
            HelperRefusal::SinceRelease { name, since } => write!(f, "{name} needs Linux {since}"),
            HelperRefusal::NotSleepable { name } => {
                write!(f, "{name} may sleep and is only for sleepable programs")
            }
            HelperRefusal::NotInUserBackend { name } => {
                write!(f, "{name} is not implemented in the user backend")
            }
            HelperRefusal::Hidden { name } => {
                write!(f, "this kernel's configuration or lockdown leaves out {name}")
            }
        }
    }
}

impl core::error::Error for HelperRefusal {}
