//! The report: a finding with everything that is known about it.

use crate::Finding;
use crate::origin;
use crate::source;
use crate::suggest::{self, Case};
use serde::Serialize;
use stylet_catalog::Env;
use stylet_uapi::errno;
use stylet_verifier::{PathStep, ProgInput};

/// A place in the C source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// File name as the compiler recorded it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
    /// Text of the line.
    pub source: String,
}

/// One decision on the way to the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `taken`, `not taken`, `call` or `return`.
    pub what: &'static str,
    /// Slot of the instruction.
    pub insn_idx: u32,
    /// Its text.
    pub insn: String,
    /// For a call: name of the function; otherwise empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub callee: String,
    /// Its place in the source.
    #[serde(flatten)]
    pub at: Option<Location>,
}

/// An instruction that made the value at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Slot of the instruction.
    pub insn_idx: u32,
    /// Its text.
    pub insn: String,
    /// Its place in the source.
    #[serde(flatten)]
    pub at: Option<Location>,
}

/// Why a program was refused. The JSON field names are part of the interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the program.
    pub prog: String,
    /// Where it was to run: `Linux 6.12` or `the user backend`.
    pub target: String,
    /// What is wrong, in the kernel's words.
    pub reason: String,
    /// Name of the errno: `EACCES`.
    pub errno: String,
    /// Slot at which it was found.
    pub insn_idx: u32,
    /// The instruction's text; empty when no instruction is to blame.
    pub insn: String,
    /// Function that holds the instruction.
    pub function: String,
    /// `file`, `line`, `column` and `source`; absent without line information.
    #[serde(flatten)]
    pub at: Option<Location>,
    /// Decisions on the way, oldest first.
    pub path: Vec<Step>,
    /// How the value at fault was made, oldest first; empty when it is not known.
    pub origin: Vec<Origin>,
    /// What may help; absent when nothing specific is known.
    pub suggestion: Option<String>,
    /// The verifier's own text.
    pub log: String,
}

/// Joins a finding with the program's debug information and the target's facts.
pub fn explain(env: &Env, input: &ProgInput<'_>, finding: &Finding) -> Report {
    let target = env.btf.as_ref();
    let text = |idx| source::insn_text(input, target, idx);
    let step = |step: &PathStep| {
        let (what, insn_idx, callee) = match *step {
            PathStep::Branch { insn_idx, taken: true } => ("taken", insn_idx, None),
            PathStep::Branch { insn_idx, taken: false } => ("not taken", insn_idx, None),
            PathStep::Call { insn_idx, target } => ("call", insn_idx, Some(target)),
            PathStep::Return { insn_idx, .. } => ("return", insn_idx, None),
        };
        let callee = callee.map(|t| source::function(input, t)).unwrap_or_default();
        Step { what, insn_idx, insn: text(insn_idx), callee, at: source::location(input, insn_idx) }
    };
    Report {
        prog: input.name.to_string(),
        target: env.target().to_string(),
        reason: finding.message.clone(),
        errno: errno::name(finding.errno).map_or_else(|| finding.errno.to_string(), str::to_string),
        insn_idx: finding.insn_idx,
        insn: text(finding.insn_idx),
        function: source::function(input, finding.insn_idx),
        at: source::location(input, finding.insn_idx),
        path: finding.path.iter().map(step).collect(),
        origin: origin::origin(input, finding)
            .into_iter()
            .map(|idx| Origin { insn_idx: idx, insn: text(idx), at: source::location(input, idx) })
            .collect(),
        suggestion: suggest::suggest(&Case { env, input, finding }),
        log: finding.log.clone(),
    }
}
