//! What attaches a program: a link or an event of the kernel, by descriptor.
//!
//! The kernel keeps an attachment for as long as something refers to it: a descriptor, or a pin in a BPF file system. So
//! nothing is left behind when a process ends, however it ends, except what was pinned, and the tracefs events of the oldest
//! way to attach, which live until they are removed: a [`Leftover`].

mod info;
mod pin;

pub(crate) use info::event_details;
pub use info::{LinkDetails, LinkInfo};
pub use pin::{ensure_bpffs, is_pin, pinned_object};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use stylet_uapi::LinkType;

use crate::sys::{self, Errno};
use crate::{Error, Prog};

/// Something that outlives the process unless it is removed. It removes itself when dropped, too.
pub trait Leftover: std::fmt::Debug + Send {
    /// Removes it. Called once, after the descriptors that use it are closed.
    ///
    /// # Errors
    /// What the kernel answers; then it is left behind.
    fn remove(&mut self) -> Result<(), Error>;
}

/// A program's attachment, at one place or several. Dropped, it is detached, unless it is pinned.
#[derive(Debug, Default)]
pub struct Link {
    parts: Vec<Part>,
    pinned: Option<PathBuf>,
}

/// One place. Fields are dropped in this order: the kernel removes no event that is open.
#[derive(Debug)]
struct Part {
    held: Held,
    leftovers: Vec<Box<dyn Leftover>>,
}

#[derive(Debug)]
enum Held {
    /// A link, with the perf event that it is on.
    Link { link: OwnedFd, event: Option<OwnedFd> },
    /// A perf event that runs a program (`PERF_EVENT_IOC_SET_BPF`), where there are no links for it.
    Event(OwnedFd),
}

impl Link {
    /// Takes over the descriptor of a link.
    pub fn from_link(fd: OwnedFd) -> Link {
        Link::of(Held::Link { link: fd, event: None })
    }

    /// Takes over the descriptor of a link on a perf event, and of that event.
    pub fn from_perf_link(link: OwnedFd, event: OwnedFd) -> Link {
        Link::of(Held::Link { link, event: Some(event) })
    }

    /// Takes over the descriptor of a perf event that runs a program.
    pub fn from_perf_event(event: OwnedFd) -> Link {
        Link::of(Held::Event(event))
    }

    fn of(held: Held) -> Link {
        Link { parts: vec![Part { held, leftovers: Vec::new() }], pinned: None }
    }

    /// Makes the link responsible for something that it leaves behind: of its last place.
    pub fn with_leftover(mut self, leftover: Box<dyn Leftover>) -> Link {
        if let Some(part) = self.parts.last_mut() {
            part.leftovers.push(leftover);
        }
        self
    }

    /// One link of several: they are detached together.
    pub fn group(links: impl IntoIterator<Item = Link>) -> Link {
        Link { parts: links.into_iter().flat_map(|link| link.parts).collect(), pinned: None }
    }

    /// Number of places: 1, but for programs that are attached by one event or link each.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it is attached nowhere (a group of none).
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Where it is pinned, if this link pinned it or was opened from there.
    pub fn pinned(&self) -> Option<&Path> {
        self.pinned.as_deref()
    }

    /// Whether the kernel has it as a link (and not only as an event): then it can be pinned.
    pub fn is_kernel_link(&self) -> bool {
        matches!(self.parts.as_slice(), [Part { held: Held::Link { .. }, .. }])
    }

    /// The descriptors of all places.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.parts.iter().map(|part| match &part.held {
            Held::Link { link, .. } => link.as_fd(),
            Held::Event(event) => event.as_fd(),
        })
    }

    /// The descriptor of the kernel's link, where the whole is exactly one.
    ///
    /// # Errors
    /// [`Error::LinkOp`] for perf events and for groups: `op` is what is not possible.
    pub(crate) fn kernel_link(&self, op: &'static str) -> Result<BorrowedFd<'_>, Error> {
        let why = match self.parts.as_slice() {
            [Part { held: Held::Link { link, .. }, .. }] => return Ok(link.as_fd()),
            [_] => "it is a perf event without a link: it lives as long as its descriptor",
            _ => "it has several places, each with a descriptor of its own",
        };
        Err(Error::LinkOp { op, link_type: LinkType::PERF_EVENT, errno: None, why: why.into() })
    }

    /// Enables the perf events below (`PERF_EVENT_IOC_ENABLE`).
    ///
    /// A program on a probe or a tracepoint runs whether its event is enabled or not, on every release tried: only sampling
    /// events obey.
    ///
    /// # Errors
    /// [`Error::LinkOp`] for a link without a perf event.
    pub fn enable(&self) -> Result<(), Error> {
        self.each_event("enabled", sys::perf_event_enable)
    }

    /// Disables the perf events below (`PERF_EVENT_IOC_DISABLE`); see [`enable`](Link::enable).
    ///
    /// # Errors
    /// [`Error::LinkOp`] for a link without a perf event.
    pub fn disable(&self) -> Result<(), Error> {
        self.each_event("disabled", sys::perf_event_disable)
    }

    fn each_event(
        &self,
        op: &'static str,
        call: fn(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(), Error> {
        for part in &self.parts {
            let (Held::Event(event) | Held::Link { event: Some(event), .. }) = &part.held else {
                let why = "it is on no perf event; detach it and attach it again".into();
                return Err(Error::LinkOp { op, link_type: self.link_type(), errno: None, why });
            };
            call(event.as_fd()).map_err(|errno| Error::LinkOp {
                op,
                link_type: LinkType::PERF_EVENT,
                errno: Some(errno),
                why: "the perf event refuses".into(),
            })?;
        }
        Ok(())
    }

    /// The kernel's type of the link, [`LinkType::PERF_EVENT`] for an event without one, `UNSPEC` if it does not tell.
    fn link_type(&self) -> LinkType {
        match self.kernel_link("asked") {
            Ok(fd) => sys::link_record(fd)
                .map_or(LinkType::UNSPEC, |record| LinkType(record.info.link_type)),
            Err(_) => LinkType::PERF_EVENT,
        }
    }

    /// Replaces the program; with `expected`, only if that is the link's program now.
    ///
    /// The kernel allows it for iterators, XDP, TC, cgroups, network namespaces and socket maps, and for no probe,
    /// tracepoint or function.
    ///
    /// # Errors
    /// [`Error::LinkOp`] where the kernel does not allow it, where another program is attached (EPERM), where the program is
    /// of another type (EINVAL), and where the link is detached (ENOLINK).
    pub fn update(&self, prog: &Prog, expected: Option<&Prog>) -> Result<(), Error> {
        let op = "given another program";
        let link = self.kernel_link(op)?;
        sys::link_update(link, prog.as_fd(), expected.map(AsFd::as_fd)).map_err(|errno| {
            let link_type = self.link_type();
            let why = match errno {
                Errno(libc::EPERM) if expected.is_some() => "its program is not the expected one".into(),
                Errno(libc::ENOLINK) => "it is detached".into(),
                Errno(libc::EINVAL) if is_updatable(link_type) => {
                    format!("program '{}' does not fit in the place of its program", prog.name())
                }
                Errno(libc::EINVAL | libc::EOPNOTSUPP) => format!(
                    "the kernel replaces no program of a {link_type} link: detach it and attach the other program"
                ),
                _ => "the kernel refuses".into(),
            };
            Error::LinkOp { op, link_type, errno: Some(errno), why }
        })
    }

    /// Detaches everywhere, removes what would be left behind, and removes the pin that this link made.
    ///
    /// A link whose target allows it (XDP, TC, cgroup, network namespace) is detached even if others hold it; any other one
    /// is attached until the last descriptor and pin of it are gone. What was pinned is detached a moment after this returns:
    /// the kernel frees inodes later.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is removed all the same.
    pub fn detach(mut self) -> Result<(), Error> {
        let mut result = if self.pinned.is_some() { self.unpin() } else { Ok(()) };
        for part in self.parts.drain(..) {
            let Part { held, leftovers } = part;
            if let Held::Link { link, .. } = &held {
                match sys::link_detach(link.as_fd()) {
                    // EINVAL: before 5.9 the command does not exist, nor any link that it would matter for.
                    Ok(()) | Err(Errno(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOLINK)) => {}
                    Err(errno) => {
                        let failed = Error::sys("BPF_LINK_DETACH", "detaching a link")(errno);
                        result = result.and(Err(failed));
                    }
                }
            }
            drop(held);
            for mut leftover in leftovers {
                result = result.and(leftover.remove());
            }
        }
        result
    }
}

/// Link types whose program can be replaced (`update_prog` of their `struct bpf_link_ops`).
fn is_updatable(link_type: LinkType) -> bool {
    matches!(
        link_type,
        LinkType::ITER
            | LinkType::CGROUP
            | LinkType::NETNS
            | LinkType::XDP
            | LinkType::TCX
            | LinkType::NETKIT
            | LinkType::SOCKMAP
    )
}
