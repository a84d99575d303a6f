//! uprobes and uretprobes, one place at a time.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use stylet_object::AttachTarget;
use stylet_symbols::Place;
use stylet_uapi::AttachType;

use super::Method;
use super::event::Attempt;
use super::file::{Binary, Files};
use super::pmu::{Pmu, PmuKind};
use super::tracefs::{Event, EventKind};
use crate::feature::Feature;
use crate::sys::Errno;
use crate::{Error, Kernel, Link, Prog};

/// Kernel-internal error number that reaches us: an instruction that cannot be single-stepped (`ENOTSUPP`).
const ENOTSUPP: i32 = 524;

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UprobePlace {
    /// A function (maybe `name@VERSION`) and bytes from its start.
    Function {
        /// Name.
        name: String,
        /// Bytes.
        offset: u64,
    },
    /// An offset in the file.
    Offset(u64),
}

/// Where and how to attach a uprobe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobeOpts {
    /// Path or name of the file: `/usr/bin/python3`, `libc.so.6`, `libc`.
    pub path: String,
    /// Where in it.
    pub place: UprobePlace,
    /// At the function's return.
    pub ret: bool,
    /// Process; [`ALL_PROCESSES`](super::ALL_PROCESSES) or [`THIS_PROCESS`](super::THIS_PROCESS).
    pub pid: i32,
    /// Offset in the file of a 16-bit counter that the kernel increments while the probe is there, 0 for none.
    pub ref_ctr_offset: u64,
    /// Value for `bpf_get_attach_cookie`, 0 for none.
    pub cookie: u64,
    /// How.
    pub method: Method,
}

impl UprobeOpts {
    /// At a function's entry, in all processes.
    pub fn function(path: impl Into<String>, name: impl Into<String>) -> UprobeOpts {
        let place = UprobePlace::Function { name: name.into(), offset: 0 };
        UprobeOpts {
            path: path.into(),
            place,
            ret: false,
            pid: super::ALL_PROCESSES,
            ref_ctr_offset: 0,
            cookie: 0,
            method: Method::Auto,
        }
    }

    /// At an offset of the file, in all processes.
    pub fn offset(path: impl Into<String>, offset: u64) -> UprobeOpts {
        UprobeOpts { place: UprobePlace::Offset(offset), ..UprobeOpts::function(path, "") }
    }

    /// What a section name says: `uprobe/…`, `uretprobe/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<UprobeOpts> {
        let AttachTarget::Uprobe { path, func, offset, ret } = target else { return None };
        let place = match raw_offset(func) {
            Some(raw) => UprobePlace::Offset(raw.wrapping_add(*offset)),
            None => UprobePlace::Function { name: func.clone(), offset: *offset },
        };
        Some(UprobeOpts { place, ret: *ret, ..UprobeOpts::function(path, "") })
    }
}

/// A place that is a number and no name: libbpf's `uprobe/path:0x1234`.
fn raw_offset(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Attaches a program to a place in a file (`bpf_program__attach_uprobe_opts` of libbpf).
///
/// # Errors
/// [`Error::Symbols`] for a file or function that is not there; [`Error::NoProcess`]; [`Error::Missing`] for a method, a
/// cookie or a reference counter that the kernel has not got; [`Error::Attach`] for a place that cannot be probed.
pub fn uprobe(kernel: &Kernel, prog: &Prog, opts: &UprobeOpts) -> Result<Link, Error> {
    uprobe_in(kernel, prog, opts, &Files::default())
}

/// The same, of files some of which have been found already.
pub(super) fn uprobe_in(
    kernel: &Kernel,
    prog: &Prog,
    opts: &UprobeOpts,
    files: &Files,
) -> Result<Link, Error> {
    let file = files.find(&opts.path, opts.pid)?;
    let offset = match &opts.place {
        UprobePlace::Offset(offset) => *offset,
        UprobePlace::Function { name, offset } => file_offset(&file, name, *offset)?,
    };
    at(kernel, prog, &file, offset, opts)
}

/// Attaches to an offset of a file that has been found.
pub(super) fn at(
    kernel: &Kernel,
    prog: &Prog,
    file: &Binary,
    offset: u64,
    opts: &UprobeOpts,
) -> Result<Link, Error> {
    let kind = if opts.ret { "uretprobe" } else { "uprobe" };
    let attempt =
        Attempt { kernel, prog, to: format!("{kind} '{}:{offset:#x}'", file.shown.display()) };
    attempt.check(&[AttachType(0)], "SEC(\"uprobe\") or SEC(\"uretprobe\")")?;
    if opts.ret && matches!(opts.place, UprobePlace::Function { offset: 1.., .. }) {
        return Err(attempt.error(None, "a return probe takes no offset"));
    }
    let method = attempt.method(opts.method, PmuKind::Uprobe);
    attempt.check_cookie(opts.method, method, opts.cookie)?;
    if method == Method::Tracefs {
        let event = tracefs_event(&attempt, file, offset, opts)?;
        return attempt.join_tracefs(event, opts.pid, opts.cookie);
    }
    let pmu = Pmu::find(kernel, PmuKind::Uprobe)?;
    if opts.ref_ctr_offset != 0 {
        if pmu.ref_ctr.is_none() {
            return Err(kernel.missing(Feature::RefCtr, None));
        }
        if u32::try_from(opts.ref_ctr_offset).is_err() {
            return Err(attempt.error(None, "the counter's offset does not fit 32 bits"));
        }
    }
    let path = file.c_path()?;
    let event = pmu
        .open_uprobe(&path, offset, opts.ret, opts.ref_ctr_offset, opts.pid)
        .map_err(|errno| failed(&attempt, opts.pid, errno))?;
    attempt.join(event, method, opts.cookie)
}

/// File offset of a function and bytes from its start.
pub(super) fn file_offset(file: &Binary, name: &str, offset: u64) -> Result<u64, Error> {
    let image = file.image_for(name)?;
    let place = Place::Function { name: name.to_string(), offset };
    let (vaddr, _) = image.place(&place)?;
    image.offset_of(vaddr).ok_or_else(|| {
        let why = format!("`{name}` is not in the file's code");
        stylet_symbols::Error::BadElf { path: file.shown.clone(), why }.into()
    })
}

fn tracefs_event(
    attempt: &Attempt<'_>,
    file: &Binary,
    offset: u64,
    opts: &UprobeOpts,
) -> Result<Event, Error> {
    let tracefs = attempt.kernel.tracefs()?;
    // The kernel's parser splits at blanks; a descriptor's path has none.
    let blank = file.open.as_os_str().as_bytes().iter().any(u8::is_ascii_whitespace);
    let held = if blank { std::fs::File::open(&file.open).ok() } else { None };
    let path = match &held {
        Some(held) => PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())),
        None => file.open.clone(),
    };
    let counter = match opts.ref_ctr_offset {
        0 => String::new(),
        counter => format!("({counter:#x})"),
    };
    let place = format!("{}:{offset:#x}{counter}", path.display());
    let base = file.shown.file_name().unwrap_or_default().to_string_lossy();
    let flavor = if opts.ret { "r" } else { "p" };
    Event::create(tracefs, EventKind::Uprobe, flavor, &place, &format!("{base}_{offset:x}"))
        .map_err(|(path, errno)| match errno.0 {
            libc::ENOENT if !path.exists() => {
                attempt.kernel.missing(Feature::UprobeEvents, Some(errno))
            }
            libc::EEXIST | libc::EBUSY => {
                let why = "every name that was tried for a new event is taken".into();
                Error::Tracefs { path, why, errno: Some(errno) }
            }
            _ => failed(attempt, opts.pid, errno),
        })
}

/// What the kernel has against a place in a file.
pub(super) fn failed(attempt: &Attempt<'_>, pid: i32, errno: Errno) -> Error {
    let why = match errno.0 {
        libc::EPERM | libc::EACCES => return attempt.denied(errno),
        libc::ESRCH if pid > 0 => return Error::NoProcess { pid },
        libc::ENOENT => "the file is not there",
        libc::EINVAL => {
            "the offset is in no page of the file that can be probed, its file system has no pages, or the same place has \
             another reference counter"
        }
        libc::EIO => "the offset is behind the end of the file",
        libc::ENOEXEC | libc::EILSEQ => "no instruction starts there",
        libc::EOPNOTSUPP | ENOTSUPP => "the instruction there cannot be probed",
        libc::ETXTBSY => "the file is being written",
        _ => return attempt.open_failed(errno),
    };
    attempt.error(Some(errno), why)
}
