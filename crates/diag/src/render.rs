//! The report as text.

use crate::report::{Location, Report, Step};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt::Write;
use std::ops::Range;

/// Steps shown of a long path: the last ones matter most.
const MAX_STEPS: usize = 12;

impl Report {
    /// The report as text of several lines, with ANSI colours when `color` is set.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let reason = self.reason.replace('\n', "; ");
        let title = format!("{reason} ({})", self.errno);
        let mut group = annotate_snippets::Group::with_title(Level::ERROR.primary_title(&title));
        let label = format!("insn {}: {}", self.insn_idx, self.insn);
        if let Some(at) = self.at.as_ref().filter(|at| !at.source.is_empty()) {
            let mark = AnnotationKind::Primary.span(span(at)).label(&label);
            let snippet = Snippet::source(at.source.as_str()).line_start(at.line as usize);
            group = group.element(snippet.path(at.file.as_str()).annotation(mark));
        }
        let place = match self.function == self.prog {
            true => format!("in {}, for {}", self.prog, self.target),
            false => format!("in {} of {}, for {}", self.function, self.prog, self.target),
        };
        group = group.element(Level::NOTE.message(&place));
        let has_source = self.at.as_ref().is_some_and(|at| !at.source.is_empty());
        if !has_source && !self.insn.is_empty() {
            group = group.element(Level::NOTE.message(&label));
        }
        let origin = self.origin_text();
        if !origin.is_empty() {
            group = group.element(Level::NOTE.message(&origin));
        }
        let path = self.path_text();
        if !path.is_empty() {
            group = group.element(Level::NOTE.message(&path));
        }
        if let Some(suggestion) = &self.suggestion {
            group = group.element(Level::HELP.message(suggestion));
        }
        renderer.render(&[group]).to_string()
    }

    /// How the value was made, a source line a line; empty when it is not known, or was made by the very line at fault.
    fn origin_text(&self) -> String {
        let place = |at: &Option<Location>| at.as_ref().map(|at| (at.file.clone(), at.line));
        let elsewhere = self.origin.iter().any(|o| place(&o.at) != place(&self.at));
        if self.origin.is_empty() || (!elsewhere && self.at.is_some()) {
            return String::new();
        }
        let mut text = String::from("where the value comes from:");
        for line in self.origin.chunk_by(|a, b| place(&a.at) == place(&b.at) && a.at.is_some()) {
            let insns: Vec<String> =
                line.iter().map(|o| format!("insn {}: {}", o.insn_idx, o.insn)).collect();
            let insns = insns.join("; ");
            let _ = match line.first().and_then(|o| o.at.as_ref()) {
                Some(at) if !at.source.is_empty() => {
                    write!(text, "\n{}:{}: {} [{insns}]", at.file, at.line, at.source.trim())
                }
                _ => write!(text, "\n{insns}"),
            };
        }
        text
    }

    /// The causal path, a step a line; empty when there is none.
    fn path_text(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        let skipped = self.path.len().saturating_sub(MAX_STEPS);
        let mut text = String::from("the path to it:");
        if skipped > 0 {
            let _ = write!(text, "\n({skipped} earlier steps)");
        }
        for step in &self.path[skipped..] {
            let _ = write!(text, "\n{}", step_text(step));
        }
        text
    }
}

fn step_text(step: &Step) -> String {
    let what = match step.what {
        "call" if !step.callee.is_empty() => format!("call of {}", step.callee),
        what => what.to_string(),
    };
    match &step.at {
        Some(at) if !at.source.is_empty() => {
            format!(
                "{}:{}: {} [insn {}: {what}]",
                at.file,
                at.line,
                at.source.trim(),
                step.insn_idx
            )
        }
        _ => format!("insn {}: {} [{what}]", step.insn_idx, step.insn),
    }
}

/// Bytes of the line to underline: the word at the column, or all of the line's text.
fn span(at: &Location) -> Range<usize> {
    let source = at.source.as_str();
    let start = (at.column as usize).wrapping_sub(1);
    if at.column == 0 || start >= source.len() || !source.is_char_boundary(start) {
        let first = source.len() - source.trim_start().len();
        return first..source.len();
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word: usize = source[start..].chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum();
    let one = source[start..].chars().next().map_or(0, char::len_utf8);
    start..start + word.max(one)
}
