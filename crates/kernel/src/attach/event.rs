//! From a perf event to a running program, and what to say when that fails.

use std::os::fd::OwnedFd;

use stylet_uapi::{AttachType, ProgType};

use super::pmu::{self, PmuKind};
use super::tracefs::Event;
use super::{Method, PerfMethod, attach_event};
use crate::feature::Feature;
use crate::sys::Errno;
use crate::{Error, Kernel, Link, Prog};

/// What EINVAL means where place and program are sound by themselves.
pub(super) const NOT_TAKEN: &str = "the kernel does not take this program there (one that uses override_return: only on \
                                    functions of /sys/kernel/debug/error_injection/list)";

/// What is being attached, for messages.
pub(super) struct Attempt<'a> {
    pub kernel: &'a Kernel,
    pub prog: &'a Prog,
    /// `kprobe 'vfs_read+0x10'`
    pub to: String,
}

impl Attempt<'_> {
    /// [`Error::Attach`] with a reason.
    pub fn error(&self, errno: Option<Errno>, why: impl Into<String>) -> Error {
        Error::Attach {
            prog: self.prog.name().to_string(),
            to: self.to.clone(),
            errno,
            why: why.into(),
        }
    }

    /// Whether the program is of the type and attach type that such a place takes. A program of another attach type would
    /// read its cookie from where there is none.
    pub fn check(&self, wanted: &[AttachType], as_what: &str) -> Result<(), Error> {
        let (prog_type, attach_type) = (self.prog.prog_type(), self.prog.attach_type());
        if prog_type != ProgType::KPROBE {
            return Err(
                self.error(None, format!("it is a program of type {prog_type}, not KPROBE"))
            );
        }
        if !wanted.contains(&attach_type) {
            let is = if attach_type.0 == 0 {
                "for one place".to_string()
            } else {
                attach_type.to_string()
            };
            return Err(self.error(None, format!("it was loaded {is}; load it as {as_what}")));
        }
        Ok(())
    }

    /// Which method to take: without the PMU there is only tracefs. Whether a link or an ioctl joins event and program is
    /// seen when they are joined.
    pub fn method(&self, method: Method, kind: PmuKind) -> Method {
        match method {
            Method::Auto if self.kernel.pmu(kind).is_none() => Method::Tracefs,
            other => other,
        }
    }

    /// Refuses what the method cannot do, before anything is made.
    pub fn check_cookie(&self, asked: Method, method: Method, cookie: u64) -> Result<(), Error> {
        let needs_link = method == Method::PerfLink || cookie != 0;
        if cookie != 0 && asked == Method::PerfIoctl {
            return Err(self.error(None, "an ioctl carries no cookie: use a link"));
        }
        if needs_link { self.kernel.require(Feature::PerfLink) } else { Ok(()) }
    }

    /// Attaches to a PMU's event.
    pub fn join(&self, event: OwnedFd, method: Method, cookie: u64) -> Result<Link, Error> {
        let by = match method {
            Method::Auto => PerfMethod::Auto,
            Method::PerfLink => PerfMethod::Link,
            _ if cookie != 0 => PerfMethod::Link,
            Method::PerfIoctl | Method::Tracefs => PerfMethod::Ioctl,
        };
        attach_event(self.kernel, self.prog, event, by, cookie, &self.to)
            .map_err(|error| self.explain(error))
    }

    /// Opens a tracefs event and attaches to it.
    pub fn join_tracefs(&self, event: Event, pid: i32, cookie: u64) -> Result<Link, Error> {
        let fd = pmu::open_tracepoint(event.id()?, pid).map_err(|errno| self.open_failed(errno))?;
        Ok(self.join(fd, Method::Tracefs, cookie)?.with_leftover(Box::new(event)))
    }

    /// What EINVAL means for a probe.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Attach { errno: Some(errno @ Errno(libc::EINVAL)), .. } => {
                let why = if self.prog.sleepable() {
                    "sleepable programs attach to uprobes alone, since 6.0"
                } else {
                    NOT_TAKEN
                };
                self.error(Some(errno), why)
            }
            other => other,
        }
    }

    /// What perf_event_open answered, where nothing better is known.
    pub fn open_failed(&self, errno: Errno) -> Error {
        match errno.0 {
            libc::EPERM | libc::EACCES => self.denied(errno),
            libc::ENOSYS => {
                let what = "perf events: the kernel has none (CONFIG_PERF_EVENTS), or a seccomp filter hides them";
                Error::sys("perf_event_open", what)(errno)
            }
            libc::ENODEV | libc::EOPNOTSUPP => {
                self.error(Some(errno), "the kernel has no such events")
            }
            libc::EMFILE | libc::ENFILE => {
                self.error(Some(errno), "too many open files: raise RLIMIT_NOFILE")
            }
            libc::ENOMEM | libc::ENOSPC => {
                self.error(Some(errno), "the kernel is out of memory for events")
            }
            libc::ESRCH => self.error(Some(errno), "there is no such process"),
            libc::EBUSY => self.error(Some(errno), "something else uses it"),
            _ => self.error(Some(errno), "the kernel refuses the event"),
        }
    }

    /// A lack of rights.
    pub fn denied(&self, errno: Errno) -> Error {
        let what = format!("attaching program '{}' to {}", self.prog.name(), self.to);
        self.kernel.denied(&what, errno)
    }
}
