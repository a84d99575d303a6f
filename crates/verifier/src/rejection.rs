//! Why a program was refused.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use stylet_uapi::errno;

pub use crate::kind::RejectionKind;

/// A decision on the way to the refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStep {
    /// A conditional jump at slot `insn_idx` that was taken or not.
    Branch {
        /// Slot of the jump.
        insn_idx: u32,
        /// Whether it was taken.
        taken: bool,
    },
    /// A call of one of the program's functions or of a callback.
    Call {
        /// Slot of the call.
        insn_idx: u32,
        /// First slot of the function.
        target: u32,
    },
    /// A return to the calling frame, or out of a callback.
    Return {
        /// Slot of the exit.
        insn_idx: u32,
        /// Slot that runs next.
        target: u32,
    },
}

/// A program that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// What BPF_PROG_LOAD would give, positive.
    pub errno: i32,
    /// What is wrong; its text is the kernel's message.
    pub kind: RejectionKind,
    /// Slot at which it was found (0 when no instruction is to blame).
    pub insn_idx: u32,
    /// How the walk got there, oldest first; the last steps when there were very many.
    pub path: Vec<PathStep>,
    /// What the walk cost until then.
    pub stats: Box<crate::Stats>,
    /// Text of the kernel's shape: states and instructions when `ProgInput::log_level` is not 0, the message always.
    pub log: Box<str>,
}

impl Rejection {
    /// The kernel's message, without a final line break; some have several lines.
    pub fn message(&self) -> String {
        self.kind.to_string()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} (insn {})",
            errno::name(self.errno).unwrap_or("?"),
            self.kind,
            self.insn_idx
        )
    }
}

impl core::error::Error for Rejection {}

/// A refusal inside the walk, before it is known where.
#[derive(Debug)]
pub(crate) struct Reject {
    pub errno: i32,
    pub kind: RejectionKind,
    /// Slot to blame when it is not the current one.
    pub insn_idx: Option<u32>,
}

/// Result of a check.
pub(crate) type Res<T> = Result<T, Box<Reject>>;

impl Reject {
    pub fn new(errno: i32, kind: RejectionKind) -> Box<Reject> {
        Box::new(Reject { errno, kind, insn_idx: None })
    }

    /// `-EACCES`.
    pub fn acces(kind: RejectionKind) -> Box<Reject> {
        Reject::new(errno::EACCES, kind)
    }

    /// `-EINVAL`.
    pub fn inval(kind: RejectionKind) -> Box<Reject> {
        Reject::new(errno::EINVAL, kind)
    }

    /// The verifier contradicts itself (`verifier_bug`).
    pub fn bug(what: &'static str) -> Box<Reject> {
        Reject::new(errno::EFAULT, RejectionKind::VerifierBug { what })
    }

    /// Refused because this verifier does not know it.
    pub fn unsupported(what: impl Into<String>) -> Box<Reject> {
        Reject::new(errno::EOPNOTSUPP, RejectionKind::NotSupportedYet { what: what.into() })
    }

    /// The same, after the message of another refusal that led to it.
    pub fn after(mut self: Box<Self>, first: Option<Box<Reject>>) -> Box<Self> {
        if let Some(first) = first {
            let note = first.kind.to_string();
            self.kind = RejectionKind::Noted { note, kind: Box::new(self.kind) };
        }
        self
    }

    /// The same refusal, whose message another one follows.
    pub fn then(mut self: Box<Self>, next: RejectionKind) -> Box<Self> {
        let note = self.kind.to_string();
        self.kind = RejectionKind::Noted { note, kind: Box::new(next) };
        self
    }

    /// The same, with the slot that is to blame.
    pub fn at(mut self: Box<Self>, insn_idx: u32) -> Box<Self> {
        self.insn_idx = Some(insn_idx);
        self
    }
}
