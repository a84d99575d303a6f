//! Repair after the death of a process in the middle of a run.

/// What was found and put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// CPU slots freed.
    pub slots: u32,
    /// Locks broken.
    pub locks: u32,
    /// Hash elements given back.
    pub elements: u32,
    /// Ring buffer records discarded.
    pub records: u32,
}
