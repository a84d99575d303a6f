//! uprobe.multi and uprobe.session.

use std::os::fd::AsFd;

use stylet_object::AttachTarget;
use stylet_uapi::AttachType;
use stylet_uapi::flags::link_flags;

use super::check_count;
use crate::attach::event::Attempt;
use crate::attach::file::Binary;
use crate::attach::uprobe::failed;
use crate::feature::Feature;
use crate::sys::{self, LinkExtra};
use crate::{Error, Kernel, Link, Prog};

/// Which places of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// Entries of functions (maybe `name@VERSION`).
    Functions(Vec<String>),
    /// Offsets in the file.
    Offsets(Vec<u64>),
    /// Entries of the functions whose names match a pattern with `*` and `?`.
    Pattern(String),
}

/// Where and how to attach a uprobe.multi or uprobe.session program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobeMultiOpts {
    /// Path or name of the file.
    pub path: String,
    /// Where in it.
    pub places: Places,
    /// At the functions' return. A session has both.
    pub ret: bool,
    /// Process; [`ALL_PROCESSES`](crate::attach::ALL_PROCESSES) or [`THIS_PROCESS`](crate::attach::THIS_PROCESS).
    pub pid: i32,
    /// Offsets in the file of 16-bit counters, one for each place (0 for none there), or empty.
    pub ref_ctr_offsets: Vec<u64>,
    /// Values for `bpf_get_attach_cookie`: none, or one for each place. Neither they nor counters go with a pattern.
    pub cookies: Vec<u64>,
}

impl UprobeMultiOpts {
    /// In all processes.
    pub fn new(path: impl Into<String>, places: Places) -> UprobeMultiOpts {
        UprobeMultiOpts {
            path: path.into(),
            places,
            ret: false,
            pid: crate::attach::ALL_PROCESSES,
            ref_ctr_offsets: Vec::new(),
            cookies: Vec::new(),
        }
    }

    /// What a section name says: `uprobe.multi/…`, `uretprobe.multi/…`, `uprobe.session/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<UprobeMultiOpts> {
        let AttachTarget::UprobeMulti { path, pattern, ret, .. } = target else { return None };
        let places = Places::Pattern(pattern.clone());
        Some(UprobeMultiOpts { ret: *ret, ..UprobeMultiOpts::new(path, places) })
    }
}

/// Attaches a program to many places of a file by one link (`bpf_program__attach_uprobe_multi` of libbpf). One loaded as a
/// session runs at entry and return of each call; its entry's return value 1 suppresses the return.
///
/// # Errors
/// [`Error::Missing`] before 6.6 (sessions: 6.13); else those of [`uprobe`](crate::attach::uprobe()).
pub fn uprobe_multi(kernel: &Kernel, prog: &Prog, opts: &UprobeMultiOpts) -> Result<Link, Error> {
    let session = prog.attach_type() == AttachType::TRACE_UPROBE_SESSION;
    let attempt = Attempt { kernel, prog, to: format!("uprobe.multi of '{}'", opts.path) };
    let wanted = [AttachType::TRACE_UPROBE_MULTI, AttachType::TRACE_UPROBE_SESSION];
    attempt.check(&wanted, "SEC(\"uprobe.multi\") or SEC(\"uprobe.session\")")?;
    if session && opts.ret {
        return Err(attempt.error(None, "a session has entry and return both"));
    }
    let feature = if session { Feature::UprobeSession } else { Feature::UprobeMulti };
    kernel.require(feature)?;
    let file = Binary::find(&opts.path, opts.pid)?;
    let offsets = resolve(&file, &opts.places)?;
    if offsets.is_empty() {
        return Err(attempt.error(None, "no function matches"));
    }
    if matches!(&opts.places, Places::Pattern(pattern) if pattern.contains(['*', '?']))
        && !(opts.cookies.is_empty() && opts.ref_ctr_offsets.is_empty())
    {
        return Err(
            attempt.error(None, "a pattern's functions have no order for cookies or counters")
        );
    }
    let sites =
        Sites { offsets: &offsets, ref_ctr_offsets: &opts.ref_ctr_offsets, cookies: &opts.cookies };
    attach_sites(&attempt, &file, &sites, opts.ret, opts.pid)
}

/// Places by offset, with their counters and cookies.
pub(in crate::attach) struct Sites<'a> {
    pub offsets: &'a [u64],
    pub ref_ctr_offsets: &'a [u64],
    pub cookies: &'a [u64],
}

/// Makes the link.
pub(in crate::attach) fn attach_sites(
    attempt: &Attempt<'_>,
    file: &Binary,
    sites: &Sites<'_>,
    ret: bool,
    pid: i32,
) -> Result<Link, Error> {
    let Sites { offsets, ref_ctr_offsets, cookies } = *sites;
    check_count(attempt, "cookies", cookies, offsets.len())?;
    check_count(attempt, "counters", ref_ctr_offsets, offsets.len())?;
    let path = file.c_path()?;
    let flags = if ret { link_flags::UPROBE_MULTI_RETURN } else { 0 };
    // Here 0 means every process.
    let process = match pid {
        0 => std::process::id(),
        pid => u32::try_from(pid).unwrap_or(0),
    };
    let extra = LinkExtra::UprobeMulti {
        flags,
        path: &path,
        offsets,
        ref_ctr_offsets,
        cookies,
        pid: process,
    };
    sys::link_create(attempt.prog.as_fd(), 0, attempt.prog.attach_type(), 0, &extra)
        .map(Link::from_link)
        .map_err(|errno| failed(attempt, pid, errno))
}

/// File offsets, each once for a pattern.
fn resolve(file: &Binary, places: &Places) -> Result<Vec<u64>, Error> {
    if let Places::Offsets(offsets) = places {
        return Ok(offsets.clone());
    }
    let image = file.image()?;
    match places {
        Places::Pattern(pattern) if pattern.contains(['*', '?']) => {
            let found = image.matching(pattern).filter_map(|f| image.offset_of(f.vaddr));
            let mut offsets: Vec<u64> = found.collect();
            offsets.sort_unstable();
            offsets.dedup();
            if offsets.is_empty() {
                // Its message has the pattern and similar names.
                image.func(pattern)?;
            }
            Ok(offsets)
        }
        Places::Pattern(name) => Ok(vec![offset_in(&image, file, name)?]),
        Places::Functions(names) => {
            names.iter().map(|name| offset_in(&image, file, name)).collect()
        }
        Places::Offsets(offsets) => Ok(offsets.clone()),
    }
}

fn offset_in(image: &stylet_symbols::ElfImage, file: &Binary, name: &str) -> Result<u64, Error> {
    let func = image.func(name)?;
    image.offset_of(func.vaddr).ok_or_else(|| {
        let why = format!("`{name}` is not in the file's code");
        stylet_symbols::Error::BadElf { path: file.shown.clone(), why }.into()
    })
}
