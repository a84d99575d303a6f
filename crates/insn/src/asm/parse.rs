//! Statements.

use alloc::string::{String, ToString};

use super::lex::{Kind, Token};
use super::operand::{REG, WIDE_REG};
use super::{AsmError, Field, Fixup, Program};
use crate::names::helper_by_name;
use crate::opcode::*;
use crate::{Insn, Symbols};

/// A register operand: `r3`, or `w3` with `wide` false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg {
    pub no: u8,
    pub wide: bool,
}

/// Parses one line.
pub(super) struct Parser<'t, 'p> {
    pub line: u32,
    pub text: &'t str,
    pub tokens: &'t [Token<'t>],
    pub at: usize,
    pub symbols: &'p dyn Symbols,
    pub program: &'p mut Program,
}

type Result<T> = core::result::Result<T, AsmError>;

/// Labels at the beginning of a line.
pub(super) fn labels<'t>(tokens: &[Token<'t>]) -> impl Iterator<Item = (&'t str, u32)> {
    tokens.chunks(2).map_while(|pair| match pair {
        [Token { kind: Kind::Word(name), col, .. }, Token { kind: Kind::Punct(":"), .. }] => {
            Some((*name, *col))
        }
        _ => None,
    })
}

impl<'t, 'p> Parser<'t, 'p> {
    pub fn new(
        line: u32,
        text: &'t str,
        tokens: &'t [Token<'t>],
        symbols: &'p dyn Symbols,
        program: &'p mut Program,
    ) -> Self {
        Parser { line, text, tokens, at: 0, symbols, program }
    }

    /// Labels, a log's prefix, a statement.
    pub fn line(mut self) -> Result<()> {
        for (name, _) in labels(self.tokens) {
            let slot = self.program.next_slot();
            self.program.out.labels.insert(String::from(name), slot);
            self.at += 2;
        }
        let log_opcode = self.log_prefix()?;
        if self.at == self.tokens.len() {
            return Ok(());
        }
        let first = self.program.next_slot();
        self.statement()?;
        if self.at != self.tokens.len() {
            return self.expected("the end of the line");
        }
        self.check_log_opcode(first, log_opcode)
    }

    /// `12: (b7)` before an instruction, as in a log.
    fn log_prefix(&mut self) -> Result<Option<(u8, u32)>> {
        if let [Token { kind: Kind::Int(_), .. }, Token { kind: Kind::Punct(":"), .. }, ..] =
            self.rest()
        {
            self.at += 2;
        }
        let col = self.col();
        let [
            Token { kind: Kind::Punct("("), .. },
            opcode,
            Token { kind: Kind::Punct(")"), .. },
            ..,
        ] = self.rest()
        else {
            return Ok(None);
        };
        match u8::from_str_radix(opcode.text, 16) {
            Ok(code) => {
                self.at += 3;
                Ok(Some((code, col)))
            }
            Err(_) => self.expected("an opcode such as `(b7)`, or an instruction"),
        }
    }

    /// In a log a 64-bit load looks like a move; only its opcode tells them apart.
    fn check_log_opcode(&mut self, first: u32, log_opcode: Option<(u8, u32)>) -> Result<()> {
        let Some((code, col)) = log_opcode else { return Ok(()) };
        let insn = self.program.out.insns[first as usize];
        if code == LDDW && insn.code == (ALU64 | MOV | K) {
            let [low, high] = Insn::lddw(insn.dst, insn.imm as u32 as u64);
            self.program.out.insns[first as usize] = low;
            self.program.push(self.line, high);
            return Ok(());
        }
        if code == insn.code {
            return Ok(());
        }
        let found = alloc::format!("({code:02x})");
        Err(AsmError::Expected {
            line: self.line,
            col,
            expected: "the opcode of this instruction",
            found,
        })
    }

    fn statement(&mut self) -> Result<()> {
        let token = *self.peek().ok_or_else(|| self.error("an instruction"))?;
        if let Some(reg) = self.eat_reg()? {
            return self.assignment(reg);
        }
        match token.kind {
            Kind::Punct("*") => {
                let (size, dst, off) = self.mem_operand()?;
                self.store(size, dst, off)
            }
            Kind::Word("lock") => {
                self.at += 1;
                self.lock()
            }
            Kind::Word("if") => {
                self.at += 1;
                self.conditional()
            }
            Kind::Word("goto") => self.jump(Insn::ja(0), Field::Off),
            Kind::Word("gotol") => self.jump(Insn::gotol(0), Field::Imm),
            Kind::Word("may_goto") => self.jump(Insn::may_goto(0), Field::Off),
            Kind::Word("gotox") => {
                self.at += 1;
                let reg = self.wide_reg(WIDE_REG)?;
                self.push(Insn::gotox(reg))
            }
            Kind::Word("call") => {
                self.at += 1;
                self.call()
            }
            Kind::Word("exit") => {
                self.at += 1;
                self.push(Insn::exit())
            }
            Kind::Word("store_release") => {
                self.at += 1;
                self.punct("(")?;
                let (size, dst, off) = self.bare_mem_operand()?;
                self.punct(",")?;
                let src = self.sized_reg(size)?;
                self.punct(")")?;
                self.push(Insn::atomic(size, STORE_REL, dst, src, off))
            }
            Kind::Word(".insn") => self.raw(),
            _ => self.expected("an instruction"),
        }
    }

    /// `.insn code dst src off imm`: any slot at all.
    fn raw(&mut self) -> Result<()> {
        self.at += 1;
        let code = self.int(0, 0xff)? as u8;
        let dst = self.int(0, 15)? as u8;
        let src = self.int(0, 15)? as u8;
        let off = self.int(i16::MIN.into(), i16::MAX.into())? as i16;
        let imm = self.imm32()?;
        self.push(Insn::new(code, dst, src, off, imm))
    }

    /// `= r2` or `= 5` after `*(u32 *)(r1 +0)`.
    fn store(&mut self, size: u8, dst: u8, off: i16) -> Result<()> {
        self.punct("=")?;
        if let Some(Token { kind: Kind::Word(_), .. }) = self.peek() {
            let src = self.sized_reg(size)?;
            return self.push(Insn::stx(size, dst, src, off));
        }
        let imm = self.imm32()?;
        self.push(Insn::st(size, dst, off, imm))
    }

    /// `*(u64 *)(r1 +0) += r2` after `lock`.
    fn lock(&mut self) -> Result<()> {
        let (size, dst, off) = self.mem_operand()?;
        let op = match self.eat_any(&["+=", "|=", "&=", "^="]) {
            Some("+=") => ADD,
            Some("|=") => OR,
            Some("&=") => AND,
            Some("^=") => XOR,
            _ => return self.expected("`+=`, `|=`, `&=` or `^=`"),
        };
        let src = self.sized_reg(size)?;
        self.push(Insn::atomic(size, op.into(), dst, src, off))
    }

    /// `r1 > 5 goto pc+3` after `if`.
    fn conditional(&mut self) -> Result<()> {
        let dst = self.reg(REG)?;
        const OPERATORS: &[(&str, u8)] = &[
            ("==", JEQ),
            (">", JGT),
            (">=", JGE),
            ("&", JSET),
            ("!=", JNE),
            ("s>", JSGT),
            ("s>=", JSGE),
            ("<", JLT),
            ("<=", JLE),
            ("s<", JSLT),
            ("s<=", JSLE),
        ];
        let operator = self
            .peek()
            .and_then(|t| OPERATORS.iter().find(|(text, _)| t.kind == Kind::Punct(text)));
        let Some((_, op)) = operator else {
            return self
                .expected("a comparison: `==` `!=` `&` `>` `>=` `<` `<=` `s>` `s>=` `s<` `s<=`");
        };
        self.at += 1;
        let class = if dst.wide { JMP } else { JMP32 };
        let insn = if let Some(Token { kind: Kind::Word(_), .. }) = self.peek() {
            let src = self.same_width_reg(dst)?;
            Insn::new(class | op | X, dst.no, src, 0, 0)
        } else {
            Insn::new(class | op | K, dst.no, 0, 0, self.imm32()?)
        };
        match self.peek() {
            Some(Token { kind: Kind::Word("goto"), .. }) => self.jump(insn, Field::Off),
            _ => self.expected("`goto`"),
        }
    }

    /// The target after the keyword at hand, into `field` of `insn`.
    fn jump(&mut self, mut insn: Insn, field: Field) -> Result<()> {
        self.at += 1;
        let (min, max) = match field {
            Field::Off => (i16::MIN.into(), i16::MAX.into()),
            Field::Imm => (i32::MIN.into(), i32::MAX.into()),
        };
        if let Some(rel) = self.eat_relative(min, max)? {
            match field {
                Field::Off => insn.off = rel as i16,
                Field::Imm => insn.imm = rel as i32,
            }
            return self.push(insn);
        }
        self.label(field)?;
        self.push(insn)
    }

    /// `pc+3`, `+3`, `-3`; `None` when a name stands there.
    fn eat_relative(&mut self, min: i64, max: i64) -> Result<Option<i64>> {
        match self.rest() {
            [
                Token { kind: Kind::Word("pc"), .. },
                Token { kind: Kind::Punct("+" | "-"), .. },
                ..,
            ] => self.at += 1,
            [Token { kind: Kind::Word(_), .. }, ..] => return Ok(None),
            [Token { kind: Kind::Punct("+" | "-"), .. }, ..] => {}
            _ => return self.expected("`pc+N`, `+N`, `-N` or a label"),
        }
        self.int(min, max).map(Some)
    }

    /// A label whose distance goes into `field` of the slot that is pushed next.
    pub(super) fn label(&mut self, field: Field) -> Result<()> {
        let token = *self.peek().ok_or_else(|| self.error("a label"))?;
        let Kind::Word(name) = token.kind else { return self.expected("a label") };
        if !self.program.labels.contains_key(name) {
            return self.unknown("a label of this program", name, token.col);
        }
        self.at += 1;
        let (slot, label) = (self.program.next_slot(), name.to_string());
        self.program.fixups.push(Fixup { slot, field, label, line: self.line, col: token.col });
        Ok(())
    }

    /// `pc+4`, `label`, `6`, `bpf_map_lookup_elem`, `name#6`, `kfunc_name#1234@1` after `call`.
    fn call(&mut self) -> Result<()> {
        match self.peek().map(|t| t.kind) {
            Some(Kind::Int(_)) => {
                let imm = self.imm32()?;
                return self.push(Insn::new(JMP | CALL, 0, 0, 0, imm));
            }
            Some(Kind::Word(_) | Kind::Punct("+" | "-")) => {}
            _ => return self.expected("a helper, kernel function or label, or `pc+N`"),
        }
        if let Some(rel) = self.eat_relative(i32::MIN.into(), i32::MAX.into())? {
            return self.push(Insn::call_rel(rel as i32));
        }
        let (name, col) = self.word("the name of a helper, kernel function or label")?;
        if self.eat("#") {
            let imm = self.imm32()?;
            let helper = helper_by_name(name).is_some_and(|helper| helper.0 == imm as u32);
            if helper || name == "unknown" {
                return self.push(Insn::new(JMP | CALL, 0, 0, 0, imm));
            }
            let off =
                if self.eat("@") { self.int(i16::MIN.into(), i16::MAX.into())? as i16 } else { 0 };
            return self.push(Insn::call_kfunc(imm, off));
        }
        if self.program.labels.contains_key(name) {
            self.at -= 1;
            self.label(Field::Imm)?;
            return self.push(Insn::call_rel(0));
        }
        if let Some(helper) = helper_by_name(name) {
            return self.push(Insn::call(helper));
        }
        match self.symbols.kfunc(name) {
            Some((btf_id, btf_idx)) => self.push(Insn::call_kfunc(btf_id, btf_idx)),
            None => self.unknown("a helper, kernel function or label", name, col),
        }
    }
}
