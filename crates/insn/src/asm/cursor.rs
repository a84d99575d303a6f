//! The cursor over a line's tokens: registers, numbers, punctuation, errors.

use alloc::string::ToString;

use super::AsmError;
use super::lex::{Kind, Token};
use super::operand::REG;
use super::parse::{Parser, Reg};
use crate::Insn;
use crate::opcode::{DW, MAX_BPF_REG};

type Result<T> = core::result::Result<T, AsmError>;

impl<'t> Parser<'t, '_> {
    pub(super) fn rest(&self) -> &'t [Token<'t>] {
        &self.tokens[self.at..]
    }

    pub(super) fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at)
    }

    /// Column of the token at hand, or of the end of the line.
    pub(super) fn col(&self) -> u32 {
        match (self.peek(), self.tokens.last()) {
            (Some(token), _) => token.col,
            (None, Some(last)) => last.col + last.text.len() as u32,
            (None, None) => 1,
        }
    }

    pub(super) fn error(&self, expected: &'static str) -> AsmError {
        let found = self.peek().map_or("", |t| t.text).to_string();
        AsmError::Expected { line: self.line, col: self.col(), expected, found }
    }

    pub(super) fn expected<T>(&self, expected: &'static str) -> Result<T> {
        Err(self.error(expected))
    }

    pub(super) fn unknown<T>(&self, expected: &'static str, name: &str, col: u32) -> Result<T> {
        Err(AsmError::UnknownName { line: self.line, col, expected, name: name.to_string() })
    }

    pub(super) fn out_of_range<T>(&self, value: i128, min: i64, max: i64) -> Result<T> {
        Err(AsmError::OutOfRange { line: self.line, col: self.col(), value, min, max })
    }

    pub(super) fn push(&mut self, insn: Insn) -> Result<()> {
        self.program.push(self.line, insn);
        Ok(())
    }

    /// Both slots of a 64-bit load, whose register must be an `r`.
    pub(super) fn push_wide(&mut self, dst: Reg, [low, high]: [Insn; 2]) -> Result<()> {
        self.check_width(dst, DW)?;
        self.push(low)?;
        self.push(high)
    }

    /// The same, with an optional `ll` after it.
    pub(super) fn push_wide_ll(&mut self, dst: Reg, slots: [Insn; 2]) -> Result<()> {
        self.eat_word("ll");
        self.push_wide(dst, slots)
    }

    /// `w` registers hold no 64-bit value.
    pub(super) fn check_width(&self, dst: Reg, size: u8) -> Result<()> {
        if dst.wide || size != DW {
            return Ok(());
        }
        let found = alloc::format!("w{}", dst.no);
        let col = self.text.find(&found).map_or(1, |at| at as u32 + 1);
        Err(AsmError::Expected {
            line: self.line,
            col,
            expected: "an `r` register for 64 bits",
            found,
        })
    }

    pub(super) fn eat(&mut self, punct: &str) -> bool {
        let hit = matches!(self.peek(), Some(Token { kind: Kind::Punct(p), .. }) if *p == punct);
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn eat_any(&mut self, puncts: &[&'static str]) -> Option<&'static str> {
        puncts.iter().copied().find(|p| self.eat(p))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Some(Token { kind: Kind::Word(w), .. }) if *w == word);
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn punct(&mut self, punct: &'static str) -> Result<()> {
        if self.eat(punct) {
            return Ok(());
        }
        self.expected(match punct {
            "(" => "`(`",
            ")" => "`)`",
            "[" => "`[`",
            "]" => "`]`",
            "*" => "`*`",
            "," => "`,`",
            _ => "`=`",
        })
    }

    pub(super) fn word(&mut self, expected: &'static str) -> Result<(&'t str, u32)> {
        match self.peek() {
            Some(Token { kind: Kind::Word(word), col, .. }) => {
                self.at += 1;
                Ok((word, *col))
            }
            _ => self.expected(expected),
        }
    }

    /// A register when one stands there; `r11` and the like are errors, not names.
    pub(super) fn eat_reg(&mut self) -> Result<Option<Reg>> {
        let Some(Token { kind: Kind::Word(word), .. }) = self.peek() else { return Ok(None) };
        let (wide, digits) = match (word.strip_prefix('r'), word.strip_prefix('w')) {
            (Some(digits), _) => (true, digits),
            (_, Some(digits)) => (false, digits),
            _ => return Ok(None),
        };
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Ok(None);
        }
        match digits.parse::<u8>() {
            Ok(no) if no < MAX_BPF_REG => {
                self.at += 1;
                Ok(Some(Reg { no, wide }))
            }
            _ => self.expected(REG),
        }
    }

    pub(super) fn reg(&mut self, expected: &'static str) -> Result<Reg> {
        match self.eat_reg()? {
            Some(reg) => Ok(reg),
            None => self.expected(expected),
        }
    }

    pub(super) fn wide_reg(&mut self, expected: &'static str) -> Result<u8> {
        let reg = self.reg(expected)?;
        if !reg.wide {
            self.at -= 1;
            return self.expected(expected);
        }
        Ok(reg.no)
    }

    /// An integer with an optional sign.
    pub(super) fn signed_int(&mut self) -> Result<i128> {
        let start = self.at;
        let negative = self.eat_any(&["-", "+"]) == Some("-");
        match self.peek() {
            Some(Token { kind: Kind::Int(value), .. }) => {
                self.at += 1;
                Ok(if negative { -i128::from(*value) } else { i128::from(*value) })
            }
            _ => {
                self.at = start;
                self.expected("a number")
            }
        }
    }

    /// An integer within `min..=max`.
    pub(super) fn int(&mut self, min: i64, max: i64) -> Result<i64> {
        let start = self.at;
        let value = self.signed_int()?;
        match i64::try_from(value) {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            _ => {
                self.at = start;
                self.out_of_range(value, min, max)
            }
        }
    }

    /// 32 bits, written signed or unsigned.
    pub(super) fn imm32(&mut self) -> Result<i32> {
        Ok(self.int(i32::MIN.into(), u32::MAX.into())? as i32)
    }
}
