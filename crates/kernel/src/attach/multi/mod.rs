//! Many places by one link: kprobe.multi, uprobe.multi and their sessions.

mod kprobe;
mod uprobe;

pub use kprobe::{Functions, KprobeMultiOpts, kprobe_multi};
pub use uprobe::{Places, UprobeMultiOpts, uprobe_multi};
pub(super) use uprobe::{Sites, attach_sites};

use super::event::Attempt;
use crate::Error;

/// Whether there is one cookie (or counter) for each place, or none at all.
fn check_count(
    attempt: &Attempt<'_>,
    what: &str,
    list: &[u64],
    places: usize,
) -> Result<(), Error> {
    if list.is_empty() || list.len() == places {
        return Ok(());
    }
    let why = format!("{} {what} for {places} places: one for each is wanted, or none", list.len());
    Err(attempt.error(None, why))
}
