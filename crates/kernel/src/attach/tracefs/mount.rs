//! Where tracefs is, and what dead processes left in it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::owner::{GROUP, Owner};
use super::{Event, EventKind};
use crate::sys::{self, Errno};
use crate::{Error, Kernel};

/// Its place of its own, since 4.1.
const TRACEFS: &str = "/sys/kernel/tracing";
/// Its older place, within debugfs.
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";
/// `TRACEFS_MAGIC`
const TRACEFS_MAGIC: u64 = 0x7472_6163;
/// `DEBUGFS_MAGIC`: before 4.1 the directory was part of debugfs.
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// The mounted tracefs.
#[derive(Debug)]
pub struct Tracefs {
    root: PathBuf,
    /// Filled once leftovers have been looked for.
    cleaned: OnceLock<()>,
}

impl Tracefs {
    /// Finds it: at its usual places, at any other where it is mounted, and else by mounting it where it belongs. It then
    /// stays mounted, as after any tool that traces.
    ///
    /// # Errors
    /// [`Error::Tracefs`] when it is nowhere and cannot be mounted.
    pub fn find() -> Result<Tracefs, Error> {
        let mounted = [TRACEFS, IN_DEBUGFS].into_iter().map(PathBuf::from).chain(from_mounts());
        if let Some(root) = mounted.into_iter().find(|root| is_tracefs(root)) {
            return Ok(Tracefs::at(root));
        }
        match sys::mount("tracefs", Path::new(TRACEFS), "tracefs") {
            Ok(()) => Ok(Tracefs::at(TRACEFS.into())),
            Err(errno) => {
                let why = match errno.0 {
                    libc::EPERM => "is not mounted, and only root may mount it",
                    libc::ENODEV => "is not in this kernel (it needs CONFIG_TRACING)",
                    libc::ENOENT => {
                        "has no place: /sys is not mounted, or the kernel has no CONFIG_TRACING"
                    }
                    _ => "is not mounted and cannot be",
                };
                Err(Error::Tracefs {
                    path: TRACEFS.into(),
                    why: format!("{why}: mount -t tracefs tracefs {TRACEFS}"),
                    errno: Some(errno),
                })
            }
        }
    }

    fn at(root: PathBuf) -> Tracefs {
        Tracefs { root, cleaned: OnceLock::new() }
    }

    /// Removes what dead processes left, once: what cannot be removed is in nobody's way.
    pub(super) fn clean_once(&self) {
        self.cleaned.get_or_init(|| {
            let _ = remove_dead(self);
        });
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn is_tracefs(root: &Path) -> bool {
    // Looking inside mounts it in debugfs, where it is mounted on demand.
    root.join("events").is_dir()
        && matches!(sys::file_system(&root.join("events")), Ok(TRACEFS_MAGIC | DEBUGFS_MAGIC))
}

/// Mount points of type tracefs; octal escapes as in /proc/self/mounts are of no use here and left as they are.
fn from_mounts() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let point = words.next()?;
        (words.next()? == "tracefs").then(|| PathBuf::from(point))
    });
    points.collect()
}

/// The directory of tracefs; mounts it if it is not there and we may.
///
/// # Errors
/// [`Error::Tracefs`] that says how to mount it.
pub fn tracefs_root() -> Result<PathBuf, Error> {
    Ok(Tracefs::find()?.root)
}

/// Removes the events of processes that are dead. Returns how many; those still in use (by a pinned link) stay.
///
/// # Errors
/// [`Error::Tracefs`] when the lists of events cannot be read.
pub fn leftovers(kernel: &Kernel) -> Result<usize, Error> {
    remove_dead(kernel.tracefs()?)
}

fn remove_dead(tracefs: &Tracefs) -> Result<usize, Error> {
    let mut removed = 0;
    for kind in [EventKind::Kprobe, EventKind::Uprobe] {
        let path = tracefs.root.join(kind.file());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A kernel may have the one kind and not the other.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let why = "cannot be read".to_string();
                return Err(Error::Tracefs { path, why, errno: Some(Errno::from(error)) });
            }
        };
        for name in text.lines().filter_map(ours) {
            if Owner::parse(name).is_some_and(|owner| owner.is_dead()) {
                removed += usize::from(Event::adopt(tracefs, kind, name).remove_now().is_ok());
            }
        }
    }
    Ok(removed)
}

/// The name of an event of our group: `p:stylet/NAME …`, `r16:stylet/NAME …`.
fn ours(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let name = rest.split_ascii_whitespace().next()?;
    name.strip_prefix(GROUP)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_our_events() {
        assert_eq!(ours("p:stylet/p12_x_y_1_f f+0"), Some("p12_x_y_1_f"));
        assert_eq!(ours("r16:stylet/p12_x f"), Some("p12_x"));
        assert_eq!(ours("p:kprobes/p_f_0 f"), None);
        assert_eq!(ours(""), None);
    }
}
