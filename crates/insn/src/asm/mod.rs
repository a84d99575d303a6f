//! The assembler: the syntax of the verifier's log and of bpftool, and clang's where it differs.
//!
//! One statement a line, optionally after `label:`. Comments begin with `;`, `//`, or `#` after white space.
//! A line may begin as in a log: `12: (b7) r0 = 1`. Jumps take `pc+3`, `+3`, or a label.

mod cursor;
mod lex;
mod operand;
mod parse;
mod value;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{Insn, Symbols};
use parse::Parser;

/// Why a text is no program. Lines and columns (in bytes) count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsmError {
    /// Something else stands where the grammar wants `expected`.
    Expected {
        /// Line.
        line: u32,
        /// Column.
        col: u32,
        /// What could stand there.
        expected: &'static str,
        /// What stands there; empty at the end of the line.
        found: String,
    },
    /// A name that stands for nothing.
    UnknownName {
        /// Line.
        line: u32,
        /// Column.
        col: u32,
        /// What it would have to name.
        expected: &'static str,
        /// The name.
        name: String,
    },
    /// A number that its field cannot hold.
    OutOfRange {
        /// Line.
        line: u32,
        /// Column.
        col: u32,
        /// The number.
        value: i128,
        /// Least value that fits.
        min: i64,
        /// Greatest value that fits.
        max: i64,
    },
    /// A label that was there before.
    DuplicateLabel {
        /// Line.
        line: u32,
        /// Column.
        col: u32,
        /// The label.
        name: String,
        /// Line where it is first defined.
        first: u32,
    },
}

impl AsmError {
    /// Line and column, from 1.
    pub fn position(&self) -> (u32, u32) {
        match *self {
            AsmError::Expected { line, col, .. }
            | AsmError::UnknownName { line, col, .. }
            | AsmError::OutOfRange { line, col, .. }
            | AsmError::DuplicateLabel { line, col, .. } => (line, col),
        }
    }
}

impl core::fmt::Display for AsmError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (line, col) = self.position();
        write!(f, "{line}:{col}: ")?;
        match self {
            AsmError::Expected { expected, found, .. } if found.is_empty() => {
                write!(f, "expected {expected}, found the end of the line")
            }
            AsmError::Expected { expected, found, .. } => {
                write!(f, "expected {expected}, found `{found}`")
            }
            AsmError::UnknownName { expected, name, .. } => {
                write!(f, "expected {expected}, but `{name}` is none")
            }
            AsmError::OutOfRange { value, min, max, .. } => {
                write!(f, "{value} is not within {min}..={max}")
            }
            AsmError::DuplicateLabel { name, first, .. } => {
                write!(f, "label `{name}` is already defined in line {first}")
            }
        }
    }
}

impl core::error::Error for AsmError {}

/// An assembled text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The slots.
    pub insns: Vec<Insn>,
    /// For each slot, the line (from 1) it comes from.
    pub lines: Vec<u32>,
    /// For each label, the slot it stands before.
    pub labels: BTreeMap<String, u32>,
}

/// Assembles `text`, which names no maps and no kernel functions, into slots.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    assemble_with(text, &()).map(|assembled| assembled.insns)
}

/// Assembles `text` with `symbols` for the names of maps and kernel functions.
pub fn assemble_with(text: &str, symbols: &dyn Symbols) -> Result<Assembled, AsmError> {
    let mut program = Program { labels: find_labels(text)?, ..Program::default() };
    for (line, text) in numbered(text) {
        let tokens = lex::lex(line, text)?;
        Parser::new(line, text, &tokens, symbols, &mut program).line()?;
    }
    let mut out = program.out;
    for fix in program.fixups {
        // a label is the slot before which it stands; every name was looked up when it was met
        let target = i64::from(out.labels[&fix.label]);
        let rel = target - i64::from(fix.slot) - 1;
        let insn = &mut out.insns[fix.slot as usize];
        match fix.field {
            Field::Off => match i16::try_from(rel) {
                Ok(off) => insn.off = off,
                Err(_) => return Err(fix.out_of_range(rel, i16::MIN.into(), i16::MAX.into())),
            },
            Field::Imm => match i32::try_from(rel) {
                Ok(imm) => insn.imm = imm,
                Err(_) => return Err(fix.out_of_range(rel, i32::MIN.into(), i32::MAX.into())),
            },
        }
    }
    Ok(out)
}

/// Lines with their numbers, without the end of line.
fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}

/// Every label with its position, so that a name can be told from a helper's before it is defined.
fn find_labels(text: &str) -> Result<BTreeMap<String, u32>, AsmError> {
    let mut labels = BTreeMap::new();
    for (line, text) in numbered(text) {
        for (name, col) in parse::labels(&lex::lex(line, text)?) {
            if let Some(first) = labels.insert(String::from(name), line) {
                return Err(AsmError::DuplicateLabel { line, col, name: name.into(), first });
            }
        }
    }
    Ok(labels)
}

/// The program so far.
#[derive(Default)]
struct Program {
    out: Assembled,
    /// Names of all labels, with their lines.
    labels: BTreeMap<String, u32>,
    fixups: Vec<Fixup>,
}

impl Program {
    fn push(&mut self, line: u32, insn: Insn) {
        self.out.insns.push(insn);
        self.out.lines.push(line);
    }

    fn next_slot(&self) -> u32 {
        self.out.insns.len() as u32
    }
}

/// The field that takes a label's distance from the next slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Off,
    Imm,
}

struct Fixup {
    slot: u32,
    field: Field,
    label: String,
    line: u32,
    col: u32,
}

impl Fixup {
    fn out_of_range(&self, rel: i64, min: i64, max: i64) -> AsmError {
        AsmError::OutOfRange { line: self.line, col: self.col, value: rel.into(), min, max }
    }
}
