//! TRACING programs: fentry, fexit, fmod_ret, tp_btf; and EXT programs.

use std::os::fd::{AsFd, AsRawFd};

use stylet_uapi::{AttachType, ProgType};

use crate::sys::{self, Errno, LinkExtra};
use crate::{Error, Feature, Kernel, Link, Prog};

/// How a TRACING or LSM program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TracingMethod {
    /// `BPF_LINK_CREATE` for a cookie or another target, `BPF_RAW_TRACEPOINT_OPEN` otherwise, which every release has.
    #[default]
    Auto,
    /// `BPF_LINK_CREATE` (since 5.10 for these types; 5.15 for all of them).
    Link,
    /// `BPF_RAW_TRACEPOINT_OPEN` without a name.
    Open,
}

/// Options of [`tracing`] and [`lsm`](super::lsm).
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingOpts<'a> {
    /// How.
    pub method: TracingMethod,
    /// Cookie (since 5.19; tp_btf since 6.10), 0 for none.
    pub cookie: u64,
    /// Another program's function (its BTF id) instead of what the program was loaded for.
    pub target: Option<(&'a Prog, u32)>,
}

/// Attaches a TRACING program (or an EXT program, to the function it replaces) to what it was loaded for: a function of the
/// kernel or of a program, or a tracepoint.
///
/// # Errors
/// [`Error::Attach`] for what the kernel refuses; [`Error::Missing`] for a cookie before its release.
pub fn tracing(kernel: &Kernel, prog: &Prog, opts: &TracingOpts<'_>) -> Result<Link, Error> {
    let to = what(prog);
    if !matches!(prog.prog_type(), ProgType::TRACING | ProgType::EXT)
        || prog.attach_type() == AttachType::TRACE_ITER
    {
        return Err(refused(prog, &to, None, "it is no program for functions or tracepoints"));
    }
    attach(kernel, prog, opts, &to)
}

/// What the program attaches to, for messages.
pub(super) fn what(prog: &Prog) -> String {
    match prog.section() {
        "" => format!("what it was loaded for ({})", prog.attach_type()),
        section => format!("'{section}'"),
    }
}

pub(super) fn attach(
    kernel: &Kernel,
    prog: &Prog,
    opts: &TracingOpts<'_>,
    to: &str,
) -> Result<Link, Error> {
    if opts.cookie != 0 {
        let is_tp_btf = prog.attach_type() == AttachType::TRACE_RAW_TP;
        kernel.require(if is_tp_btf { Feature::RawTpCookie } else { Feature::TracingCookie })?;
    }
    let by_link = match opts.method {
        TracingMethod::Link => true,
        TracingMethod::Auto => opts.cookie != 0 || opts.target.is_some(),
        TracingMethod::Open if opts.cookie != 0 || opts.target.is_some() => {
            return Err(refused(
                prog,
                to,
                None,
                "BPF_RAW_TRACEPOINT_OPEN takes neither cookie nor target here",
            ));
        }
        TracingMethod::Open => false,
    };
    let made = if by_link {
        let (target, target_btf_id) =
            opts.target.map_or((0, 0), |(target, btf_id)| (target.as_fd().as_raw_fd(), btf_id));
        let extra = LinkExtra::Tracing { target_btf_id, cookie: opts.cookie };
        sys::link_create(prog.as_fd(), target, prog.attach_type(), 0, &extra)
    } else {
        sys::raw_tracepoint_open(prog.as_fd(), None, 0)
    };
    made.map(Link::from_link).map_err(|errno| {
        let why = match errno {
            Errno(libc::EBUSY) => "the function cannot take it: it is patched by someone else, or has its programs already",
            Errno(libc::E2BIG) => "the function has as many programs as it takes (BPF_MAX_TRAMP_LINKS)",
            Errno(libc::EINVAL) if by_link => {
                "the kernel refuses; before 5.15 links are made of some of these types only: use BPF_RAW_TRACEPOINT_OPEN"
            }
            Errno(stylet_uapi::errno::ENOTSUPP | libc::EOPNOTSUPP) => "this machine has no trampolines for it",
            Errno(libc::EPERM) => return kernel.denied(&format!("attaching to {to}"), errno),
            _ => "the kernel refuses",
        };
        refused(prog, to, Some(errno), why)
    })
}

pub(super) fn refused(prog: &Prog, to: &str, errno: Option<Errno>, why: &str) -> Error {
    Error::Attach { prog: prog.name().into(), to: to.into(), errno, why: why.into() }
}
