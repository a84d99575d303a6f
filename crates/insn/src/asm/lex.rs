//! A line as tokens.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::AsmError;

/// A token with the column (from 1) of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    pub text: &'a str,
    pub col: u32,
    /// White space stands before it.
    pub spaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A name, a register, a keyword.
    Word(&'a str),
    /// An integer without its sign.
    Int(u64),
    /// An operator or a bracket.
    Punct(&'static str),
}

/// Longest first, so that a prefix never hides a longer one.
const PUNCTS: &[&str] = &[
    "s>>=", "<<=", ">>=", "s/=", "s%=", "s>=", "s<=", "s>", "s<", "+=", "-=", "*=", "/=", "|=",
    "&=", "%=", "^=", "==", "!=", ">=", "<=", "=", ">", "<", "&", "(", ")", "[", "]", "*", "+",
    "-", ",", "#", ":", "@",
];

fn is_word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c == b'.' || c == b'$'
}

fn is_word(c: u8) -> bool {
    is_word_start(c) || c.is_ascii_digit()
}

/// Tokens of one line, up to a comment (`;`, `//`, or `#` after white space); `/* */` within the line is skipped.
pub(super) fn lex(line: u32, text: &str) -> Result<Vec<Token<'_>>, AsmError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut spaced = true;
    while let Some(&c) = text.as_bytes().get(at) {
        let rest = &text[at..];
        if c.is_ascii_whitespace() {
            at += 1;
            spaced = true;
            continue;
        }
        if c == b';' || rest.starts_with("//") || (c == b'#' && spaced) {
            break;
        }
        let col = at as u32 + 1;
        if rest.starts_with("/*") {
            let Some(end) = rest.find("*/") else {
                return Err(AsmError::Expected {
                    line,
                    col,
                    expected: "`*/` on the same line",
                    found: rest.to_string(),
                });
            };
            at += end + 2;
            spaced = true;
            continue;
        }
        let in_bracket = tokens.last().is_some_and(|t: &Token<'_>| t.kind == Kind::Punct("("));
        let (kind, len) = match rest.get(..3) {
            // a log's opcode, which may be no number: `(0c)`
            Some(opcode) if in_bracket && is_log_opcode(opcode) => (Kind::Word(&rest[..2]), 2),
            _ => lex_one(line, col, rest)?,
        };
        tokens.push(Token { kind, text: &rest[..len], col, spaced });
        at += len;
        spaced = false;
    }
    Ok(tokens)
}

fn is_log_opcode(text: &str) -> bool {
    text.strip_suffix(')').is_some_and(|code| code.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn lex_one(line: u32, col: u32, rest: &str) -> Result<(Kind<'_>, usize), AsmError> {
    if let Some(punct) = PUNCTS.iter().find(|p| rest.starts_with(**p)) {
        return Ok((Kind::Punct(punct), punct.len()));
    }
    let first = rest.as_bytes()[0];
    let len = rest.bytes().position(|c| !is_word(c)).unwrap_or(rest.len());
    let word = &rest[..len];
    if first.is_ascii_digit() {
        let value = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        return match value {
            Ok(value) => Ok((Kind::Int(value), len)),
            Err(_) => Err(AsmError::Expected {
                line,
                col,
                expected: "an integer of at most 64 bits",
                found: word.to_string(),
            }),
        };
    }
    if is_word_start(first) {
        return Ok((Kind::Word(word), len));
    }
    let found = rest.chars().take(1).collect();
    Err(AsmError::Expected { line, col, expected: "an instruction, a label or a comment", found })
}
