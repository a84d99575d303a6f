//! Would a kernel accept an object's programs? Each program is fitted to a [`Place`] and verified by its rules, alone, as if it
//! were the only one that is loaded.

mod attach;
mod place;

use place::Misfit;
pub use place::{Lender, Place, read_btf};

use crate::Object;
use crate::prepare::{self, Infos};
use std::time::{Duration, Instant};
use stylet_diag::{Finding, Report};
use stylet_object::{MapSpec, ProgSpec, Spec};
use stylet_verifier::{MapDef, Rejection, RejectionKind, Stats, VerifiedProg, verify};

/// What came of a program.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Accepted.
    Accepted(Box<VerifiedProg>),
    /// The verifier refuses it.
    Rejected {
        /// Why.
        rejection: Box<Rejection>,
        /// The same for people.
        report: Box<Report>,
    },
    /// It can not be loaded: the object asks for something that the place does not have.
    Unfit {
        /// What, as libbpf would say.
        reason: String,
    },
    /// This verifier cannot tell.
    Unknown {
        /// What it does not know.
        what: String,
    },
}

/// A program at a place.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Name of the program.
    pub prog: String,
    /// Its section.
    pub section: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What the verdict hangs on and the place does not tell; empty when it is sure.
    pub depends: Vec<String>,
    /// What the walk cost.
    pub stats: Stats,
    /// Time in the verifier.
    pub duration: Duration,
}

impl Verdict {
    /// Whether the program is accepted.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Verdict::Accepted(_))
    }
}

/// Fits the program number `index` of an object to `place` and verifies it; `None` without such a program. `log_level` is that of the verifier: 0
/// the message, 1 the path to it, 2 every path.
pub fn check(object: &Object, index: usize, place: &Place, log_level: u32) -> Option<Checked> {
    let prog = object.spec.progs.get(index)?;
    let mut alone = Spec { progs: Vec::new(), ..object.spec.clone() };
    alone.progs = vec![ProgSpec { autoload: true, ..prog.clone() }];
    alone.maps.iter_mut().for_each(|map: &mut MapSpec| prepare::adjust(map, place.cpus()));
    let mut checked = judge(&alone, place, log_level, false)?;
    if matches!(checked.verdict, Verdict::Unknown { .. })
        && checked.depends.is_empty()
        && place.borrowing_env().is_some()
    {
        let again = judge(&alone, place, log_level, true)?;
        if !matches!(again.verdict, Verdict::Unknown { .. }) {
            checked = again;
        }
    }
    near_a_limit(&mut checked, place);
    Some(checked)
}

/// Fits and verifies the only program of `alone`.
fn judge(alone: &Spec, place: &Place, log_level: u32, borrow: bool) -> Option<Checked> {
    let prog = alone.progs.first()?;
    let mut checked = Checked {
        prog: prog.name.clone(),
        section: prog.section.clone(),
        verdict: Verdict::Unknown { what: String::new() },
        depends: Vec::new(),
        stats: Stats::default(),
        duration: Duration::ZERO,
    };
    let fitted = match place.fit(alone, borrow) {
        Ok(fitted) => fitted,
        Err(misfit) => {
            let target = place.env().target();
            checked.verdict = match misfit {
                Misfit::Missing(reason) => Verdict::Unfit { reason },
                Misfit::NoTypes => {
                    let what = format!("the types of {target}, which CO-RE needs");
                    Verdict::Unknown { what }
                }
            };
            return Some(checked);
        }
    };
    let borrowing = fitted.borrowed.then(|| place.borrowing_env()).flatten();
    let env = borrowing.unwrap_or(place.env());
    if borrowing.is_some() {
        checked.depends.push(format!(
            "types: those of {} are not known, this machine's were taken",
            env.target()
        ));
    }
    let prog = fitted.spec.progs.first()?;
    let maps: Vec<MapDef> = fitted.spec.maps.iter().map(prepare::map_def).collect();
    let infos = Infos::new(prog);
    let mut input = infos.input(&fitted.spec, prog, &maps, log_level);
    match attach::btf_id(env, &prog.sec) {
        Ok(id) => input.attach_btf_id = id,
        Err(reason) => {
            checked.verdict = Verdict::Unfit { reason };
            return Some(checked);
        }
    }
    let start = Instant::now();
    let result = verify(env, &input);
    checked.duration = start.elapsed();
    (checked.verdict, checked.stats) = match result {
        Ok(verified) => {
            let stats = verified.stats();
            (Verdict::Accepted(Box::new(verified)), stats)
        }
        Err(rejection) => {
            let stats = *rejection.stats;
            let verdict = match rejection.kind {
                RejectionKind::NotSupportedYet { what } => Verdict::Unknown { what },
                _ => {
                    let report = stylet_diag::explain(env, &input, &Finding::from(&rejection));
                    Verdict::Rejected { rejection: Box::new(rejection), report: Box::new(report) }
                }
            };
            (verdict, stats)
        }
    };
    Some(checked)
}

/// The walk follows one release's pruning: near the limit of instructions another one's may end on the other side.
fn near_a_limit(checked: &mut Checked, place: &Place) {
    let limit = u64::from(place.env().limits.complexity_limit_insns);
    let exact = place.env().release() == stylet_catalog::Env::USER_RULES;
    let near = match &checked.verdict {
        Verdict::Accepted(_) => checked.stats.insn_processed > limit / 2,
        Verdict::Rejected { rejection, .. } => {
            matches!(
                rejection.kind,
                RejectionKind::TooLarge { .. } | RejectionKind::TooManyJumps { .. }
            )
        }
        _ => false,
    };
    if near && !exact {
        let processed = checked.stats.insn_processed;
        checked.depends.push(format!(
            "complexity: {processed} of {limit} instructions processed, and releases prune differently"
        ));
    }
}
