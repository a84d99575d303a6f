//! Tables for people.

use std::fmt::Write as _;

/// A title and columns as wide as their widest cell; nothing when there are no rows.
pub fn table<const N: usize>(
    out: &mut String,
    title: &str,
    head: &[&str; N],
    rows: &[[String; N]],
) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    let head: [String; N] = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |c: usize| all().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in all() {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:<width$} ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
