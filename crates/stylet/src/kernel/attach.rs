//! Programs to where their sections, or overrides, say.

use super::Session;
use super::session::AttachedLink;
use crate::session::place::{self, Outcome};
use crate::session::{AttachOptions, AttachReport, ForProg, TargetId};
use crate::{Error, Object};
use stylet_kernel::attach::{
    self, ALL_PROCESSES, IterOpts, KprobeMultiOpts, KprobeOpts, KsyscallOpts, Method,
    PerfEventOpts, PerfMethod, Places, RawTpOpts, Sampling, TracepointOpts, TracingOpts,
    UprobeMultiOpts, UprobeOpts, UsdtOpts,
};
use stylet_kernel::{Kernel, Link, LinkDetails, Prog};
use stylet_object::{AttachTarget, ProgSpec};
use stylet_uapi::ProgType;

/// How often a program of type PERF_EVENT runs on each CPU in a second, as profilers have it.
const SAMPLES_PER_SECOND: u64 = 99;

/// One wish: a program at a place, for a process or for all.
struct Wish<'a> {
    kernel: &'a Kernel,
    prog: &'a Prog,
    spec: &'a ProgSpec,
    to: &'a AttachTarget,
    pid: i32,
    cookie: u64,
    method: Method,
}

impl Session {
    /// Attaches every loaded program. Those for functions and markers of user space run for the targets' processes only, if
    /// there are any: for the process itself and its threads, and not for children that it forks. A program that can be
    /// attached nowhere is an error; one that can be attached in some targets only is a warning for the others.
    ///
    /// # Errors
    /// [`Error::NoSuchProg`] for an override of an unknown program, [`Error::Kernel`], [`Error::NothingAttached`].
    pub fn attach_all(
        &mut self,
        targets: &[TargetId],
        options: &AttachOptions,
    ) -> Result<AttachReport, Error> {
        place::check_overrides(&options.overrides, self.objects.iter().map(|o| o.object()))?;
        let mut outcomes = Vec::new();
        let mut attached = Vec::new();
        for (number, loaded) in self.objects.iter().enumerate() {
            for (index, (prog, spec)) in loaded.specs.iter().zip(loaded.progs()) {
                if place::only_tail_called(&loaded.object, *index, &options.overrides) {
                    continue;
                }
                let all = self.attach_prog(&loaded.object, (prog, spec), targets, options);
                note(all, (number, spec), &mut outcomes, &mut attached);
            }
        }
        let report = place::report(outcomes, |target| self.pid(target))?;
        self.attached.extend(attached);
        Ok(report)
    }

    /// Attaches a program to each of its places, for each target where that makes a difference.
    fn attach_prog(
        &self,
        object: &Object,
        (prog, spec): (&Prog, &ProgSpec),
        targets: &[TargetId],
        options: &AttachOptions,
    ) -> Vec<(Option<TargetId>, Result<Link, Error>)> {
        let places = match wanted(object, spec, options) {
            Ok(places) => places,
            Err(error) => return vec![(None, Err(error))],
        };
        let mut all = Vec::new();
        for to in &places {
            let of_processes = !targets.is_empty() && is_of_processes(to);
            let each: Vec<Option<TargetId>> =
                if of_processes { targets.iter().copied().map(Some).collect() } else { vec![None] };
            for target in each {
                let wish = Wish {
                    kernel: &self.kernel,
                    prog,
                    spec,
                    to,
                    pid: target.and_then(|t| self.pid(t)).unwrap_or(ALL_PROCESSES),
                    cookie: ForProg::find(&options.cookies, &spec.name).copied().unwrap_or(0),
                    method: ForProg::find(&options.methods, &spec.name)
                        .copied()
                        .unwrap_or_default(),
                };
                all.push((target, wish.attach().map_err(|error| in_object(object, error))));
            }
        }
        all
    }

    /// Detaches everything, except what is pinned. A command that was never let run is ended.
    ///
    /// # Errors
    /// [`Error::Kernel`] for the first program that could not be detached; the others are.
    pub fn detach_all(&mut self) -> Result<(), Error> {
        self.end_held();
        let mut first = Ok(());
        for AttachedLink { link, .. } in self.attached.drain(..) {
            if link.pinned().is_none()
                && let Err(error) = link.detach()
            {
                first = first.and(Err(error.into()));
            }
        }
        first
    }
}

/// Adds what became of a program's attachments to those of all.
fn note(
    all: Vec<(Option<TargetId>, Result<Link, Error>)>,
    (object, spec): (usize, &ProgSpec),
    outcomes: &mut Vec<Outcome>,
    attached: &mut Vec<AttachedLink>,
) {
    for (target, result) in all {
        let result = result.map(|link| {
            let sites = sites(&link);
            attached.push(AttachedLink { prog: spec.name.clone(), link });
            sites
        });
        place::merge(outcomes, target, (object, &spec.name), result);
    }
}

/// What the places of a program are. Some types need no name of one.
fn wanted(
    object: &Object,
    spec: &ProgSpec,
    options: &AttachOptions,
) -> Result<Vec<AttachTarget>, Error> {
    let is_overridden = options.overrides.iter().any(|o| o.prog.as_ref() == Some(&spec.name));
    match spec.sec.prog_type {
        ProgType::PERF_EVENT if !is_overridden => Ok(vec![AttachTarget::None]),
        _ => place::wanted(object, spec, &options.overrides),
    }
}

fn is_of_processes(to: &AttachTarget) -> bool {
    matches!(
        to,
        AttachTarget::Uprobe { .. }
            | AttachTarget::UprobeMulti { .. }
            | AttachTarget::Usdt { .. }
            | AttachTarget::None
    )
}

fn in_object(object: &Object, error: Error) -> Error {
    match error {
        Error::Kernel { source, .. } => {
            Error::Kernel { context: format!("{}: ", object.path.display()), source }
        }
        other => other,
    }
}

/// Number of places of a link.
fn sites(link: &Link) -> usize {
    let count = |details: &LinkDetails| match details {
        LinkDetails::KprobeMulti { funcs, .. } => funcs.len().max(1),
        LinkDetails::UprobeMulti { funcs, .. } => funcs.len().max(1),
        _ => 1,
    };
    link.infos().map_or(link.len(), |all| all.iter().map(|i| count(&i.details)).sum())
}

impl Wish<'_> {
    fn attach(&self) -> Result<Link, Error> {
        let (kernel, prog, to) = (self.kernel, self.prog, self.to);
        let (pid, cookie, method) = (self.pid, self.cookie, self.method);
        if let Some(opts) = KprobeOpts::from_target(to) {
            return Ok(attach::kprobe(kernel, prog, &KprobeOpts { cookie, method, ..opts })?);
        }
        if let Some(opts) = UprobeOpts::from_target(to) {
            return Ok(attach::uprobe(kernel, prog, &UprobeOpts { pid, cookie, method, ..opts })?);
        }
        if let Some(opts) = KsyscallOpts::from_target(to) {
            return Ok(attach::ksyscall(kernel, prog, &KsyscallOpts { cookie, method, ..opts })?);
        }
        self.only(
            Method::Auto,
            "an explicit method is for single kprobes, uprobes and system calls",
        )?;
        if let Some(opts) = UsdtOpts::from_target(to) {
            return Ok(attach::usdt(kernel, prog, &UsdtOpts { pid, cookie, ..opts })?);
        }
        if let Some(opts) = KprobeMultiOpts::from_target(to) {
            self.no_cookie()?;
            return Ok(attach::kprobe_multi(kernel, prog, &opts)?);
        }
        if let Some(mut opts) = UprobeMultiOpts::from_target(to) {
            // One function by its name may have a cookie.
            match opts.places.clone() {
                Places::Pattern(name) if cookie != 0 && !name.contains(['*', '?']) => {
                    opts.places = Places::Functions(vec![name]);
                    opts.cookies = vec![cookie];
                }
                _ => self.no_cookie()?,
            }
            return Ok(attach::uprobe_multi(kernel, prog, &UprobeMultiOpts { pid, ..opts })?);
        }
        self.others()
    }

    fn others(&self) -> Result<Link, Error> {
        let (kernel, prog, cookie) = (self.kernel, self.prog, self.cookie);
        Ok(match self.to {
            AttachTarget::Tracepoint { category, name } => {
                let event = Some((category.as_str(), name.as_str()));
                let opts = TracepointOpts { event, method: PerfMethod::Auto, cookie };
                attach::tracepoint(kernel, prog, &opts)?
            }
            AttachTarget::RawTracepoint { name, .. } => {
                let opts = RawTpOpts { name: Some(name), cookie, ..RawTpOpts::default() };
                attach::raw_tracepoint(kernel, prog, &opts)?
            }
            AttachTarget::Tracing { .. } => {
                attach::tracing(kernel, prog, &TracingOpts { cookie, ..TracingOpts::default() })?
            }
            AttachTarget::Lsm { .. } => {
                attach::lsm(kernel, prog, &TracingOpts { cookie, ..TracingOpts::default() })?
            }
            AttachTarget::Iter { .. } => attach::iter(kernel, prog, &IterOpts::default())?,
            AttachTarget::None if prog.prog_type() == ProgType::PERF_EVENT => {
                let sampling = Sampling::Frequency(SAMPLES_PER_SECOND);
                let pid = u32::try_from(self.pid).ok();
                let opts = PerfEventOpts { pid, cookie, ..PerfEventOpts::cpu_clock(sampling) };
                attach::perf_event(kernel, prog, &opts)?
            }
            _ => {
                return Err(Error::Unattachable {
                    prog: self.spec.name.clone(),
                    section: self.spec.section.clone(),
                });
            }
        })
    }

    fn only(&self, method: Method, reason: &'static str) -> Result<(), Error> {
        if self.method == method {
            return Ok(());
        }
        Err(Error::AttachSyntax { text: self.spec.name.clone(), reason })
    }

    fn no_cookie(&self) -> Result<(), Error> {
        if self.cookie == 0 {
            return Ok(());
        }
        let reason = "a pattern takes no cookie";
        Err(Error::AttachSyntax { text: self.spec.name.clone(), reason })
    }
}
