//! What may help, by the kernel's message.

mod calls;
mod control;
mod memory;
mod values;

use crate::Finding;
use crate::source;
use stylet_catalog::Env;
use stylet_insn::Insn;
use stylet_verifier::ProgInput;

/// What a rule may look at.
pub(crate) struct Case<'a> {
    pub env: &'a Env,
    pub input: &'a ProgInput<'a>,
    pub finding: &'a Finding,
}

/// A rule applies when the message holds every one of the texts; `None` passes to the next rule.
pub(crate) type Rule = (&'static [&'static str], fn(&Case<'_>) -> Option<String>);

/// The first rule's text that fits, `None` when nothing specific is known.
pub(crate) fn suggest(case: &Case<'_>) -> Option<String> {
    let message = case.finding.message.as_str();
    let groups = [calls::RULES, memory::RULES, values::RULES, control::RULES];
    let mut fitting =
        groups.into_iter().flatten().filter(|(texts, _)| texts.iter().all(|t| message.contains(t)));
    fitting.find_map(|(_, text)| text(case))
}

impl Case<'_> {
    fn message(&self) -> &str {
        &self.finding.message
    }

    fn insn(&self) -> Option<&Insn> {
        self.input.insns.get(self.finding.insn_idx as usize)
    }

    /// The first register that the message names: `R3`.
    fn reg(&self) -> Option<&str> {
        self.message().split(|c: char| !c.is_ascii_alphanumeric()).find(|w| is_reg(w))
    }

    /// The register's name, or a word for it.
    fn reg_or_value(&self) -> &str {
        self.reg().unwrap_or("the value")
    }

    /// The number after `key` in the message: `value_size=` gives 8 for `value_size=8 off=…`.
    fn number(&self, key: &str) -> Option<i64> {
        let rest = &self.message()[self.message().find(key)? + key.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..end].parse().ok()
    }

    /// `file:line` of a slot, or the slot itself.
    fn place(&self, insn_idx: u32) -> String {
        match source::location(self.input, insn_idx) {
            Some(at) => format!("{}:{}", at.file, at.line),
            None => format!("insn {insn_idx}"),
        }
    }
}

fn is_reg(word: &str) -> bool {
    let digits = word.strip_prefix('R').unwrap_or("");
    !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
}
