//! Links of the kernel.

use std::os::fd::AsFd;

use super::{Kind, each};
use crate::Error;
use crate::kernel::Kernel;
use crate::link::LinkInfo;

/// Every link, by id. What is attached by a perf event without a link, or for a network device, is none.
///
/// # Errors
/// [`Error::Denied`] without the rights; [`Error::Sys`] where the kernel has no links (before 5.8).
pub fn links(kernel: &Kernel) -> Result<Vec<LinkInfo>, Error> {
    let all = each(kernel, Kind::Link, |fd| Ok(LinkInfo::of_link(fd.as_fd())))?;
    all.into_iter().collect()
}
