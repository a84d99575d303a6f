//! Traced processes.

/// A process of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub(crate) usize);

/// A process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub target: TargetId,
    /// Its process id.
    pub pid: i32,
    /// Exit status of a process that the session started and that exited.
    pub status: Option<i32>,
    /// Signal that ended it, where known.
    pub signal: Option<i32>,
}
