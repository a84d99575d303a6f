//! kprobes and kretprobes, one function at a time.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use stylet_object::AttachTarget;
use stylet_uapi::AttachType;

use super::Method;
use super::event::Attempt;
use super::pmu::{Pmu, PmuKind};
use super::tracefs::{Event, EventKind};
use crate::feature::Feature;
use crate::symbols::why_not;
use crate::sys::Errno;
use crate::{Error, Kernel, Link, Prog};

/// Says `0` when all kprobes have been switched off; then they are made, but never hit.
const ENABLED: &str = "/sys/kernel/debug/kprobes/enabled";

/// Where in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KprobePlace {
    /// A function and bytes from its start.
    Function {
        /// Name; `module:name` for one of a module, should there be several.
        name: String,
        /// Bytes.
        offset: u64,
    },
    /// An address.
    Address(u64),
}

impl fmt::Display for KprobePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KprobePlace::Function { name, offset: 0 } => f.write_str(name),
            KprobePlace::Function { name, offset } => write!(f, "{name}+{offset:#x}"),
            KprobePlace::Address(address) => write!(f, "{address:#x}"),
        }
    }
}

/// Where and how to attach a kprobe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KprobeOpts {
    /// Where.
    pub place: KprobePlace,
    /// At the function's return.
    pub ret: bool,
    /// Value for `bpf_get_attach_cookie`, 0 for none.
    pub cookie: u64,
    /// How.
    pub method: Method,
}

impl KprobeOpts {
    /// At a function's entry.
    pub fn function(name: impl Into<String>) -> KprobeOpts {
        let place = KprobePlace::Function { name: name.into(), offset: 0 };
        KprobeOpts { place, ret: false, cookie: 0, method: Method::Auto }
    }

    /// At an address.
    pub fn address(address: u64) -> KprobeOpts {
        KprobeOpts { place: KprobePlace::Address(address), ..KprobeOpts::function("") }
    }

    /// What a section name says: `kprobe/…`, `kretprobe/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<KprobeOpts> {
        let AttachTarget::Kprobe { func, offset, ret } = target else { return None };
        let place = KprobePlace::Function { name: func.clone(), offset: *offset };
        Some(KprobeOpts { place, ret: *ret, ..KprobeOpts::function("") })
    }
}

/// Attaches a program to a kernel function (`bpf_program__attach_kprobe_opts` of libbpf).
///
/// # Errors
/// [`Error::NoFunction`] and [`Error::Unprobeable`] name what is wrong with the function, [`Error::KprobesDisabled`] and
/// [`Error::Denied`] with the system; [`Error::Missing`] for a method or a cookie that the kernel has not got.
pub fn kprobe(kernel: &Kernel, prog: &Prog, opts: &KprobeOpts) -> Result<Link, Error> {
    let kind = if opts.ret { "kretprobe" } else { "kprobe" };
    let attempt = Attempt { kernel, prog, to: format!("{kind} '{}'", opts.place) };
    attempt.check(&[AttachType(0)], "SEC(\"kprobe\") or SEC(\"kretprobe\")")?;
    if opts.ret && matches!(opts.place, KprobePlace::Function { offset: 1.., .. }) {
        return Err(attempt.error(None, "a return probe takes no offset"));
    }
    let method = attempt.method(opts.method, PmuKind::Kprobe);
    attempt.check_cookie(opts.method, method, opts.cookie)?;
    check_enabled()?;
    if method == Method::Tracefs {
        let event = tracefs_event(&attempt, opts)?;
        return attempt.join_tracefs(event, super::ALL_PROCESSES, opts.cookie);
    }
    let pmu = Pmu::find(kernel, PmuKind::Kprobe)?;
    let event = match &opts.place {
        KprobePlace::Function { name, offset } => {
            let name = CString::new(name.as_str())
                .map_err(|_| attempt.error(None, "a name holds no NUL byte"))?;
            pmu.open_kprobe(Some(&name), *offset, opts.ret)
        }
        KprobePlace::Address(address) => pmu.open_kprobe(None, *address, opts.ret),
    };
    let event = event.map_err(|errno| failed(&attempt, &opts.place, errno))?;
    attempt.join(event, method, opts.cookie)
}

fn tracefs_event(attempt: &Attempt<'_>, opts: &KprobeOpts) -> Result<Event, Error> {
    let tracefs = attempt.kernel.tracefs()?;
    let place = match &opts.place {
        KprobePlace::Function { name, .. }
            if name.contains(char::is_whitespace) || name.is_empty() =>
        {
            return Err(Error::NoFunction { name: name.clone(), near: Vec::new() });
        }
        place => place.to_string(),
    };
    let flavor = if opts.ret { "r" } else { "p" };
    Event::create(tracefs, EventKind::Kprobe, flavor, &place, &place)
        .map_err(|(path, errno)| tracefs_failed(attempt, opts, path, errno))
}

fn tracefs_failed(attempt: &Attempt<'_>, opts: &KprobeOpts, path: PathBuf, errno: Errno) -> Error {
    match errno.0 {
        libc::ENOENT if !path.exists() => {
            attempt.kernel.missing(Feature::KprobeEvents, Some(errno))
        }
        libc::EEXIST | libc::EBUSY => {
            let why = "every name that was tried for a new event is taken".into();
            Error::Tracefs { path, why, errno: Some(errno) }
        }
        _ => failed(attempt, &opts.place, errno),
    }
}

fn failed(attempt: &Attempt<'_>, place: &KprobePlace, errno: Errno) -> Error {
    if matches!(errno.0, libc::EPERM | libc::EACCES) {
        return attempt.denied(errno);
    }
    if let KprobePlace::Function { name, offset } = place
        && let Some(error) = why_not(attempt.kernel, name, *offset, errno)
    {
        return error;
    }
    match errno.0 {
        libc::EINVAL | libc::EILSEQ | libc::ENOENT => {
            attempt.error(Some(errno), "no instruction that may be probed starts there")
        }
        _ => attempt.open_failed(errno),
    }
}

/// Whether kprobes are switched off for the whole system. Unknown (no debugfs) counts as on.
pub(super) fn check_enabled() -> Result<(), Error> {
    match std::fs::read_to_string(ENABLED) {
        Ok(text) if text.trim() == "0" => Err(Error::KprobesDisabled { path: ENABLED.into() }),
        _ => Ok(()),
    }
}
