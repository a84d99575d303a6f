//! `stylet check`: would each kernel accept the programs of an object, and if not, why?

pub mod args;
mod compare;
mod csv;
mod json;
mod places;
mod sarif;
mod text;

use args::CheckArgs;
use places::Column;
use std::path::PathBuf;
use std::process::ExitCode;
use stylet::check::{Checked, Verdict, check};
use stylet::{Error, Object};
use stylet_uapi::{AttachType, ProgType};

/// A program with its verdicts, one a column.
pub struct Row {
    pub object: PathBuf,
    pub prog: String,
    pub section: String,
    pub prog_type: ProgType,
    pub attach_type: AttachType,
    /// Slots of the linked program.
    pub insns: usize,
    pub cells: Vec<Checked>,
}

/// What a cell comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Ok,
    Fail,
    Depends,
    Unknown,
}

impl Word {
    pub fn of(checked: &Checked) -> Word {
        match &checked.verdict {
            Verdict::Unknown { .. } => Word::Unknown,
            _ if !checked.depends.is_empty() => Word::Depends,
            Verdict::Accepted(_) => Word::Ok,
            Verdict::Rejected { .. } | Verdict::Unfit { .. } => Word::Fail,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Word::Ok => "ok",
            Word::Fail => "fail",
            Word::Depends => "depends",
            Word::Unknown => "unknown",
        }
    }
}

/// The first line of why a cell is not plainly `ok`; empty when it is.
pub fn reason(checked: &Checked) -> String {
    match &checked.verdict {
        Verdict::Accepted(_) => String::new(),
        Verdict::Rejected { report, .. } => report.reason.replace('\n', "; "),
        Verdict::Unfit { reason } => reason.clone(),
        Verdict::Unknown { what } => format!("this verifier does not know: {what}"),
    }
}

impl Row {
    /// The least release of the columns that takes the program; `None` when none surely does.
    pub fn least(&self, columns: &[Column]) -> Option<String> {
        let takes = columns.iter().zip(&self.cells).filter(|(_, c)| Word::of(c) == Word::Ok);
        takes.filter_map(|(column, _)| column.release).min().map(|r| r.to_string())
    }
}

/// Runs the command; the exit code says whether every program is accepted everywhere.
pub fn run(args: &CheckArgs) -> Result<ExitCode, Error> {
    let columns = places::columns(args)?;
    let rows = rows(args, &columns)?;
    let color = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let out = if let Some(old) = &args.compare {
        compare::render(&compare::read(old)?, &rows, &columns)
    } else if args.csv {
        csv::render(&rows, &columns)
    } else if args.json {
        json::render(&rows, &columns)
    } else if args.sarif {
        sarif::render(&rows, &columns)
    } else {
        text::render(&rows, &columns, args.verbose > 0, color)
    };
    // A reader that has seen enough is no fault.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), out.as_bytes());
    let words = || rows.iter().flat_map(|row| row.cells.iter().map(Word::of));
    Ok(ExitCode::from(u8::from(words().any(|word| word == Word::Fail))))
}

fn rows(args: &CheckArgs, columns: &[Column]) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut wanted = args.progs.clone();
    for path in &args.objects {
        let object = Object::open(path)?;
        for (index, prog) in object.spec().progs.iter().enumerate() {
            let chosen = args.progs.is_empty() || args.progs.contains(&prog.name);
            if !chosen {
                continue;
            }
            wanted.retain(|name| *name != prog.name);
            let level = u32::from(args.verbose.min(2));
            let judge = |column: &Column| check(&object, index, &column.place, level);
            rows.push(Row {
                object: path.clone(),
                prog: prog.name.clone(),
                section: prog.section.clone(),
                prog_type: prog.sec.prog_type,
                attach_type: prog.sec.expected_attach_type,
                insns: prog.insns.len(),
                cells: columns.iter().filter_map(judge).collect(),
            });
        }
    }
    match wanted.first() {
        Some(name) => {
            Err(Error::Option { text: format!("--prog {name}: no object has such a program") })
        }
        None => Ok(rows),
    }
}
