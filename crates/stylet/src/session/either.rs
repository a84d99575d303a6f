//! A session of either backend.

use super::{
    AttachOptions, AttachReport, Ended, Event, ForProg, LoadOptions, Lost, MapView, OnceOutput,
    Printk, ProgStats, TargetId,
};
use crate::{Error, Object, kernel, user};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// A session of the user or the kernel backend, for those who need not care.
pub enum Session {
    /// In processes.
    User(Box<user::Session>),
    /// In the kernel.
    Kernel(Box<kernel::Session>),
}

macro_rules! both {
    ($self:ident, $session:ident => $call:expr) => {
        match $self {
            Session::User($session) => $call,
            Session::Kernel($session) => $call,
        }
    };
}

impl Session {
    /// A session of the user backend.
    ///
    /// # Errors
    /// Those of [`user::Session::new`].
    pub fn user() -> Result<Session, Error> {
        Ok(Session::User(Box::new(user::Session::new()?)))
    }

    /// A session of the kernel backend.
    ///
    /// # Errors
    /// Those of [`kernel::Session::new`].
    pub fn kernel() -> Result<Session, Error> {
        Ok(Session::Kernel(Box::new(kernel::Session::new()?)))
    }

    /// Loads an object; returns its number.
    ///
    /// # Errors
    /// Those of [`user::Session::load`] or [`kernel::Session::load`].
    pub fn load(&mut self, object: &Object, options: &LoadOptions) -> Result<usize, Error> {
        both!(self, s => s.load(object, options))
    }

    /// Objects loaded so far, as they were loaded: relocated, maps sized.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        (0..both!(self, s => s.objects().len())).map(|n| both!(self, s => s.objects()[n].object()))
    }

    /// The object of that number.
    pub fn object(&self, number: usize) -> Option<&Object> {
        both!(self, s => s.objects().get(number).map(|o| o.object()))
    }

    /// Takes on a running process.
    ///
    /// # Errors
    /// The backend's.
    pub fn attach_pid(&mut self, pid: i32) -> Result<TargetId, Error> {
        both!(self, s => s.attach_pid(pid))
    }

    /// Starts a command, stopped at its entry point until [`Session::resume`].
    ///
    /// # Errors
    /// [`Error::Inject`].
    pub fn spawn(&mut self, command: &[OsString]) -> Result<TargetId, Error> {
        both!(self, s => s.spawn(command))
    }

    /// Lets a started command run.
    pub fn resume(&mut self, target: TargetId) {
        both!(self, s => s.resume(target));
    }

    /// Attaches every loaded program.
    ///
    /// # Errors
    /// Those of [`user::Session::attach_all`] or [`kernel::Session::attach_all`].
    pub fn attach_all(
        &mut self,
        targets: &[TargetId],
        options: &AttachOptions,
    ) -> Result<AttachReport, Error> {
        both!(self, s => s.attach_all(targets, options))
    }

    /// Runs every program of type SYSCALL once, each with its context of `contexts`: the user backend has none.
    ///
    /// # Errors
    /// Those of [`kernel::Session::run_once`].
    pub fn run_once(&self, contexts: &[ForProg<Vec<u8>>]) -> Result<Vec<OnceOutput>, Error> {
        match self {
            Session::User(_) => Ok(Vec::new()),
            Session::Kernel(s) => s.run_once(contexts),
        }
    }

    /// Reads each iterator once: names and what was written. The user backend has none.
    ///
    /// # Errors
    /// Those of [`kernel::Session::read_iters`].
    pub fn read_iters(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        match self {
            Session::User(_) => Ok(Vec::new()),
            Session::Kernel(s) => s.read_iters(),
        }
    }

    /// Process id of a target.
    pub fn pid(&self, target: TargetId) -> Option<i32> {
        both!(self, s => s.pid(target))
    }

    /// Whether a target has not been seen to end.
    pub fn is_alive(&self, target: TargetId) -> bool {
        both!(self, s => s.is_alive(target))
    }

    /// Number of targets that have not ended.
    pub fn alive(&self) -> usize {
        both!(self, s => s.alive())
    }

    /// Waits at most `timeout` for targets to end.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Ended>, Error> {
        both!(self, s => s.wait(timeout))
    }

    /// Hands every event that is there to `sink`, which says whether it wants more; returns how many there were.
    ///
    /// # Errors
    /// The backend's.
    pub fn poll(&self, sink: &mut dyn FnMut(Event) -> bool) -> Result<usize, Error> {
        both!(self, s => s.poll(sink))
    }

    /// Reads the data of an event of [`EventSource::Printk`](super::EventSource::Printk); `None` for what has another form.
    pub fn printk(&self, data: &[u8]) -> Option<Printk> {
        both!(self, s => s.printk(data))
    }

    /// Why what programs print can not be shown, if so.
    pub fn no_printk(&self) -> Option<String> {
        match self {
            Session::User(_) => None,
            Session::Kernel(s) => s.no_printk(),
        }
    }

    /// Map `map` (index into `Spec::maps`) of object `object`; `None` if there is none.
    pub fn map(&self, object: usize, map: usize) -> Option<MapView<'_>> {
        both!(self, s => s.map(object, map))
    }

    /// Sources that have lost records, with how many.
    ///
    /// # Errors
    /// The backend's.
    pub fn lost(&self) -> Result<Vec<Lost>, Error> {
        both!(self, s => s.lost())
    }

    /// Has runs of programs counted: the user backend always does, the kernel only when it is asked.
    pub fn count_runs(&mut self) {
        if let Session::Kernel(session) = self {
            session.count_runs();
        }
    }

    /// How often each program ran.
    pub fn stats(&self) -> Vec<ProgStats> {
        both!(self, s => s.stats())
    }

    /// Returns that return programs did not see, where it is known.
    pub fn missed_returns(&self) -> u64 {
        match self {
            Session::User(s) => s.missed_returns(),
            Session::Kernel(_) => 0,
        }
    }

    /// Pins links and maps below a folder of a BPF file system: they stay after the end.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in the user backend; those of [`kernel::Session::pin`].
    pub fn pin(&mut self, folder: &Path) -> Result<(), Error> {
        match self {
            Session::User(_) => Err(Error::Unsupported {
                object: folder.to_path_buf(),
                what: "pinning".into(),
                advice: "it needs --backend kernel",
            }),
            Session::Kernel(s) => s.pin(folder),
        }
    }

    /// Detaches everything that is not pinned. Gives notes about what had to be left.
    ///
    /// # Errors
    /// The backend's, for the first thing that could not be detached; the others are.
    pub fn detach_all(&mut self) -> Result<Vec<String>, Error> {
        match self {
            Session::User(s) => Ok(s
                .detach_all()?
                .into_iter()
                .flat_map(|report| report.left_mapped)
                .map(|(pid, tid)| {
                    format!(
                        "process {pid}: thread {tid} is still inside a probe; its memory stays mapped"
                    )
                })
                .collect()),
            Session::Kernel(s) => s.detach_all().map(|()| Vec::new()),
        }
    }
}
