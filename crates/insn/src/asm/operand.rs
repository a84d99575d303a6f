//! Memory operands and registers of a required width.

use super::AsmError;
use super::lex::Kind;
use super::parse::{Parser, Reg};
use crate::opcode::*;

type Result<T> = core::result::Result<T, AsmError>;

pub(super) const REG: &str = "a register `r0` to `r10` or `w0` to `w10`";
pub(super) const WIDE_REG: &str = "a register `r0` to `r10`";

impl<'t> Parser<'t, '_> {
    /// `*(u64 *)(r1 +8)`: size, base register, offset.
    pub(super) fn mem_operand(&mut self) -> Result<(u8, u8, i16)> {
        self.punct("*")?;
        self.bare_mem_operand()
    }

    /// `(u64 *)(r1 +8)`.
    pub(super) fn bare_mem_operand(&mut self) -> Result<(u8, u8, i16)> {
        let start = self.at;
        let (size, signed) = self.mem_type()?;
        if signed {
            self.at = start + 1;
            return self.expected("`u8`, `u16`, `u32` or `u64`");
        }
        let (base, off) = self.base_and_off()?;
        Ok((size, base, off))
    }

    /// `(u64 *)`: size, and whether it is signed.
    pub(super) fn mem_type(&mut self) -> Result<(u8, bool)> {
        self.punct("(")?;
        let (size, signed) = match self.peek().map(|t| t.kind) {
            Some(Kind::Word("u8")) => (B, false),
            Some(Kind::Word("u16")) => (H, false),
            Some(Kind::Word("u32")) => (W, false),
            Some(Kind::Word("u64")) => (DW, false),
            Some(Kind::Word("s8")) => (B, true),
            Some(Kind::Word("s16")) => (H, true),
            Some(Kind::Word("s32")) => (W, true),
            _ => return self.expected("`u8`, `u16`, `u32`, `u64`, `s8`, `s16` or `s32`"),
        };
        self.at += 1;
        self.punct("*")?;
        self.punct(")")?;
        Ok((size, signed))
    }

    /// `(r1 +8)`.
    pub(super) fn base_and_off(&mut self) -> Result<(u8, i16)> {
        self.punct("(")?;
        let base = self.wide_reg(WIDE_REG)?;
        let off = self.offset()?;
        self.punct(")")?;
        Ok((base, off))
    }

    /// `+8`, `- 8`, or nothing.
    pub(super) fn offset(&mut self) -> Result<i16> {
        match self.peek().map(|t| t.kind) {
            Some(Kind::Punct("+" | "-")) => Ok(self.int(i16::MIN.into(), i16::MAX.into())? as i16),
            _ => Ok(0),
        }
    }

    /// A register for a value of `size`: `r`, or `w` up to 32 bits as clang writes it.
    pub(super) fn sized_reg(&mut self, size: u8) -> Result<u8> {
        let reg = self.reg(REG)?;
        if !reg.wide && size == DW {
            self.at -= 1;
            return self.expected(WIDE_REG);
        }
        Ok(reg.no)
    }

    /// A register of the width of `other`.
    pub(super) fn same_width_reg(&mut self, other: Reg) -> Result<u8> {
        let reg = self.reg(REG)?;
        if reg.wide != other.wide {
            self.at -= 1;
            return self.expected("a register of the same width");
        }
        Ok(reg.no)
    }
}
