//! Where programs go, by their sections and by overrides; and what became of it.

use super::{AttachReport, Attached, Override, TargetId};
use crate::{Error, Object};
use stylet_object::{AttachTarget, ProgSpec, SecSpec, SlotValue};

/// Outcome for a program in a process: number of sites, and what stands in the way of others.
pub(crate) struct Outcome {
    pub target: Option<TargetId>,
    /// Number of the object.
    pub object: usize,
    pub prog: String,
    pub sites: usize,
    pub errors: Vec<Error>,
}

/// Refuses overrides of programs that no object has, and those for all programs where every section names its place.
pub(crate) fn check_overrides<'a>(
    overrides: &[Override],
    objects: impl Iterator<Item = &'a Object> + Clone,
) -> Result<(), Error> {
    let progs = || objects.clone().flat_map(Object::autoload_progs);
    let open = progs().any(|spec| spec.sec.target == AttachTarget::None);
    if let Some(unused) = overrides.iter().find(|o| o.prog.is_none() && !open) {
        return Err(Error::AttachSyntax {
            text: unused.to.clone(),
            reason: "every program's section names its function: say which one is meant, PROG=PATH:FUNC",
        });
    }
    for name in overrides.iter().filter_map(|o| o.prog.as_ref()) {
        if !progs().any(|spec| spec.name == *name) {
            return Err(Error::NoSuchProg {
                object: objects.clone().next().map(|o| o.path.clone()).unwrap_or_default(),
                name: name.clone(),
                known: progs().map(|spec| spec.name.clone()).collect(),
            });
        }
    }
    Ok(())
}

/// Where a program is to go: by overrides, or by its section.
pub(crate) fn wanted(
    object: &Object,
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
            object: object.path.clone(),
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

/// Whether a program (by its index in the object) is there for tail calls: it names no function, and a program array of the
/// object holds it.
pub(crate) fn only_tail_called(object: &Object, prog: usize, overrides: &[Override]) -> bool {
    let Some(spec) = object.spec.progs.get(prog) else { return false };
    let called = SlotValue::Prog(prog as u32);
    spec.sec.target == AttachTarget::None
        && !overrides.iter().any(|o| o.prog.as_ref() == Some(&spec.name))
        && object.spec.maps.iter().any(|m| m.values.iter().any(|(_, v)| *v == called))
}

/// Adds the result of one attachment (its sites) to that of its program in that process.
pub(crate) fn merge(
    outcomes: &mut Vec<Outcome>,
    target: Option<TargetId>,
    (object, prog): (usize, &str),
    result: Result<usize, Error>,
) {
    let same = |o: &Outcome| o.target == target && o.object == object && o.prog == prog;
    let index = outcomes.iter().position(same).unwrap_or_else(|| {
        let prog = prog.to_owned();
        outcomes.push(Outcome { target, object, prog, sites: 0, errors: Vec::new() });
        outcomes.len() - 1
    });
    match result {
        Ok(sites) => outcomes[index].sites += sites,
        Err(error) => outcomes[index].errors.push(error),
    }
}

/// Errors of programs that are attached somewhere become warnings. `pid` tells the process of a target.
pub(crate) fn report(
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
            let of = target.map(|t| format!("process {}: ", pid(t).unwrap_or(0)));
            report.warnings.push(format!("{}{error}", of.unwrap_or_default()));
        }
        if sites > 0 {
            report.attached.push(Attached { target, object, prog, sites });
        }
    }
    if report.attached.is_empty() {
        return Err(Error::NothingAttached {
            what: "the objects have no program to attach".into(),
        });
    }
    Ok(report)
}
