//! `--compare`: what is not as in an earlier CSV, ours or veristat's.

use super::places::Column;
use super::{Row, csv};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use stylet::Error;

/// An earlier line: verdict, instructions, states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    verdict: String,
    insns: u64,
    states: u64,
}

/// Lines by file, program and kernel (empty without that column).
pub type OldTable = HashMap<(String, String, String), Old>;

/// Reads a CSV file with veristat's names of columns, in any order.
pub fn read(path: &Path) -> Result<OldTable, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let bad = |what: &str| Error::Option { text: format!("--compare {}: {what}", path.display()) };
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let find = |names: &[&str]| head.iter().position(|h| names.contains(h));
    let need = |names: &[&str]| find(names).ok_or_else(|| bad(&format!("no column {}", names[0])));
    let file = need(&["file_name", "filename", "file"])?;
    let prog = need(&["prog_name", "progname", "prog"])?;
    let verdict = need(&["verdict"])?;
    let insns = need(&["total_insns", "insns"])?;
    let states = need(&["total_states", "states"])?;
    let kernel = find(&["kernel"]);
    let mut table = OldTable::new();
    for (n, line) in lines.enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let get = |at: usize| {
            let at = fields.get(at).map(|f| f.trim().to_owned());
            at.ok_or_else(|| bad(&format!("line {}: too few columns", n + 2)))
        };
        let number = |at: usize| {
            let text = get(at)?;
            text.parse::<u64>().map_err(|_| bad(&format!("line {}: '{text}' is no number", n + 2)))
        };
        let old = Old { verdict: get(verdict)?, insns: number(insns)?, states: number(states)? };
        let kernel = kernel.map_or(Ok(String::new()), get)?;
        table.insert((get(file)?, get(prog)?, kernel), old);
    }
    Ok(table)
}

/// One line for each program and kernel that differs, was not there, or is not there any more; a last line counts.
pub fn render(old: &OldTable, rows: &[Row], columns: &[Column]) -> String {
    let mut gone: Vec<&(String, String, String)> = old.keys().collect();
    let (mut same, mut differ) = (0, 0);
    let mut out = String::new();
    for row in rows {
        for (column, cell) in columns.iter().zip(&row.cells) {
            let fields = csv::fields(row, cell);
            let key = |kernel: &str| (fields[0].clone(), fields[1].clone(), kernel.to_owned());
            let found =
                old.get_key_value(&key(&column.label)).or_else(|| old.get_key_value(&key("")));
            let name = format!("{} {} on {}", fields[0], fields[1], column.label);
            let Some((key, was)) = found else {
                differ += 1;
                let _ = writeln!(out, "{name}: {} (new)", fields[2]);
                continue;
            };
            gone.retain(|k| *k != key);
            let stats = &cell.stats;
            let (insns, states) = (stats.insn_processed, u64::from(stats.total_states));
            if was.verdict == fields[2] && was.insns == insns && was.states == states {
                same += 1;
                continue;
            }
            differ += 1;
            let _ = writeln!(
                out,
                "{name}: {}, insns {}, states {}",
                arrow(&was.verdict, &fields[2]),
                change(was.insns, insns),
                change(was.states, states)
            );
        }
    }
    gone.sort();
    for (file, prog, kernel) in &gone {
        let on = if kernel.is_empty() { String::new() } else { format!(" on {kernel}") };
        let _ = writeln!(out, "{file} {prog}{on}: not there any more");
    }
    let _ = writeln!(out, "{same} as before, {differ} not, {} gone", gone.len());
    out
}

fn arrow(was: &str, is: &str) -> String {
    if was == is { is.to_owned() } else { format!("{was} -> {is}") }
}

fn change(was: u64, is: u64) -> String {
    match i128::from(is) - i128::from(was) {
        0 => is.to_string(),
        by if was == 0 => format!("{was} -> {is} ({by:+})"),
        by => format!("{was} -> {is} ({by:+}, {:+.1}%)", by as f64 * 100.0 / was as f64),
    }
}
