//! Who holds what: processes by their descriptors, names by pins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Kind, pins};

/// A process that holds an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id.
    pub pid: i32,
    /// Name of its main thread.
    pub comm: String,
}

/// Who holds the kernel's programs, maps and links at some time.
///
/// Objects are also held by others: a map by the programs that use it, a program by its links.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    processes: HashMap<(Kind, u32), Vec<Holder>>,
    pins: HashMap<(Kind, u32), Vec<PathBuf>>,
}

impl Holders {
    /// Looks at the descriptors of every process that we may see, and at every BPF file system.
    pub fn scan() -> Holders {
        let mut holders = Holders { pins: pins::pins(), ..Holders::default() };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in entries {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            // What this process has open, it has for the listing.
            if u32::try_from(pid) != Ok(std::process::id()) {
                holders.process(pid, &entry.path());
            }
        }
        holders.processes.values_mut().for_each(|list| list.sort());
        holders
    }

    /// Processes with a descriptor of an object.
    pub fn processes(&self, kind: Kind, id: u32) -> &[Holder] {
        self.processes.get(&(kind, id)).map_or(&[], Vec::as_slice)
    }

    /// Where an object is pinned.
    pub fn pins(&self, kind: Kind, id: u32) -> &[PathBuf] {
        self.pins.get(&(kind, id)).map_or(&[], Vec::as_slice)
    }

    fn process(&mut self, pid: i32, folder: &Path) {
        let fds = std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut comm = None;
        for fd in fds {
            let kind = std::fs::read_link(fd.path()).ok().and_then(|l| Kind::of_fd_link(&l));
            let Some(kind) = kind else { continue };
            let info = std::fs::read_to_string(folder.join("fdinfo").join(fd.file_name()));
            let field = format!("{}_id", kind.name());
            let id = info.ok().and_then(|text| super::field_of(&text, &field));
            let Some(id) = id.and_then(|id| u32::try_from(id).ok()) else { continue };
            let comm = comm.get_or_insert_with(|| {
                let text = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
                text.trim_end().to_owned()
            });
            let holder = Holder { pid, comm: comm.clone() };
            let list = self.processes.entry((kind, id)).or_default();
            if !list.contains(&holder) {
                list.push(holder);
            }
        }
    }
}
