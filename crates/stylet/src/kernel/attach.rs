//! Programs to where their sections, or overrides, say.

use super::Session;
use super::once;
use super::session::{AttachedLink, Loaded};
use crate::session::place::{self, Outcome};
use crate::session::{AttachOptions, AttachReport, ForProg, TargetId};
use crate::{Error, Object};
use stylet_kernel::attach::{
    self, ALL_PROCESSES, AutoOpts, Files, IterTarget, Method, PerfEventOpts, Sampling,
};
use stylet_kernel::{Kernel, Link, LinkDetails, Prog};
use stylet_object::{AttachTarget, ProgSpec};
use stylet_uapi::{AttachType, ProgType};

/// How often a program of type PERF_EVENT runs on each CPU in a second, as profilers have it.
const SAMPLES_PER_SECOND: u64 = 99;

/// One wish: a program at a place, for a process or for all.
struct Wish<'a> {
    kernel: &'a Kernel,
    loaded: &'a Loaded,
    prog: &'a Prog,
    spec: &'a ProgSpec,
    to: &'a AttachTarget,
    pid: i32,
    cookie: u64,
    method: Method,
    files: &'a Files,
}

impl Session {
    /// Attaches every loaded program, but for those of type SYSCALL, which are run ([`Session::run_once`]). Those for functions and markers of user space run for the targets' processes only, if
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
        let mut runs = false;
        let files = Files::default();
        for (number, loaded) in self.objects.iter().enumerate() {
            for (index, (prog, spec)) in loaded.specs.iter().zip(loaded.progs()) {
                if once::is_run(spec) {
                    runs = true;
                    continue;
                }
                if place::only_tail_called(&loaded.object, *index, &options.overrides) {
                    continue;
                }
                let all = self.attach_prog(loaded, (prog, spec), targets, options, &files);
                note(all, (number, spec), &mut outcomes, &mut attached);
            }
        }
        if runs && outcomes.is_empty() {
            return Ok(AttachReport::default());
        }
        let report = place::report(outcomes, |target| self.pid(target))?;
        self.attached.extend(attached);
        Ok(report)
    }

    /// Attaches a program to each of its places, for each target where that makes a difference.
    fn attach_prog(
        &self,
        loaded: &Loaded,
        (prog, spec): (&Prog, &ProgSpec),
        targets: &[TargetId],
        options: &AttachOptions,
        files: &Files,
    ) -> Vec<(Option<TargetId>, Result<Link, Error>)> {
        let object = &loaded.object;
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
                    loaded,
                    prog,
                    spec,
                    to,
                    pid: target.and_then(|t| self.pid(t)).unwrap_or(ALL_PROCESSES),
                    cookie: ForProg::find(&options.cookies, &spec.name).copied().unwrap_or(0),
                    method: ForProg::find(&options.methods, &spec.name)
                        .copied()
                        .unwrap_or_default(),
                    files,
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
            let sites = sites(spec, &link);
            let iterates = once::iterates(spec);
            attached.push(AttachedLink { prog: spec.name.clone(), link, iterates });
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
    matches!(to, AttachTarget::Iter { target } if target.starts_with("task"))
        || matches!(
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

/// Number of places of a program's link: only those of many functions have to be asked for it.
fn sites(spec: &ProgSpec, link: &Link) -> usize {
    let many = [
        AttachType::TRACE_KPROBE_MULTI,
        AttachType::TRACE_KPROBE_SESSION,
        AttachType::TRACE_UPROBE_MULTI,
        AttachType::TRACE_UPROBE_SESSION,
    ];
    let is_marker = matches!(spec.sec.target, AttachTarget::Usdt { .. });
    if !is_marker && !many.contains(&spec.sec.expected_attach_type) {
        return link.len();
    }
    let count = |details: &LinkDetails| match details {
        LinkDetails::KprobeMulti { funcs, .. } => funcs.len().max(1),
        LinkDetails::UprobeMulti { funcs, .. } => funcs.len().max(1),
        _ => 1,
    };
    link.infos().map_or(link.len(), |all| all.iter().map(|i| count(&i.details)).sum())
}

impl Wish<'_> {
    fn attach(&self) -> Result<Link, Error> {
        self.check()?;
        let iter = match self.to {
            AttachTarget::Iter { target } => self.iterated(target)?,
            _ => IterTarget::All,
        };
        let sampling = Sampling::Frequency(SAMPLES_PER_SECOND);
        let pid = u32::try_from(self.pid).ok();
        let opts = AutoOpts {
            target: Some(self.to.clone()),
            pid: self.pid,
            cookie: self.cookie,
            method: self.method,
            event: Some(PerfEventOpts { pid, ..PerfEventOpts::cpu_clock(sampling) }),
            iter,
            files: Some(self.files),
        };
        Ok(attach::auto(self.kernel, self.prog, &opts)?)
    }

    /// Refuses choices that a place does not have.
    fn check(&self) -> Result<(), Error> {
        let wrong = |reason| Err(Error::AttachSyntax { text: self.spec.name.clone(), reason });
        let is_single = matches!(
            self.to,
            AttachTarget::Kprobe { .. }
                | AttachTarget::Uprobe { .. }
                | AttachTarget::Ksyscall { .. }
        );
        if self.method != Method::Auto && !is_single {
            return wrong("an explicit method is for single kprobes, uprobes and system calls");
        }
        match self.to {
            _ if self.cookie == 0 => Ok(()),
            AttachTarget::KprobeMulti { pattern, .. }
            | AttachTarget::UprobeMulti { pattern, .. }
                if pattern.contains(['*', '?']) =>
            {
                wrong("a pattern takes no cookie")
            }
            AttachTarget::Iter { .. } => wrong("an iterator has no cookie"),
            _ => Ok(()),
        }
    }

    /// What an iterator goes over: one process's tasks; the elements of a map, `bpf_map_elem:MAP`; or everything.
    fn iterated(&self, target: &str) -> Result<IterTarget<'_>, Error> {
        if let Some((_, name)) = target.split_once(':') {
            let found = self.loaded.object.spec.map_idx(name);
            return match found.and_then(|index| self.loaded.maps().get(index)) {
                Some(map) => Ok(IterTarget::Map(map)),
                None => Err(Error::NoSuchMap {
                    object: self.loaded.object.path.clone(),
                    name: name.to_owned(),
                    known: self.loaded.object.spec.maps.iter().map(|m| m.name.clone()).collect(),
                }),
            };
        }
        Ok(u32::try_from(self.pid).map_or(IterTarget::All, IterTarget::Process))
    }
}
