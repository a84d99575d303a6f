//! Names in BPF file systems.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys;

/// Folders below a mount point that are looked into.
const MAX_DEPTH: usize = 16;

/// A kind of kernel object that has ids, can be held by descriptors, and pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Prog,
    /// A map.
    Map,
    /// A link.
    Link,
}

impl Kind {
    /// `prog`, `map`, `link`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Prog => "prog",
            Kind::Map => "map",
            Kind::Link => "link",
        }
    }

    /// `programs`, `maps`, `links`.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Prog => "programs",
            Kind::Map => "maps",
            Kind::Link => "links",
        }
    }

    /// What a descriptor's link in /proc says: `anon_inode:bpf-prog`, `anon_inode:bpf_link`.
    pub(super) fn of_fd_link(target: &Path) -> Option<Kind> {
        match target.to_str()?.trim_start_matches("anon_inode:").trim_matches(['[', ']']) {
            "bpf-prog" => Some(Kind::Prog),
            "bpf-map" => Some(Kind::Map),
            "bpf_link" | "bpf-link" => Some(Kind::Link),
            _ => None,
        }
    }
}

/// Paths by what is pinned there. A file system that is mounted twice shows its names once.
pub(super) fn pins() -> HashMap<(Kind, u32), Vec<PathBuf>> {
    let mut found: HashMap<(Kind, u32), Vec<PathBuf>> = HashMap::new();
    for mount in mounts() {
        let mut folders = vec![(mount, 0)];
        while let Some((folder, depth)) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let (path, kind) = (entry.path(), entry.file_type());
                if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                    if depth < MAX_DEPTH {
                        folders.push((path, depth + 1));
                    }
                } else if kind.is_ok_and(|k| k.is_file())
                    && let Some((kind, id)) = pinned(&path)
                {
                    let paths = found.entry((kind, id)).or_default();
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
        }
    }
    found.values_mut().for_each(|paths| paths.sort());
    found
}

/// Mount points of BPF file systems (`proc_pid_mountinfo(5)`).
fn mounts() -> Vec<PathBuf> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = text
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
            let dash = words.iter().position(|w| *w == b"-")?;
            (*words.get(dash + 1)? == b"bpf").then(|| unescaped(words[4]))
        })
        .collect();
    mounts.sort();
    mounts.dedup();
    mounts
}

/// Octal escapes (`\040`) undone.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        let digits =
            tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|c| (b'0'..b'8').contains(c)));
        match digits {
            Some(d) => {
                out.push(d.iter().fold(0_u8, |n, c| n.wrapping_mul(8).wrapping_add(c - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

fn pinned(path: &Path) -> Option<(Kind, u32)> {
    let fd = sys::get_pinned(&CString::new(path.as_os_str().as_bytes()).ok()?).ok()?;
    let kind = kind_of(&fd)?;
    let id = match kind {
        Kind::Prog => sys::prog_info(fd.as_fd()).ok()?.id,
        Kind::Map => sys::map_info(fd.as_fd()).ok()?.id,
        Kind::Link => u32::try_from(super::fdinfo(fd.as_fd(), "link_id")?).ok()?,
    };
    Some((kind, id))
}

/// What a descriptor of this process is of.
pub(super) fn kind_of(fd: &OwnedFd) -> Option<Kind> {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    Kind::of_fd_link(&link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mount_points() {
        assert_eq!(unescaped(b"/sys/fs/bpf"), Path::new("/sys/fs/bpf"));
        assert_eq!(unescaped(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescaped(br"/a\04"), Path::new(r"/a\04"));
    }

    #[test]
    fn kinds_of_descriptors() {
        let kind = |text: &str| Kind::of_fd_link(Path::new(text));
        assert_eq!(kind("anon_inode:bpf-prog"), Some(Kind::Prog));
        assert_eq!(kind("anon_inode:bpf-map"), Some(Kind::Map));
        assert_eq!(kind("anon_inode:bpf_link"), Some(Kind::Link));
        assert_eq!(kind("anon_inode:[perf_event]"), None);
        assert_eq!(kind("/dev/null"), None);
    }
}
