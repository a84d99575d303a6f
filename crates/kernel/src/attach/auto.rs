//! Attaching by section name: every family that a name can stand for.

use stylet_object::{AttachTarget, TracingKind};
use stylet_uapi::ProgType;

use super::{
    Files, IterOpts, IterTarget, KprobeMultiOpts, KprobeOpts, KsyscallOpts, Method, PerfEventOpts,
    PerfMethod, RawTpOpts, TracepointOpts, TracingOpts, UprobeMultiOpts, UprobeOpts, UsdtOpts,
};
use crate::{Error, Kernel, Link, Prog};

/// What is said besides the section name, or in its place.
#[derive(Clone, Debug)]
pub struct AutoOpts<'a> {
    /// Instead of the section's target.
    pub target: Option<AttachTarget>,
    /// Process, for uprobes and USDT; [`ALL_PROCESSES`](super::ALL_PROCESSES) or [`THIS_PROCESS`](super::THIS_PROCESS).
    pub pid: i32,
    /// Cookie, 0 for none.
    pub cookie: u64,
    /// How, for single probes and tracepoints.
    pub method: Method,
    /// The event of a `perf_event` program, which no section names.
    pub event: Option<PerfEventOpts>,
    /// What an iterator goes over.
    pub iter: IterTarget<'a>,
    /// Files that were found for other programs of the same round.
    pub files: Option<&'a Files>,
}

impl Default for AutoOpts<'_> {
    fn default() -> Self {
        AutoOpts {
            target: None,
            pid: super::ALL_PROCESSES,
            cookie: 0,
            method: Method::Auto,
            event: None,
            iter: IterTarget::All,
            files: None,
        }
    }
}

/// Attaches a program to what its section names (`bpf_program__attach` of libbpf), by the first method that the kernel has.
///
/// # Errors
/// [`Error::Attach`] for a program whose section names no target, and for types that are not attached by name (a syscall
/// program is run: [`test_run`](crate::read::test_run)); else those of the family's function.
pub fn auto(kernel: &Kernel, prog: &Prog, opts: &AutoOpts<'_>) -> Result<Link, Error> {
    let target = opts.target.as_ref().unwrap_or(&prog.sec().target);
    let AutoOpts { pid, cookie, method, .. } = *opts;
    if let Some(probe) = KprobeOpts::from_target(target) {
        return super::kprobe(kernel, prog, &KprobeOpts { cookie, method, ..probe });
    }
    if let Some(probe) = KsyscallOpts::from_target(target) {
        return super::ksyscall(kernel, prog, &KsyscallOpts { cookie, method, ..probe });
    }
    if let Some(probe) = UprobeOpts::from_target(target) {
        let probe = UprobeOpts { pid, cookie, method, ..probe };
        return match opts.files {
            Some(files) => super::uprobe::uprobe_in(kernel, prog, &probe, files),
            None => super::uprobe(kernel, prog, &probe),
        };
    }
    if let Some(probe) = UsdtOpts::from_target(target) {
        return super::usdt(kernel, prog, &UsdtOpts { pid, cookie, ..probe });
    }
    // One cookie is refused there with a pattern of many places.
    let cookies = if cookie == 0 { Vec::new() } else { vec![cookie] };
    if let Some(probe) = KprobeMultiOpts::from_target(target) {
        return super::kprobe_multi(kernel, prog, &KprobeMultiOpts { cookies, ..probe });
    }
    if let Some(probe) = UprobeMultiOpts::from_target(target) {
        return super::uprobe_multi(kernel, prog, &UprobeMultiOpts { pid, cookies, ..probe });
    }
    others(kernel, prog, target, opts)
}

/// The families whose places are no probes.
fn others(
    kernel: &Kernel,
    prog: &Prog,
    target: &AttachTarget,
    opts: &AutoOpts<'_>,
) -> Result<Link, Error> {
    let cookie = opts.cookie;
    let tracing = TracingOpts { cookie, ..TracingOpts::default() };
    match target {
        AttachTarget::RawTracepoint { name, .. } => super::raw_tracepoint(
            kernel,
            prog,
            &RawTpOpts { name: Some(name), cookie, ..RawTpOpts::default() },
        ),
        AttachTarget::Tracepoint { category, name } => {
            let method = perf_method(opts.method);
            super::tracepoint(
                kernel,
                prog,
                &TracepointOpts { event: Some((category, name)), method, cookie },
            )
        }
        AttachTarget::Tracing {
            kind: TracingKind::FentryMulti | TracingKind::FexitMulti | TracingKind::FsessionMulti,
            ..
        } => Err(refused(prog, "links of many functions (fentry.multi) are not made here")),
        AttachTarget::Tracing { kind: TracingKind::Freplace, .. } => Err(refused(
            prog,
            "it replaces another program's function: attach it with `tracing` and that program",
        )),
        AttachTarget::Tracing { .. } => super::tracing(kernel, prog, &tracing),
        AttachTarget::Lsm { .. } => super::lsm(kernel, prog, &tracing),
        AttachTarget::Iter { .. } if cookie != 0 => Err(refused(prog, "iterators have no cookies")),
        AttachTarget::Iter { .. } => super::iter(kernel, prog, &IterOpts { target: opts.iter }),
        AttachTarget::Invalid { reason } => Err(refused(prog, reason)),
        AttachTarget::None if prog.prog_type() == ProgType::PERF_EVENT => match &opts.event {
            Some(event) => {
                let event =
                    PerfEventOpts { method: perf_method(opts.method), cookie, ..event.clone() };
                super::perf_event(kernel, prog, &event)
            }
            None => Err(refused(prog, "no section names an event to sample: give one")),
        },
        AttachTarget::None if prog.prog_type() == ProgType::SYSCALL => {
            Err(refused(prog, "it is attached to nothing: it is run (BPF_PROG_TEST_RUN)"))
        }
        _ => Err(refused(prog, "its section names no place that it could be attached to")),
    }
}

/// A tracepoint is an event of tracefs already.
fn perf_method(method: Method) -> PerfMethod {
    match method {
        Method::Auto => PerfMethod::Auto,
        Method::PerfLink => PerfMethod::Link,
        Method::PerfIoctl | Method::Tracefs => PerfMethod::Ioctl,
    }
}

fn refused(prog: &Prog, why: &str) -> Error {
    let to = match prog.section() {
        "" => "anything by name".to_string(),
        section => format!("'{section}'"),
    };
    Error::Attach { prog: prog.name().into(), to, errno: None, why: why.into() }
}
