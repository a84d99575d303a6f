//! One event.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::Tracefs;
use super::owner::{GROUP, fresh_name};
use crate::sys::Errno;
use crate::{Error, Leftover};

/// Names that are tried before giving up.
const TRIES: u32 = 16;

/// Which list an event is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `kprobe_events`
    Kprobe,
    /// `uprobe_events`
    Uprobe,
}

impl EventKind {
    /// Its file in tracefs.
    pub fn file(self) -> &'static str {
        match self {
            EventKind::Kprobe => "kprobe_events",
            EventKind::Uprobe => "uprobe_events",
        }
    }
}

/// An event of ours in tracefs; removed when dropped.
#[derive(Debug)]
pub struct Event {
    list: PathBuf,
    directory: PathBuf,
    name: String,
    removed: bool,
}

impl Event {
    /// Makes an event: `flavor` is `p` or `r` (with `maxactive` behind it), `place` is what the kernel's syntax wants after
    /// the name (`vfs_read+0x10`, `/lib/libc.so.6:0x1234`), `what` becomes part of the name.
    ///
    /// # Errors
    /// What the write answered, with the path.
    pub fn create(
        tracefs: &Tracefs,
        kind: EventKind,
        flavor: &str,
        place: &str,
        what: &str,
    ) -> Result<Event, (PathBuf, Errno)> {
        tracefs.clean_once();
        let mut busy = Errno(libc::EEXIST);
        for _ in 0..TRIES {
            let event = Event::adopt(tracefs, kind, &fresh_name(what));
            // On a name that exists the kernel would add a second place to that event, since 5.4.
            if event.directory.exists() {
                event.forget();
                continue;
            }
            match event.append(&format!("{flavor}:{GROUP}/{} {place}", event.name)) {
                Ok(()) => return Ok(event),
                Err(errno) => {
                    let list = event.forget();
                    if errno.0 != libc::EEXIST {
                        return Err((list, errno));
                    }
                    busy = errno;
                }
            }
        }
        Err((tracefs.root().join(kind.file()), busy))
    }

    /// An event that exists.
    pub(super) fn adopt(tracefs: &Tracefs, kind: EventKind, name: &str) -> Event {
        Event {
            list: tracefs.root().join(kind.file()),
            directory: tracefs.root().join("events").join(GROUP).join(name),
            name: name.to_string(),
            removed: false,
        }
    }

    /// Its id, `config` of the perf event.
    ///
    /// # Errors
    /// [`Error::Tracefs`] when the file `id` cannot be read.
    pub fn id(&self) -> Result<u64, Error> {
        let path = self.directory.join("id");
        let text = std::fs::read_to_string(&path);
        match text.map(|text| text.trim().parse()) {
            Ok(Ok(id)) => Ok(id),
            Ok(Err(_)) => Err(Error::Tracefs { path, why: "holds no number".into(), errno: None }),
            Err(error) => Err(Error::Tracefs {
                path,
                why: "cannot be read".into(),
                errno: Some(Errno::from(error)),
            }),
        }
    }

    /// Its name, without the group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes it; EBUSY while it is open.
    pub(super) fn remove_now(&mut self) -> Result<(), Errno> {
        if self.removed {
            return Ok(());
        }
        self.removed = true;
        match self.append(&format!("-:{GROUP}/{}", self.name)) {
            // Somebody else has cleaned up.
            Err(Errno(libc::ENOENT)) => Ok(()),
            other => other,
        }
    }

    fn forget(mut self) -> PathBuf {
        self.removed = true;
        std::mem::take(&mut self.list)
    }

    fn append(&self, command: &str) -> Result<(), Errno> {
        let mut list = OpenOptions::new().append(true).open(&self.list)?;
        // One write is one command.
        Ok(list.write_all(format!("{command}\n").as_bytes())?)
    }
}

impl Leftover for Event {
    fn remove(&mut self) -> Result<(), Error> {
        let path = self.directory.clone();
        self.remove_now().map_err(|errno| Error::Tracefs {
            path,
            why: "the event cannot be removed".into(),
            errno: Some(errno),
        })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // Who wants to know calls `remove`.
        let _ = self.remove_now();
    }
}
