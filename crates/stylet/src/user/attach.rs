//! Programs to functions of processes.

use super::load::Loaded;
use super::target::at;
use super::usdt::Records;
use super::{LoadedProg, Session, place as code};
use crate::Error;
use crate::session::place::{self, Outcome};
use crate::session::{AttachOptions, AttachReport, ForProg, Override, TargetId};
use stylet_inject::symbols::{Place, Symbolic};
use stylet_inject::{Kind, ProbeSpec, ProgRef, Resolved, WindowId};
use stylet_object::{AttachTarget, ProgSpec};
use stylet_runtime::host::Arena;
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
        options.overrides.iter().try_for_each(Override::check_place)?;
        if !options.methods.is_empty() {
            return Err(Error::Unsupported {
                object: self.objects.first().map(|o| o.object.path.clone()).unwrap_or_default(),
                what: "a choice of methods to attach".into(),
                advice: "it needs --backend kernel",
            });
        }
        place::check_overrides(&options.overrides, self.objects.iter().map(Loaded::object))?;
        let mut outcomes = Vec::new();
        for &target in targets {
            self.attach_target(target, options, &mut outcomes)?;
        }
        place::report(outcomes, |target| self.pid(target))
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
                if place::only_tail_called(&loaded.object, code.spec, &options.overrides) {
                    continue;
                }
                let window = state.window;
                let cookie = ForProg::find(&options.cookies, &spec.name).copied().unwrap_or(0);
                let place = Placing { arena: &self.arena, usdt: &mut self.usdt, window, cookie };
                match sites(target, (object, loaded), (code, spec), place, options) {
                    Ok(specs) => wishes.extend(specs.into_iter().map(|(place, probe)| Wish {
                        object,
                        name: spec.name.clone(),
                        place,
                        spec: probe,
                    })),
                    Err(error) => {
                        place::merge(outcomes, Some(id), (object, &spec.name), Err(error))
                    }
                }
            }
        }
        let specs: Vec<ProbeSpec> = wishes.iter().map(|w| w.spec.clone()).collect();
        let results = target.attach_probes(&specs).map_err(at(""))?;
        for (wish, result) in wishes.into_iter().zip(results) {
            let context = format!("program '{}'{}: ", wish.name, wish.place);
            let result = result.map(|_| 1).map_err(at(&context));
            place::merge(outcomes, Some(id), (wish.object, &wish.name), result);
        }
        Ok(())
    }
}

/// What a program needs to be put somewhere.
struct Placing<'s> {
    arena: &'s Arena,
    usdt: &'s mut Records,
    window: WindowId,
    /// The user's number for it.
    cookie: u64,
}

/// The sites of one program in one process.
fn sites(
    target: &mut stylet_inject::Target,
    loaded: (usize, &Loaded),
    prog: (&LoadedProg, &ProgSpec),
    mut place: Placing<'_>,
    options: &AttachOptions,
) -> Result<Vec<(String, ProbeSpec)>, Error> {
    let mut all = Vec::new();
    for to in place::wanted(&loaded.1.object, prog.1, &options.overrides)? {
        all.extend(match &to {
            AttachTarget::Usdt { path, provider, name } => {
                let marker = [path.as_str(), provider, name];
                marker_sites(target, loaded, prog, &mut place, marker)?
            }
            to => sites_of(target, loaded.1, prog, &place, to)?,
        });
    }
    Ok(all)
}

/// The places of a USDT marker (path, provider, name).
fn marker_sites(
    target: &mut stylet_inject::Target,
    loaded: (usize, &Loaded),
    (prog, spec): (&LoadedProg, &ProgSpec),
    place: &mut Placing<'_>,
    [path, provider, name]: [&str; 3],
) -> Result<Vec<(String, ProbeSpec)>, Error> {
    let context = format!("program '{}': ", spec.name);
    let found = target.marker(path, provider, name).map_err(at(&context))?;
    let reference = prog_ref(loaded.1, prog, place.window);
    let mut all = Vec::new();
    for marker in found {
        let id = place.usdt.add(place.arena, loaded, spec, &marker.args, place.cookie)?;
        let reference = ProgRef { cookie: id.into(), ..reference };
        let probe = ProbeSpec {
            kind: Kind::Offset,
            counter: marker.semaphore,
            ..probe(&marker.site, reference, Runs::Call)
        };
        all.push((format!(" at {provider}:{name}"), probe));
    }
    Ok(all)
}

/// The sites of one attach target.
fn sites_of(
    target: &mut stylet_inject::Target,
    loaded: &Loaded,
    (prog, spec): (&LoadedProg, &ProgSpec),
    place: &Placing<'_>,
    to: &AttachTarget,
) -> Result<Vec<(String, ProbeSpec)>, Error> {
    let reference = ProgRef { cookie: place.cookie, ..prog_ref(loaded, prog, place.window) };
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
    ProbeSpec {
        site: site.site,
        kind,
        prog,
        func_ip: site.site,
        func: site.func.clone(),
        counter: None,
    }
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
        needs_slot: code::needs_slot(&prog.verified, &loaded.object.spec.maps),
        can_override: facts.helpers.contains(&HelperId::OVERRIDE_RETURN.0),
        reads_cookie: calls(HelperId::GET_ATTACH_COOKIE),
        reads_func_ip: calls(HelperId::GET_FUNC_IP),
        cookie: 0,
        prog: prog.id,
    }
}
