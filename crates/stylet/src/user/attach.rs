//! Programs to functions of processes.

use super::load::Loaded;
use super::target::at;
use super::{LoadedProg, Session, place};
use crate::Error;
use crate::session::{AttachOptions, AttachReport, Attached, ForProg, Override, TargetId};
use stylet_inject::symbols::{Place, Symbolic};
use stylet_inject::{Kind, ProbeSpec, ProgRef, Resolved, WindowId};
use stylet_object::{AttachTarget, ProgSpec, SecSpec, SlotValue};
use stylet_uapi::HelperId;

/// One wish: a program at a site.
struct Wish {
    object: usize,
    /// The program.
    name: String,
    /// ` at FUNCTION` where a pattern chose it, or empty.
    place: String,
    spec: ProbeSpec,
}

/// Outcome for a program in a process: number of sites, and what stands in the way of others.
struct Outcome {
    target: TargetId,
    object: usize,
    prog: String,
    sites: usize,
    errors: Vec<Error>,
}

impl Session {
    /// Attaches every loaded program to every target that has its function. A program that can be attached nowhere is an
    /// error; one that can be attached in some targets only is a warning for the others.
    ///
    /// # Errors
    /// [`Error::NoSuchProg`] for an override of an unknown program, [`Error::Inject`], [`Error::NothingAttached`].
    pub fn attach_all(
        &mut self,
        targets: &[TargetId],
        options: &AttachOptions,
    ) -> Result<AttachReport, Error> {
        self.check_overrides(&options.overrides)?;
        let mut outcomes = Vec::new();
        for &target in targets {
            self.attach_target(target, options, &mut outcomes)?;
        }
        report(outcomes, |target| self.pid(target))
    }

    fn check_overrides(&self, overrides: &[Override]) -> Result<(), Error> {
        overrides.iter().try_for_each(Override::check_place)?;
        let mut progs = self.objects.iter().flat_map(Loaded::progs);
        let open = progs.any(|(_, spec)| spec.sec.target == AttachTarget::None);
        if let Some(unused) = overrides.iter().find(|o| o.prog.is_none() && !open) {
            return Err(Error::AttachSyntax {
                text: unused.to.clone(),
                reason: "every program's section names its function: say which one is meant, PROG=PATH:FUNC",
            });
        }
        for name in overrides.iter().filter_map(|o| o.prog.as_ref()) {
            let known = |o: &Loaded| o.progs().any(|(_, spec)| spec.name == *name);
            if !self.objects.iter().any(known) {
                let progs = self.objects.iter().flat_map(|o| o.progs());
                return Err(Error::NoSuchProg {
                    object: self.objects.first().map(|o| o.object.path.clone()).unwrap_or_default(),
                    name: name.clone(),
                    known: progs.map(|(_, spec)| spec.name.clone()).collect(),
                });
            }
        }
        Ok(())
    }

    /// Attaches everything to one target with one stop of its threads.
    fn attach_target(
        &mut self,
        id: TargetId,
        options: &AttachOptions,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Error> {
        let state = &mut self.targets[id.0];
        let Some(target) = state.target.as_mut() else { return Ok(()) };
        let mut wishes = Vec::new();
        for (object, loaded) in self.objects.iter().enumerate() {
            for (code, spec) in loaded.progs() {
                if only_tail_called(loaded, code, spec, &options.overrides) {
                    continue;
                }
                let window = state.window;
                match sites(target, loaded, (code, spec), window, options) {
                    Ok(specs) => wishes.extend(specs.into_iter().map(|(place, probe)| Wish {
                        object,
                        name: spec.name.clone(),
                        place,
                        spec: probe,
                    })),
                    Err(error) => outcomes.push(Outcome {
                        target: id,
                        object,
                        prog: spec.name.clone(),
                        sites: 0,
                        errors: vec![error],
                    }),
                }
            }
        }
        let specs: Vec<ProbeSpec> = wishes.iter().map(|w| w.spec.clone()).collect();
        let results = target.attach_probes(&specs).map_err(at(""))?;
        for (wish, result) in wishes.into_iter().zip(results) {
            let context = format!("program '{}'{}: ", wish.name, wish.place);
            merge(outcomes, id, &wish, result.map(|_| ()).map_err(at(&context)));
        }
        Ok(())
    }
}

/// Adds the result of one site to that of its program in that process.
fn merge(outcomes: &mut Vec<Outcome>, target: TargetId, wish: &Wish, result: Result<(), Error>) {
    let same = |o: &Outcome| o.target == target && o.object == wish.object && o.prog == wish.name;
    let index = outcomes.iter().position(same).unwrap_or_else(|| {
        let (object, prog) = (wish.object, wish.name.clone());
        outcomes.push(Outcome { target, object, prog, sites: 0, errors: Vec::new() });
        outcomes.len() - 1
    });
    match result {
        Ok(()) => outcomes[index].sites += 1,
        Err(error) => outcomes[index].errors.push(error),
    }
}

/// Errors of programs that are attached somewhere become warnings. `pid` tells the process of a target.
fn report(
    outcomes: Vec<Outcome>,
    pid: impl Fn(TargetId) -> Option<i32>,
) -> Result<AttachReport, Error> {
    let works: Vec<(usize, String)> =
        outcomes.iter().filter(|o| o.sites > 0).map(|o| (o.object, o.prog.clone())).collect();
    let mut report = AttachReport::default();
    for Outcome { target, object, prog, sites, errors } in outcomes {
        for error in errors {
            if !works.iter().any(|(o, p)| *o == object && *p == prog) {
                return Err(error);
            }
            report.warnings.push(format!("process {}: {error}", pid(target).unwrap_or(0)));
        }
        if sites > 0 {
            report.attached.push(Attached { target: Some(target), object, prog, sites });
        }
    }
    if report.attached.is_empty() {
        return Err(Error::NothingAttached {
            what: "the objects have no program to attach".into(),
        });
    }
    Ok(report)
}

/// The sites of one program in one process.
fn sites(
    target: &mut stylet_inject::Target,
    loaded: &Loaded,
    prog: (&LoadedProg, &ProgSpec),
    window: WindowId,
    options: &AttachOptions,
) -> Result<Vec<(String, ProbeSpec)>, Error> {
    let mut all = Vec::new();
    for to in wanted(loaded, prog.1, &options.overrides)? {
        all.extend(sites_of(target, loaded, prog, window, &to)?);
    }
    if let Some(&cookie) = ForProg::find(&options.cookies, &prog.1.name) {
        all.iter_mut().for_each(|(_, probe)| probe.prog.cookie = cookie);
    }
    Ok(all)
}

/// The sites of one attach target.
fn sites_of(
    target: &mut stylet_inject::Target,
    loaded: &Loaded,
    (prog, spec): (&LoadedProg, &ProgSpec),
    window: WindowId,
    to: &AttachTarget,
) -> Result<Vec<(String, ProbeSpec)>, Error> {
    let reference = prog_ref(loaded, prog, window);
    let context = format!("program '{}': ", spec.name);
    let unsupported = |what: String, advice| {
        Err(Error::Unsupported {
            object: loaded.object.path.clone(),
            what: format!("program '{}': {what}", spec.name),
            advice,
        })
    };
    match to {
        AttachTarget::Uprobe { path, func, offset, ret } => {
            let what = symbolic(path, func, *offset);
            let site = target.resolve(&what).map_err(at(&context))?;
            Ok(vec![(String::new(), probe(&site, reference, Runs::of(*ret, false)))])
        }
        AttachTarget::UprobeMulti { path, pattern, ret, session } => {
            let runs = Runs::of(*ret, *session);
            if pattern.starts_with("0x") || pattern.parse::<u64>().is_ok() {
                let site = target.resolve(&symbolic(path, pattern, 0)).map_err(at(&context))?;
                return Ok(vec![(String::new(), probe(&site, reference, runs))]);
            }
            let found = target.functions(path, pattern).map_err(at(&context))?;
            if found.is_empty() {
                let what = format!("{context}no function of {path} matches '{pattern}'");
                return Err(Error::NothingAttached { what });
            }
            let place = |name: &Option<String>| {
                name.as_ref().map(|name| format!(" at {name}")).unwrap_or_default()
            };
            Ok(found.iter().map(|s| (place(&s.name), probe(s, reference, runs))).collect())
        }
        AttachTarget::Usdt { provider, name, .. } => {
            unsupported(format!("the USDT marker {provider}:{name}"), "use --backend kernel")
        }
        AttachTarget::Ksyscall { name, .. } => {
            unsupported(format!("the system call {name}"), "use --backend kernel")
        }
        AttachTarget::Kprobe { func, .. } => unsupported(
            format!("a probe of the kernel function '{func}'"),
            "only --backend kernel can probe kernel functions",
        ),
        AttachTarget::KprobeMulti { pattern, .. } => unsupported(
            format!("probes of kernel functions '{pattern}'"),
            "only --backend kernel can probe kernel functions",
        ),
        _ => unsupported(format!("SEC(\"{}\")", spec.section), "it needs --backend kernel"),
    }
}

/// The function or file offset that a section names: `0x1234`, or `+0x1234` as after a function; functions' names never
/// begin with a digit.
fn symbolic(path: &str, func: &str, offset: u64) -> Symbolic {
    let number = match func.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if func.is_empty() => Some(0),
        None => func.parse().ok(),
    };
    let place = match number {
        Some(start) => Place::FileOffset(start.saturating_add(offset)),
        None => Place::Function { name: func.to_owned(), offset },
    };
    Symbolic { path: path.to_owned(), place }
}

/// When a program runs.
#[derive(Clone, Copy)]
enum Runs {
    Call,
    Return,
    Both,
}

impl Runs {
    fn of(ret: bool, session: bool) -> Runs {
        match (ret, session) {
            (_, true) => Runs::Both,
            (true, _) => Runs::Return,
            _ => Runs::Call,
        }
    }
}

fn probe(site: &Resolved, prog: ProgRef, runs: Runs) -> ProbeSpec {
    let kind = match runs {
        Runs::Return => Kind::Return,
        Runs::Both => Kind::Session,
        Runs::Call if site.site == site.func_ip => Kind::Entry,
        Runs::Call => Kind::Offset,
    };
    // The kernel gives the address of the breakpoint (bpf_get_func_ip_kprobe, kernel/trace/bpf_trace.c).
    ProbeSpec { site: site.site, kind, prog, func_ip: site.site, func: site.func.clone() }
}

/// Where a program is to go: by overrides, or by its section.
fn wanted(
    loaded: &Loaded,
    spec: &ProgSpec,
    overrides: &[Override],
) -> Result<Vec<AttachTarget>, Error> {
    let open = spec.sec.target == AttachTarget::None;
    let named = |o: &&Override| o.prog.as_ref() == Some(&spec.name);
    let by_kind = |o: &&Override| o.prog.is_none() && open;
    let mut chosen: Vec<&Override> = overrides.iter().filter(named).collect();
    if chosen.is_empty() {
        chosen = overrides.iter().filter(by_kind).collect();
    }
    if !chosen.is_empty() {
        return chosen.into_iter().map(|o| overridden(spec, o)).collect();
    }
    match &spec.sec.target {
        AttachTarget::None => Err(Error::NoTarget {
            object: loaded.object.path.clone(),
            prog: spec.name.clone(),
            section: spec.section.clone(),
        }),
        AttachTarget::Invalid { reason } => {
            Err(Error::AttachSyntax { text: spec.section.clone(), reason })
        }
        target => Ok(vec![target.clone()]),
    }
}

/// What the section would say with the override's target in it.
fn overridden(spec: &ProgSpec, chosen: &Override) -> Result<AttachTarget, Error> {
    let kind = spec.section.split('/').next().unwrap_or_default();
    // A bare offset is one in the file, which return probes take as well.
    let section = format!("{kind}/{}", chosen.to.replacen(":+", ":", 1));
    match SecSpec::parse(&section).map(|s| s.target) {
        Some(AttachTarget::Invalid { reason }) => {
            Err(Error::AttachSyntax { text: chosen.to.clone(), reason })
        }
        target => Ok(target.unwrap_or_default()),
    }
}

/// Whether a program is there for tail calls: it names no function, and a program array of the object holds it.
fn only_tail_called(
    loaded: &Loaded,
    prog: &LoadedProg,
    spec: &ProgSpec,
    overrides: &[Override],
) -> bool {
    let called = SlotValue::Prog(prog.spec as u32);
    spec.sec.target == AttachTarget::None
        && !overrides.iter().any(|o| o.prog.as_ref() == Some(&spec.name))
        && loaded.object.spec.maps.iter().any(|m| m.values.iter().any(|(_, v)| *v == called))
}

fn prog_ref(loaded: &Loaded, prog: &LoadedProg, window: WindowId) -> ProgRef {
    let facts = prog.verified.facts();
    // What a tail call goes to has its own needs, which are not known here.
    let calls = |id: HelperId| {
        facts.helpers.contains(&id.0) || facts.helpers.contains(&HelperId::TAIL_CALL.0)
    };
    ProgRef {
        window,
        code_off: prog.code_off,
        ctx_read: facts.ctx_read as u32,
        ctx_escapes: facts.ctx_escapes,
        uses_run_ctx: prog.code.uses_run_ctx,
        has_calls: prog.code.has_calls,
        xmm_used: stylet_agent_image::XMM_USED,
        needs_slot: place::needs_slot(&prog.verified, &loaded.object.spec.maps),
        can_override: facts.helpers.contains(&HelperId::OVERRIDE_RETURN.0),
        reads_cookie: calls(HelperId::GET_ATTACH_COOKIE),
        reads_func_ip: calls(HelperId::GET_FUNC_IP),
        cookie: 0,
        prog: prog.id,
    }
}
