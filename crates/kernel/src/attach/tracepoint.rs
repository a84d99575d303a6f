//! Tracepoints by category and name (`tp/sched/sched_switch`), through perf events.

use stylet_object::AttachTarget;
use stylet_uapi::{ProgType, perf};

use super::perf_event::{PerfMethod, attach_event};
use super::tracefs_root;
use crate::sys::{self, Errno, PerfEventAttr};
use crate::{Error, Kernel, Link, Prog};

/// Options of [`tracepoint`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TracepointOpts<'a> {
    /// Category and name; `None`: those of the program's section.
    pub event: Option<(&'a str, &'a str)>,
    /// How the program is put on the event.
    pub method: PerfMethod,
    /// Cookie (needs a link, so 5.15), 0 for none.
    pub cookie: u64,
}

/// Attaches a program of type TRACEPOINT to an event of tracefs, in all processes and on all CPUs.
///
/// # Errors
/// [`Error::Attach`] when there is no such event, and what [`perf_event`](super::perf_event) says; [`Error::Denied`] without
/// tracefs or the right to read it.
pub fn tracepoint(kernel: &Kernel, prog: &Prog, opts: &TracepointOpts<'_>) -> Result<Link, Error> {
    let refused = |to: &str, errno, why: &str| Error::Attach {
        prog: prog.name().into(),
        to: to.into(),
        errno,
        why: why.into(),
    };
    let (category, name) = match (opts.event, &prog.sec().target) {
        (Some(event), _) => event,
        (None, AttachTarget::Tracepoint { category, name }) => (category.as_str(), name.as_str()),
        _ => return Err(refused("a tracepoint", None, "its section names none")),
    };
    let to = format!("tracepoint '{category}/{name}'");
    if prog.prog_type() != ProgType::TRACEPOINT {
        return Err(refused(&to, None, &format!("it is of type {}", prog.prog_type())));
    }
    let id = event_id(category, name).map_err(|(errno, why)| match errno {
        Errno(libc::EACCES | libc::EPERM) => {
            kernel.denied(&format!("reading the id of {to}"), errno)
        }
        _ => refused(&to, Some(errno), &why),
    })?;
    let attr = PerfEventAttr {
        type_: perf::TYPE_TRACEPOINT,
        config: id,
        sample_period: 1,
        sample_type: perf::SAMPLE_RAW,
        wakeup_events: 1,
        ..PerfEventAttr::default()
    };
    // One event on one CPU runs the program on all.
    let event = sys::perf_event_open(&attr, -1, 0).map_err(|errno| match errno {
        Errno(libc::EACCES | libc::EPERM) => kernel.denied(&format!("opening {to}"), errno),
        _ => Error::sys("perf_event_open", to.clone())(errno),
    })?;
    attach_event(kernel, prog, event, opts.method, opts.cookie, &to)
}

/// The number of an event, from its `id` file; otherwise the errno and what it means.
fn event_id(category: &str, name: &str) -> Result<u64, (Errno, String)> {
    let is_plain = |part: &str| !part.is_empty() && !part.contains(['/', '\0']) && part != "..";
    if !is_plain(category) || !is_plain(name) {
        return Err((Errno(libc::EINVAL), "expected a category and a name".into()));
    }
    let root = tracefs_root()
        .map_err(|error| (error.errno().unwrap_or(Errno(libc::ENOENT)), error.to_string()))?;
    let folder = root.join("events").join(category);
    let text = std::fs::read_to_string(folder.join(name).join("id")).map_err(|error| {
        let why = match (error.kind(), folder.is_dir()) {
            (std::io::ErrorKind::NotFound, true) => near(&folder, name)
                .map_or("the category has no such event".into(), |near| {
                    format!("the category has no such event; is '{near}' meant?")
                }),
            (std::io::ErrorKind::NotFound, false) => {
                "there is no such category; is its module loaded?".into()
            }
            _ => "its id cannot be read".into(),
        };
        (Errno::from(error), why)
    })?;
    text.trim()
        .parse()
        .map_err(|_| (Errno(libc::EIO), format!("its id is no number: {}", text.trim())))
}

/// An event of the category whose name contains the wanted one, or begins like it.
fn near(folder: &std::path::Path, name: &str) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten();
    let names: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let nearest = names.into_iter().max_by_key(|other| (other.contains(name), common(other)))?;
    (nearest.contains(name) || common(&nearest) * 2 > name.len()).then_some(nearest)
}
