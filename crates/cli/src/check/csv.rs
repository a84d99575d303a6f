//! CSV with veristat's columns (`default_csv_output_spec` of tools/testing/selftests/bpf/veristat.c).

use super::Row;
use super::places::Column;
use std::fmt::Write;
use stylet::check::{Checked, Verdict};

/// The names, in veristat's order.
pub const COLUMNS: [&str; 16] = [
    "file_name",
    "prog_name",
    "verdict",
    "duration",
    "total_insns",
    "total_states",
    "peak_states",
    "max_states_per_insn",
    "max_mark_read_len",
    "prog_size",
    "prog_size_jited",
    "prog_type",
    "attach_type",
    "stack_depth",
    "max_stack_depth",
    "mem_peak",
];

/// A line for each program and kernel. `duration` is in microseconds, `prog_size` in instructions; what only a kernel has is 0.
pub fn render(rows: &[Row], columns: &[Column]) -> String {
    let mut out = COLUMNS.join(",");
    if columns.len() > 1 {
        out.push_str(",kernel");
    }
    out.push('\n');
    for row in rows {
        for (column, cell) in columns.iter().zip(&row.cells) {
            out.push_str(&fields(row, cell).join(","));
            if columns.len() > 1 {
                let _ = write!(out, ",{}", column.label);
            }
            out.push('\n');
        }
    }
    out
}

/// The fields of a line.
pub fn fields(row: &Row, cell: &Checked) -> Vec<String> {
    let stats = &cell.stats;
    let max_stack = match &cell.verdict {
        Verdict::Accepted(verified) => verified.facts().max_stack,
        _ => 0,
    };
    let file = row.object.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = |name: Option<&str>| name.map_or_else(|| "N/A".into(), str::to_ascii_lowercase);
    vec![
        field(&file),
        field(&row.prog),
        if cell.verdict.is_accepted() { "success" } else { "failure" }.into(),
        cell.duration.as_micros().to_string(),
        stats.insn_processed.to_string(),
        stats.total_states.to_string(),
        stats.peak_states.to_string(),
        stats.max_states_per_insn.to_string(),
        "0".into(),
        row.insns.to_string(),
        "0".into(),
        lower(row.prog_type.name()),
        lower(row.attach_type.name()),
        max_stack.to_string(),
        max_stack.to_string(),
        "0".into(),
    ]
}

/// A file or program name cannot be quoted in veristat's CSV: what would end the field is replaced.
fn field(text: &str) -> String {
    text.replace([',', '\n', '\r', '"'], "_")
}
