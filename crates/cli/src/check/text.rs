//! The table and the explanations, as text.

use super::places::Column;
use super::{Row, Word, reason};
use std::fmt::Write;
use stylet::check::Verdict;

/// The table of an object's programs, then each cause once with the kernels it holds for.
pub fn render(rows: &[Row], columns: &[Column], log: bool, color: bool) -> String {
    let mut out = String::new();
    for part in rows.chunk_by(|a, b| a.object == b.object) {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{}", part[0].object.display());
        table(&mut out, part, columns, color);
        for row in part {
            causes(&mut out, row, columns, color);
            if log {
                logs(&mut out, row, columns);
            }
        }
    }
    out
}

fn table(out: &mut String, rows: &[Row], columns: &[Column], color: bool) {
    let releases = columns.iter().filter(|c| c.release.is_some()).count();
    let mut lines = vec![vec!["program".to_owned(), "section".to_owned()]];
    lines[0].extend(columns.iter().map(|c| c.label.clone()));
    if releases > 1 {
        lines[0].push("from".into());
    }
    for row in rows {
        let mut line = vec![row.prog.clone(), row.section.clone()];
        line.extend(row.cells.iter().map(|c| Word::of(c).text().to_owned()));
        if releases > 1 {
            line.push(row.least(columns).unwrap_or_else(|| "-".into()));
        }
        lines.push(line);
    }
    let width = |at: usize| lines.iter().map(|l| l[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    for line in &lines {
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let last = at + 1 == line.len();
            let pad = if last { 0 } else { width - cell.chars().count() + 2 };
            let _ = write!(out, "{}{}", paint(cell, color), " ".repeat(pad));
        }
        out.push('\n');
    }
}

fn paint(cell: &str, color: bool) -> String {
    let code = match cell {
        "ok" => "32",
        "fail" => "31",
        "depends" | "unknown" => "33",
        _ => "",
    };
    match color && !code.is_empty() {
        true => format!("\x1b[{code}m{cell}\x1b[0m"),
        false => cell.to_owned(),
    }
}

/// What a cell has to say for itself; cells with the same text are told together.
fn causes(out: &mut String, row: &Row, columns: &[Column], color: bool) {
    let mut causes: Vec<(String, Vec<&str>, usize)> = Vec::new();
    for (at, cell) in row.cells.iter().enumerate() {
        let word = Word::of(cell);
        if word == Word::Ok {
            continue;
        }
        let mut key = format!("{} {}", word.text(), reason(cell));
        // Numbers that differ between releases make no other cause.
        cell.depends.iter().for_each(|d| key += d.split(':').next().unwrap_or(""));
        match causes.iter_mut().find(|(k, _, _)| *k == key) {
            Some((_, labels, _)) => labels.push(&columns[at].label),
            None => causes.push((key, vec![&columns[at].label], at)),
        }
    }
    for (_, labels, at) in causes {
        let cell = &row.cells[at];
        let _ = writeln!(out, "\n{} on {}: {}", row.prog, labels.join(", "), Word::of(cell).text());
        for depends in &cell.depends {
            let _ = writeln!(out, "depends on {depends}");
        }
        match &cell.verdict {
            Verdict::Accepted(_) => out.push_str("accepted so far as is known\n"),
            Verdict::Rejected { report, .. } => {
                let _ = writeln!(out, "{}", report.render(color).trim_end());
            }
            Verdict::Unfit { .. } | Verdict::Unknown { .. } => {
                let _ = writeln!(out, "{}", reason(cell));
            }
        }
    }
}

fn logs(out: &mut String, row: &Row, columns: &[Column]) {
    for (column, cell) in columns.iter().zip(&row.cells) {
        let text = match &cell.verdict {
            Verdict::Accepted(verified) => format!("{}{}\n", verified.log(), cell.stats),
            Verdict::Rejected { rejection, .. } => rejection.log.to_string(),
            Verdict::Unfit { .. } | Verdict::Unknown { .. } => continue,
        };
        let _ = write!(out, "\nlog of {} on {}:\n{text}", row.prog, column.label);
    }
}
