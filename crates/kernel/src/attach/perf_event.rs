//! Programs on perf events: sampling by clocks and counters; the last step of every probe that is a perf event.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use stylet_uapi::{AttachType, ProgType, perf};

use crate::sys::{self, Errno, LinkExtra, PerfEventAttr};
use crate::{Error, Feature, Kernel, Link, Prog};

/// How a program is put on a perf event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerfMethod {
    /// A link where the kernel has them (since 5.15), else by ioctl.
    #[default]
    Auto,
    /// `BPF_LINK_CREATE` with `BPF_PERF_EVENT`: cookie, info, pin.
    Link,
    /// `PERF_EVENT_IOC_SET_BPF`.
    Ioctl,
}

/// How often an event samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// After so many of what it counts (nanoseconds, for clocks).
    Period(u64),
    /// So many times a second, about (at most `kernel.perf_event_max_sample_rate`).
    Frequency(u64),
}

/// Options of [`perf_event`].
#[derive(Clone, Debug)]
pub struct PerfEventOpts {
    /// `perf_event_attr.type`: `PERF_TYPE_*`, or a PMU's number from sysfs.
    pub event_type: u32,
    /// `perf_event_attr.config`
    pub config: u64,
    /// How often.
    pub sampling: Sampling,
    /// Process (0: this one), `None`: all.
    pub pid: Option<u32>,
    /// CPUs, an event on each; `None`: one event on any CPU for one process, else all CPUs that run.
    pub cpus: Option<Vec<u32>>,
    /// How the program is put on the event.
    pub method: PerfMethod,
    /// Cookie (needs a link, so 5.15), 0 for none.
    pub cookie: u64,
}

impl PerfEventOpts {
    /// The CPU clock in software, of all processes and CPUs.
    pub fn cpu_clock(sampling: Sampling) -> PerfEventOpts {
        PerfEventOpts {
            event_type: perf::TYPE_SOFTWARE,
            config: perf::COUNT_SW_CPU_CLOCK,
            sampling,
            pid: None,
            cpus: None,
            method: PerfMethod::Auto,
            cookie: 0,
        }
    }
}

/// Bit of `perf_event_attr`'s bit field: `sample_freq` instead of `sample_period`.
const FREQ: u64 = 1 << 10;

/// Attaches a program of type PERF_EVENT to sampling events: one for each CPU.
///
/// # Errors
/// [`Error::Attach`] when the machine has no such event or does not sample it; [`Error::Denied`] without the rights
/// (`kernel.perf_event_paranoid`); [`Error::Missing`] for a link before 5.15.
pub fn perf_event(kernel: &Kernel, prog: &Prog, opts: &PerfEventOpts) -> Result<Link, Error> {
    let to = format!("perf event {}:{:#x}", opts.event_type, opts.config);
    let refused =
        |errno, why: String| Error::Attach { prog: prog.name().into(), to: to.clone(), errno, why };
    if prog.prog_type() != ProgType::PERF_EVENT {
        return Err(refused(None, format!("it is of type {}", prog.prog_type())));
    }
    let (sample_period, flags) = match opts.sampling {
        Sampling::Period(period) => (period, 0),
        Sampling::Frequency(frequency) => (frequency, FREQ),
    };
    if sample_period == 0 {
        return Err(refused(None, "it would never sample: the period is 0".into()));
    }
    let attr = PerfEventAttr {
        type_: opts.event_type,
        config: opts.config,
        sample_period,
        flags,
        ..PerfEventAttr::default()
    };
    let pid = match opts.pid {
        Some(pid) => {
            i32::try_from(pid).map_err(|_| refused(None, format!("there is no process {pid}")))?
        }
        None => -1,
    };
    let cpus: Vec<i32> = match (&opts.cpus, opts.pid) {
        (Some(cpus), _) => cpus.iter().map(|cpu| *cpu as i32).collect(),
        (None, Some(_)) => vec![-1],
        (None, None) => {
            let online = sys::online_cpus().map_err(Error::sys("read", "the CPUs that run"))?;
            online.into_iter().map(|cpu| cpu as i32).collect()
        }
    };
    let mut links = Vec::with_capacity(cpus.len());
    for cpu in cpus {
        let event = sys::perf_event_open(&attr, pid, cpu).map_err(|errno| match errno {
            Errno(libc::EACCES | libc::EPERM) => kernel.denied(&format!("opening {to}"), errno),
            Errno(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => {
                refused(Some(errno), "this machine has no such event, or does not sample it".into())
            }
            Errno(libc::ESRCH) => refused(Some(errno), format!("there is no process {pid}")),
            Errno(libc::EINVAL) => {
                refused(Some(errno), format!("no such CPU ({cpu}), or no such frequency"))
            }
            _ => Error::sys("perf_event_open", to.clone())(errno),
        })?;
        links.push(attach_event(kernel, prog, event, opts.method, opts.cookie, &to)?);
    }
    Ok(Link::group(links))
}

/// Puts a program on a perf event and enables it. `to` is for messages: `tracepoint 'sched/sched_switch'`.
///
/// # Errors
/// [`Error::Missing`] for a link, or for a cookie, before 5.15; [`Error::Attach`] for what the kernel refuses.
pub fn attach_event(
    kernel: &Kernel,
    prog: &Prog,
    event: OwnedFd,
    method: PerfMethod,
    cookie: u64,
    to: &str,
) -> Result<Link, Error> {
    let refused = |errno: Errno| {
        let why = match errno {
            Errno(libc::EEXIST) => "another program is on that event",
            Errno(libc::EINVAL) => {
                "the event takes no program of this type, or the program reads beyond its context"
            }
            Errno(libc::EACCES) => "the program reads beyond the event's record",
            Errno(libc::EPERM) => return kernel.denied(&format!("attaching to {to}"), errno),
            _ => "the kernel refuses",
        };
        Error::Attach {
            prog: prog.name().into(),
            to: to.into(),
            errno: Some(errno),
            why: why.into(),
        }
    };
    if method != PerfMethod::Ioctl {
        let extra = LinkExtra::PerfEvent { cookie };
        let target = event.as_raw_fd();
        match sys::link_create(prog.as_fd(), target, AttachType::PERF_EVENT, 0, &extra) {
            Ok(link) => {
                sys::perf_event_enable(event.as_fd()).map_err(refused)?;
                return Ok(Link::from_perf_link(link, event));
            }
            // Whether there are such links is asked only now: the answer takes longer than a link.
            Err(_)
                if method == PerfMethod::Auto && cookie == 0 && !kernel.has(Feature::PerfLink) => {}
            Err(errno) => {
                kernel.require(Feature::PerfLink)?;
                return Err(refused(errno));
            }
        }
    } else if cookie != 0 {
        let why = "a program that is attached by ioctl has no cookie".into();
        return Err(Error::Attach { prog: prog.name().into(), to: to.into(), errno: None, why });
    }
    sys::perf_event_set_bpf(event.as_fd(), prog.as_fd()).map_err(refused)?;
    sys::perf_event_enable(event.as_fd()).map_err(refused)?;
    Ok(Link::from_perf_event(event))
}
