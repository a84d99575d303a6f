//! JSON: one object with a list of programs.

use super::places::Column;
use super::{Row, Word, reason};
use serde_json::{Value, json};
use stylet::check::{Checked, Verdict};

/// `{"progs": [{file, prog, section, type, from, verdicts: [{kernel, verdict, …}]}]}`, a line.
pub fn render(rows: &[Row], columns: &[Column]) -> String {
    let prog = |row: &Row| {
        let cells = columns.iter().zip(&row.cells);
        json!({
            "file": row.object.display().to_string(),
            "prog": row.prog,
            "section": row.section,
            "type": row.prog_type.name().map(str::to_ascii_lowercase),
            "from": row.least(columns),
            "verdicts": cells.map(|(column, cell)| verdict(column, cell)).collect::<Vec<_>>(),
        })
    };
    let progs: Vec<Value> = rows.iter().map(prog).collect();
    format!("{}\n", json!({ "progs": progs }))
}

fn verdict(column: &Column, cell: &Checked) -> Value {
    let mut value = json!({
        "kernel": column.label,
        "verdict": Word::of(cell).text(),
        "duration_us": cell.duration.as_micros() as u64,
        "insns": cell.stats.insn_processed,
        "states": cell.stats.total_states,
        "peak_states": cell.stats.peak_states,
    });
    let reason = reason(cell);
    if !reason.is_empty() {
        value["reason"] = json!(reason);
    }
    if !cell.depends.is_empty() {
        value["depends"] = json!(cell.depends);
        value["so_far"] = json!(if cell.verdict.is_accepted() { "ok" } else { "fail" });
    }
    if let Verdict::Rejected { report, .. } = &cell.verdict {
        value["rejection"] = serde_json::to_value(report).unwrap_or_default();
    }
    value
}
