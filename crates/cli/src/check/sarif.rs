//! SARIF 2.1.0: a result for each cause, at its C source line.

use super::places::Column;
use super::{Row, Word, reason};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use stylet::check::{Checked, Verdict};
use stylet_diag::{Location, Report, Step};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The whole log file.
pub fn render(rows: &[Row], columns: &[Column]) -> String {
    let mut rules: BTreeMap<String, Value> = BTreeMap::new();
    let mut results = Vec::new();
    for row in rows {
        for (labels, cell) in causes(row, columns) {
            let rule = rule(cell);
            let text = json!({ "text": title(&rule) });
            rules
                .entry(rule.clone())
                .or_insert_with(|| json!({ "id": rule, "shortDescription": text }));
            results.push(result(row, &labels, cell, &rule));
        }
    }
    let driver = json!({
        "name": "stylet",
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "informationUri": env!("CARGO_PKG_REPOSITORY"),
        "rules": rules.into_values().collect::<Vec<_>>(),
    });
    let run = json!({
        "tool": { "driver": driver },
        "columnKind": "unicodeCodePoints",
        "results": results,
    });
    let log = json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] });
    format!("{log:#}\n")
}

/// The cells that are not `ok`; those with the same cause at the same place once, with all their kernels.
fn causes<'a>(row: &'a Row, columns: &[Column]) -> Vec<(Vec<String>, &'a Checked)> {
    let mut causes: Vec<(Vec<String>, &Checked)> = Vec::new();
    for (column, cell) in columns.iter().zip(&row.cells).filter(|(_, c)| Word::of(c) != Word::Ok) {
        let same = |other: &Checked| {
            Word::of(other) == Word::of(cell)
                && reason(other) == reason(cell)
                && at(other) == at(cell)
        };
        match causes.iter_mut().find(|(_, other)| same(other)) {
            Some((labels, _)) => labels.push(column.label.clone()),
            None => causes.push((vec![column.label.clone()], cell)),
        }
    }
    causes
}

fn report(cell: &Checked) -> Option<&Report> {
    match &cell.verdict {
        Verdict::Rejected { report, .. } => Some(report),
        _ => None,
    }
}

fn at(cell: &Checked) -> Option<&Location> {
    report(cell)?.at.as_ref()
}

/// `InvalidMemAccess` as `invalid-mem-access`; own names for what is no rejection.
fn rule(cell: &Checked) -> String {
    let kind = match &cell.verdict {
        Verdict::Rejected { rejection, .. } => format!("{:?}", rejection.kind),
        Verdict::Accepted(_) => "Depends".into(),
        Verdict::Unfit { .. } => "NotThere".into(),
        Verdict::Unknown { .. } => "Unknown".into(),
    };
    let mut id = String::new();
    for c in kind.chars().take_while(|c| c.is_alphanumeric()) {
        if c.is_uppercase() && !id.is_empty() {
            id.push('-');
        }
        id.push(c.to_ascii_lowercase());
    }
    id
}

fn title(rule: &str) -> String {
    match rule {
        "depends" => "The verdict depends on what is not known".into(),
        "not-there" => "The kernel lacks what the program asks for".into(),
        "unknown" => "This verifier cannot tell".into(),
        _ => format!("The verifier refuses the program: {}", rule.replace('-', " ")),
    }
}

fn result(row: &Row, labels: &[String], cell: &Checked, rule: &str) -> Value {
    let word = Word::of(cell);
    let level = match word {
        Word::Fail => "error",
        Word::Ok | Word::Depends | Word::Unknown => "warning",
    };
    let mut text = format!("{} on {}: {}", row.prog, labels.join(", "), word.text());
    let mut say = |more: &str| {
        if !more.is_empty() {
            text.push_str(": ");
            text.push_str(more);
        }
    };
    say(&reason(cell));
    cell.depends.iter().for_each(|depends| say(depends));
    if let Some(suggestion) = report(cell).and_then(|r| r.suggestion.as_deref()) {
        text.push_str(". Help: ");
        text.push_str(suggestion);
    }
    let function = report(cell).map_or(row.prog.as_str(), |r| r.function.as_str());
    let mut location = json!({ "logicalLocations": [{ "name": function, "kind": "function" }] });
    location["physicalLocation"] = match at(cell) {
        Some(at) => physical(at),
        None => json!({ "artifactLocation": { "uri": uri(&row.object.display().to_string()) } }),
    };
    let mut result = json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": text },
        "locations": [location],
        "properties": { "kernels": labels, "program": row.prog },
    });
    let steps: Vec<Value> =
        report(cell).map(|r| r.path.iter().filter_map(flow).collect()).unwrap_or_default();
    if !steps.is_empty() {
        result["codeFlows"] = json!([{ "threadFlows": [{ "locations": steps }] }]);
    }
    result
}

fn flow(step: &Step) -> Option<Value> {
    let at = step.at.as_ref()?;
    let text = format!("insn {}: {} [{}]", step.insn_idx, step.insn, step.what);
    Some(json!({
        "location": { "physicalLocation": physical(at), "message": { "text": text } }
    }))
}

fn physical(at: &Location) -> Value {
    let mut region = json!({ "startLine": at.line.max(1) });
    if at.column > 0 {
        region["startColumn"] = json!(at.column);
    }
    if !at.source.is_empty() {
        region["snippet"] = json!({ "text": at.source });
    }
    json!({ "artifactLocation": { "uri": uri(&at.file) }, "region": region })
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("src/a b.bpf.c"), "src/a%20b.bpf.c");
        assert_eq!(uri("/x/ü.c"), "file:///x/%C3%BC.c");
    }
}
