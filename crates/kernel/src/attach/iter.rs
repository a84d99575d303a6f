//! Iterators: programs that are run for each of the kernel's things while a file is read.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use stylet_object::AttachTarget;
use stylet_uapi::AttachType;

use crate::sys::{self, Errno, LinkExtra};
use crate::{Error, Feature, Kernel, Link, Map, Prog};

/// What an iterator goes over (`union bpf_iter_link_info`).
#[derive(Clone, Copy, Debug, Default)]
pub enum IterTarget<'a> {
    /// All of it.
    #[default]
    All,
    /// A map's elements (`bpf_map_elem`, `bpf_sk_storage_map`, `sockmap`).
    Map(&'a Map),
    /// The thread of this number (`task`, `task_file`, `task_vma`; since 6.1).
    Thread(u32),
    /// The threads of this process (since 6.1).
    Process(u32),
    /// The process behind a pidfd (since 6.1).
    Pidfd(BorrowedFd<'a>),
    /// From a cgroup on (since 6.1).
    Cgroup {
        /// A directory of a cgroup.
        fd: BorrowedFd<'a>,
        /// 1 it alone, 2 it and below from the top, 3 from the bottom, 4 it and its ancestors (`enum bpf_cgroup_iter_order`).
        order: u32,
    },
}

/// Options of [`iter`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IterOpts<'a> {
    /// What it goes over.
    pub target: IterTarget<'a>,
}

/// Attaches an iterator: a link, of which [`Link::iterate`] makes files to read.
///
/// # Errors
/// [`Error::Attach`] when the iterator does not go over such a thing (EINVAL) or there is no such task (ESRCH);
/// [`Error::Missing`] for a task or a cgroup before 6.1.
pub fn iter(kernel: &Kernel, prog: &Prog, opts: &IterOpts<'_>) -> Result<Link, Error> {
    let to = match &prog.sec().target {
        AttachTarget::Iter { target } => format!("iterator '{target}'"),
        _ => "an iterator".to_string(),
    };
    let refused = |errno, why: &str| Error::Attach {
        prog: prog.name().into(),
        to: to.clone(),
        errno,
        why: why.into(),
    };
    if prog.attach_type() != AttachType::TRACE_ITER {
        return Err(refused(None, "it is no iterator"));
    }
    // Words of the union: map_fd; tid, pid, pid_fd; order, cgroup_fd, cgroup_id.
    let raw = |fd: BorrowedFd<'_>| fd.as_raw_fd() as u32;
    let words: &[u32] = &match opts.target {
        IterTarget::All => vec![],
        IterTarget::Map(map) => vec![raw(map.as_fd())],
        IterTarget::Thread(tid) => vec![tid, 0, 0],
        IterTarget::Process(pid) => vec![0, pid, 0],
        IterTarget::Pidfd(fd) => vec![0, 0, raw(fd)],
        IterTarget::Cgroup { fd, order } => vec![order, raw(fd), 0, 0],
    };
    if words.len() > 1 {
        kernel.require(Feature::IterTarget)?;
    }
    let info: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    sys::link_create(prog.as_fd(), 0, AttachType::TRACE_ITER, 0, &LinkExtra::Iter { info: &info })
        .map(Link::from_link)
        .map_err(|errno| {
            let why = match errno {
                Errno(libc::EPERM) => return kernel.denied(&format!("attaching to {to}"), errno),
                Errno(libc::ESRCH) => "there is no such task",
                Errno(libc::EBADF) => "it goes over a map's elements, and no map is given",
                Errno(libc::EACCES) => {
                    "the program reads or writes more than the map's keys and values have"
                }
                Errno(libc::EINVAL) => "it does not go over such a thing",
                _ => "the kernel refuses",
            };
            refused(Some(errno), why)
        })
}

impl Link {
    /// Starts an iteration: a file whose contents are what the program writes. Each one begins anew; a link that is pinned
    /// can be read by its path, too.
    ///
    /// # Errors
    /// [`Error::LinkOp`] for a link that is no iterator's.
    pub fn iterate(&self) -> Result<File, Error> {
        let op = "iterated";
        let link = self.kernel_link(op)?;
        let file: OwnedFd = sys::iter_create(link).map_err(|errno| match errno {
            Errno(libc::EINVAL) => Error::LinkOp {
                op,
                link_type: self.info().map_or_else(|_| Default::default(), |info| info.link_type),
                errno: Some(errno),
                why: "it is no iterator's".into(),
            },
            _ => Error::sys("BPF_ITER_CREATE", "starting an iteration")(errno),
        })?;
        Ok(File::from(file))
    }

    /// Iterates once and gives what the program wrote.
    ///
    /// # Errors
    /// As for [`iterate`](Link::iterate), and what the kernel answers to a read: E2BIG when one record is larger than its
    /// buffer.
    pub fn read_iter(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let read = self.iterate()?.read_to_end(&mut out);
        read.map_err(|error| Error::sys("read", "reading an iterator")(error.into()))?;
        Ok(out)
    }
}
