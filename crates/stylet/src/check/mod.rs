//! Would a kernel accept an object's programs? Each program is fitted to a [`Place`] and verified by its rules, alone, as if it
//! were the only one that is loaded.

mod attach;
mod place;

pub use place::Place;

use crate::Object;
use crate::prepare::{self, Infos};
use std::time::{Duration, Instant};
use stylet_diag::{Finding, Report};
use stylet_object::{MapSpec, ProgSpec, Spec};
use stylet_verifier::{MapDef, Rejection, RejectionKind, VerifiedProg, verify};

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
    /// Time in the verifier.
    pub duration: Duration,
}

impl Verdict {
    /// Whether the program is accepted.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Verdict::Accepted(_))
    }
}

/// Fits the program number `index` of an object to `place` and verifies it. `log_level` is that of the verifier: 0 the message,
/// 1 the path to it, 2 every path.
pub fn check(object: &Object, index: usize, place: &Place, log_level: u32) -> Option<Checked> {
    let prog = object.spec.progs.get(index)?;
    let mut checked = Checked {
        prog: prog.name.clone(),
        section: prog.section.clone(),
        verdict: Verdict::Unknown { what: String::new() },
        depends: Vec::new(),
        duration: Duration::ZERO,
    };
    let fitted = match fit(object, prog, place) {
        Ok(fitted) => fitted,
        Err(reason) => {
            checked.verdict = Verdict::Unfit { reason };
            return Some(checked);
        }
    };
    let prog = fitted.progs.first()?;
    let maps: Vec<MapDef> = fitted.maps.iter().map(prepare::map_def).collect();
    let infos = Infos::new(prog);
    let mut input = infos.input(&fitted, prog, &maps, log_level);
    match attach::btf_id(place.env(), &prog.sec) {
        Ok(id) => input.attach_btf_id = id,
        Err(reason) => {
            checked.verdict = Verdict::Unfit { reason };
            return Some(checked);
        }
    }
    let start = Instant::now();
    let result = verify(place.env(), &input);
    checked.duration = start.elapsed();
    checked.verdict = match result {
        Ok(verified) => Verdict::Accepted(Box::new(verified)),
        Err(rejection) => match rejection.kind {
            RejectionKind::NotSupportedYet { what } => Verdict::Unknown { what },
            _ => {
                let finding = Finding::from(&rejection);
                let report = stylet_diag::explain(place.env(), &input, &finding);
                Verdict::Rejected { rejection: Box::new(rejection), report: Box::new(report) }
            }
        },
    };
    Some(checked)
}

/// The object with one program, relocated.
fn fit(object: &Object, prog: &ProgSpec, place: &Place) -> Result<Spec, String> {
    let mut alone = Spec { progs: Vec::new(), ..object.spec.clone() };
    alone.progs = vec![ProgSpec { autoload: true, ..prog.clone() }];
    alone.maps.iter_mut().for_each(|map: &mut MapSpec| prepare::adjust(map, place.cpus()));
    place.relocate(&alone).map_err(|error| error.to_string())
}
