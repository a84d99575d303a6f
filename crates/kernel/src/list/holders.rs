//! Who holds what: processes by their descriptors, names by pins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Kind, pins};
use crate::link::{LinkDetails, event_details};
use crate::sys;

/// A process that holds an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id.
    pub pid: i32,
    /// Name of its main thread.
    pub comm: String,
}

/// A perf event of a process that runs a program: of a probe or a tracepoint, attached by a link or by an ioctl. Of a sampling
/// event the kernel does not tell the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldEvent {
    /// The process.
    pub holder: Holder,
    /// Its descriptor of the event.
    pub fd: u32,
    /// Id of the program.
    pub prog_id: u32,
    /// Where the event happens.
    pub details: LinkDetails,
}

/// Who holds the kernel's programs, maps and links at some time.
///
/// Objects are also held by others: a map by the programs that use it, a program by its links.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    processes: HashMap<(Kind, u32), Vec<Holder>>,
    pins: HashMap<(Kind, u32), Vec<PathBuf>>,
    events: Vec<HeldEvent>,
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
        holders.events.sort_by_key(|event| (event.holder.pid, event.fd));
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

    /// Perf events that run programs, by process and descriptor.
    pub fn events(&self) -> &[HeldEvent] {
        &self.events
    }

    fn process(&mut self, pid: i32, folder: &Path) {
        let fds = std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut comm: Option<String> = None;
        for fd in fds {
            let Ok(link) = std::fs::read_link(fd.path()) else { continue };
            let event = (link == Path::new(PERF_EVENT)).then(|| event_of(pid, &fd.file_name()));
            let kind = Kind::of_fd_link(&link);
            if kind.is_none() && event.is_none() {
                continue;
            }
            let comm = comm.get_or_insert_with(|| {
                let text = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
                text.trim_end().to_owned()
            });
            let holder = Holder { pid, comm: comm.clone() };
            if let Some((fd, found)) = event.flatten() {
                let (prog_id, details) = (found.prog_id, event_details(&found));
                self.events.push(HeldEvent { holder: holder.clone(), fd, prog_id, details });
            }
            let Some(kind) = kind else { continue };
            let info = std::fs::read_to_string(folder.join("fdinfo").join(fd.file_name()));
            let field = format!("{}_id", kind.name());
            let id = info.ok().and_then(|text| super::field_of(&text, &field));
            let Some(id) = id.and_then(|id| u32::try_from(id).ok()) else { continue };
            let list = self.processes.entry((kind, id)).or_default();
            if !list.contains(&holder) {
                list.push(holder);
            }
        }
    }
}

/// What /proc says of a perf event's descriptor.
const PERF_EVENT: &str = "anon_inode:[perf_event]";

/// Number of a descriptor and what its event runs; `None` for one that runs nothing, or that is gone.
fn event_of(pid: i32, fd: &std::ffi::OsStr) -> Option<(u32, sys::TaskFd)> {
    let fd = fd.to_str()?.parse().ok()?;
    Some((fd, sys::task_fd_query_of(u32::try_from(pid).ok()?, fd).ok()?))
}
