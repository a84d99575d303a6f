//! Assignments.

use super::lex::{Kind, Token};
use super::operand::WIDE_REG;
use super::parse::{Parser, Reg};
use super::{AsmError, Field};
use crate::Insn;
use crate::opcode::*;

type Result<T> = core::result::Result<T, AsmError>;

/// What stands right of `=`.
impl<'t> Parser<'t, '_> {
    /// The operator and the right side after a register.
    pub(super) fn assignment(&mut self, dst: Reg) -> Result<()> {
        const OPERATORS: &[(&str, u8, i16)] = &[
            ("=", MOV, 0),
            ("+=", ADD, 0),
            ("-=", SUB, 0),
            ("*=", MUL, 0),
            ("/=", DIV, 0),
            ("|=", OR, 0),
            ("&=", AND, 0),
            ("<<=", LSH, 0),
            (">>=", RSH, 0),
            ("%=", MOD, 0),
            ("^=", XOR, 0),
            ("s>>=", ARSH, 0),
            ("s/=", DIV, 1),
            ("s%=", MOD, 1),
        ];
        let operator = self
            .peek()
            .and_then(|t| OPERATORS.iter().find(|(text, ..)| t.kind == Kind::Punct(text)));
        let Some(&(_, op, off)) = operator else {
            return self.expected("`=` or an operator such as `+=`");
        };
        self.at += 1;
        if op == MOV {
            return self.right_side(dst);
        }
        let class = if dst.wide { ALU64 } else { ALU };
        if let Some(Token { kind: Kind::Word(_), .. }) = self.peek() {
            let src = self.same_width_reg(dst)?;
            return self.push(Insn::new(class | op | X, dst.no, src, off, 0));
        }
        let imm = self.imm32()?;
        self.push(Insn::new(class | op | K, dst.no, 0, off, imm))
    }

    fn right_side(&mut self, dst: Reg) -> Result<()> {
        let class = if dst.wide { ALU64 } else { ALU };
        match self.rest() {
            [Token { kind: Kind::Int(_), .. }, ..] | [_, Token { kind: Kind::Int(_), .. }, ..]
                if !matches!(self.peek().map(|t| t.kind), Some(Kind::Word(_))) =>
            {
                self.constant(dst)
            }
            [Token { kind: Kind::Punct("-"), .. }, ..] => {
                self.at += 1;
                if self.eat_reg()? != Some(dst) {
                    self.at -= 1;
                    return self.expected("the same register (negation is in place)");
                }
                self.push(Insn::new(class | NEG, dst.no, 0, 0, 0))
            }
            [Token { kind: Kind::Punct("("), .. }, ..] => self.sign_extension(dst),
            [Token { kind: Kind::Punct("*"), .. }, ..] => self.load(dst),
            [Token { kind: Kind::Word(_), .. }, ..] => {
                if let Some(src) = self.eat_reg()? {
                    if src.wide != dst.wide {
                        self.at -= 1;
                        return self.expected("a register of the same width");
                    }
                    return self.push(Insn::new(class | MOV | X, dst.no, src.no, 0, 0));
                }
                self.function(dst)
            }
            _ => self.expected("a register, a number, a load or a function such as `be16`"),
        }
    }

    /// `5`, `-5`, `5 ll`.
    fn constant(&mut self, dst: Reg) -> Result<()> {
        let start = self.at;
        let value = self.signed_int()?;
        if !self.eat_word("ll") && !self.log_wide(value) {
            self.at = start;
            let class = if dst.wide { ALU64 } else { ALU };
            let imm = self.imm32()?;
            return self.push(Insn::new(class | MOV | K, dst.no, 0, 0, imm));
        }
        let end = self.at;
        self.at = start;
        if !(i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value) {
            return self.out_of_range(value, i64::MIN, i64::MAX);
        }
        self.at = end;
        self.push_wide(dst, Insn::lddw(dst.no, value as u64))
    }

    /// A number too wide for 32 bits after `(18)`: a 64-bit load in a log.
    fn log_wide(&self, value: i128) -> bool {
        let is_log = self.tokens.windows(3).any(|w| {
            (w[0].kind, w[1].text, w[2].kind) == (Kind::Punct("("), "18", Kind::Punct(")"))
        });
        is_log && u32::try_from(value).is_err()
    }

    /// `(s8)r2`.
    fn sign_extension(&mut self, dst: Reg) -> Result<()> {
        self.punct("(")?;
        let bits = match self.peek().map(|t| t.kind) {
            Some(Kind::Word("s8")) => 8,
            Some(Kind::Word("s16")) => 16,
            Some(Kind::Word("s32")) if dst.wide => 32,
            _ => return self.expected("`s8`, `s16`, or for an `r` register `s32`"),
        };
        self.at += 1;
        self.punct(")")?;
        let src = self.same_width_reg(dst)?;
        let class = if dst.wide { ALU64 } else { ALU };
        self.push(Insn::new(class | MOV | X, dst.no, src, bits, 0))
    }

    /// `*(u64 *)(r1 +8)`, `*(s8 *)(r1 +8)`, `*(u8 *)skb[12]`.
    fn load(&mut self, dst: Reg) -> Result<()> {
        self.punct("*")?;
        let start = self.at;
        let (size, signed) = self.mem_type()?;
        if size == DW && (signed || !dst.wide) || signed && !dst.wide {
            self.at = start;
            return self.expected("a type that the register can hold");
        }
        if self.eat_word("skb") {
            return self.load_packet(dst, size, signed, start);
        }
        let (src, off) = self.base_and_off()?;
        let insn = if signed {
            Insn::ldxsx(size, dst.no, src, off)
        } else {
            Insn::ldx(size, dst.no, src, off)
        };
        self.push(insn)
    }

    fn load_packet(&mut self, dst: Reg, size: u8, signed: bool, start: usize) -> Result<()> {
        if dst != (Reg { no: 0, wide: true }) || signed || size == DW {
            self.at = start;
            return self.expected(
                "`r0 = *(u8 *)skb[...]` with u8, u16 or u32: packet loads have no other form",
            );
        }
        self.punct("[")?;
        let Some(src) = self.eat_reg()? else {
            let imm = self.imm32()?;
            self.punct("]")?;
            return self.push(Insn::ld_abs(size, imm));
        };
        let imm = match self.peek().map(|t| t.kind) {
            Some(Kind::Punct("+")) => {
                self.at += 1;
                self.imm32()?
            }
            Some(Kind::Punct("-")) => self.imm32()?,
            _ => 0,
        };
        self.punct("]")?;
        self.push(Insn::ld_ind(size, src.no, imm))
    }

    /// A word right of `=` that is no register.
    fn function(&mut self, dst: Reg) -> Result<()> {
        let (name, col) = self.word("a function such as `be16`")?;
        let swap = [("le", ALU | END | TO_LE), ("be", ALU | END | TO_BE), ("bswap", ALU64 | END)];
        for (prefix, code) in swap {
            let bits = name.strip_prefix(prefix).and_then(|bits| bits.parse().ok());
            if let Some(bits @ (16 | 32 | 64)) = bits {
                if self.eat_reg()? != Some(dst) || !dst.wide {
                    self.at -= 1;
                    return self.expected("the same `r` register (the swap is in place)");
                }
                return self.push(Insn::new(code, dst.no, 0, 0, bits));
            }
        }
        match name {
            "addr_space_cast" => self.addr_space_cast(dst),
            "load_acquire" => {
                self.punct("(")?;
                let (size, src, off) = self.bare_mem_operand()?;
                self.punct(")")?;
                self.check_width(dst, size)?;
                self.push(Insn::atomic(size, LOAD_ACQ, dst.no, src, off))
            }
            "map" => self.map_load(dst),
            "subprog" => {
                self.punct("[")?;
                let rel = self.imm32()?;
                self.punct("]")?;
                self.push_wide_ll(dst, Insn::ld_func(dst.no, rel))
            }
            "btf_id" => {
                self.punct("[")?;
                let id = self.imm32()?;
                let fd = if self.eat(":") { self.imm32()? } else { 0 };
                self.punct("]")?;
                self.push_wide_ll(dst, Insn::lddw_pseudo(dst.no, PSEUDO_BTF_ID, id, fd))
            }
            _ if name.starts_with("atomic")
                || name.starts_with("xchg")
                || name.starts_with("cmpxchg") =>
            {
                self.atomic(dst, name, col)
            }
            _ => self.symbol(dst, name, col),
        }
    }

    fn addr_space_cast(&mut self, dst: Reg) -> Result<()> {
        self.punct("(")?;
        let src = self.same_width_reg(dst)?;
        self.punct(",")?;
        let to = self.int(0, u16::MAX.into())? as u16;
        self.punct(",")?;
        let from = self.int(0, u16::MAX.into())? as u16;
        self.punct(")")?;
        self.check_width(dst, DW)?;
        self.push(Insn::addr_space_cast(dst.no, src, to, from))
    }

    /// `[3]`, `[name]`, `[fd:5]`, each with `[0]+off` for an address in the value.
    fn map_load(&mut self, dst: Reg) -> Result<()> {
        self.punct("[")?;
        let by_fd = matches!(
            self.rest(),
            [Token { kind: Kind::Word("fd" | "id"), .. }, Token { kind: Kind::Punct(":"), .. }, ..]
        );
        let imm = match self.peek().map(|t| (t.kind, t.col)) {
            Some(_) if by_fd => {
                self.at += 2;
                self.imm32()?
            }
            Some((Kind::Word(name), col)) => match self.symbols.map(name) {
                Some(idx) => {
                    self.at += 1;
                    idx
                }
                None => return self.unknown("a map", name, col),
            },
            _ => self.imm32()?,
        };
        self.punct("]")?;
        let off = if self.eat("[") {
            self.int(0, 0)?;
            self.punct("]")?;
            Some(if matches!(self.peek().map(|t| t.kind), Some(Kind::Punct(_))) {
                self.imm32()?
            } else {
                0
            })
        } else {
            None
        };
        let pseudo = match (by_fd, off) {
            (true, None) => PSEUDO_MAP_FD,
            (true, Some(_)) => PSEUDO_MAP_VALUE,
            (false, None) => PSEUDO_MAP_IDX,
            (false, Some(_)) => PSEUDO_MAP_IDX_VALUE,
        };
        self.push_wide_ll(dst, Insn::lddw_pseudo(dst.no, pseudo, imm, off.unwrap_or(0)))
    }

    /// `name ll`: a function of this program or a map.
    fn symbol(&mut self, dst: Reg, name: &str, col: u32) -> Result<()> {
        if self.program.labels.contains_key(name) {
            self.at -= 1;
            self.label(Field::Imm)?;
            return self.push_wide_ll(dst, Insn::ld_func(dst.no, 0));
        }
        match self.symbols.map(name) {
            Some(idx) => self.push_wide_ll(dst, Insn::ld_map_idx(dst.no, idx)),
            None => {
                self.unknown("a register, a function such as `be16`, a map or a label", name, col)
            }
        }
    }

    /// The kernel's `atomic64_fetch_add((u64 *)(r1 +0), r2)` and clang's `xchg_64(r1 + 0, r2)`.
    fn atomic(&mut self, dst: Reg, name: &str, col: u32) -> Result<()> {
        let (op, clang_size) = match name {
            "atomic_fetch_add" | "atomic64_fetch_add" => (i32::from(ADD) | FETCH, None),
            "atomic_fetch_or" | "atomic64_fetch_or" => (i32::from(OR) | FETCH, None),
            "atomic_fetch_and" | "atomic64_fetch_and" => (i32::from(AND) | FETCH, None),
            "atomic_fetch_xor" | "atomic64_fetch_xor" => (i32::from(XOR) | FETCH, None),
            "atomic_xchg" | "atomic64_xchg" => (XCHG, None),
            "atomic_cmpxchg" | "atomic64_cmpxchg" => (CMPXCHG, None),
            "xchg_64" => (XCHG, Some(DW)),
            "xchg32_32" => (XCHG, Some(W)),
            "cmpxchg_64" => (CMPXCHG, Some(DW)),
            "cmpxchg32_32" => (CMPXCHG, Some(W)),
            _ => return self.symbol(dst, name, col),
        };
        self.punct("(")?;
        let start = self.at;
        let (size, base, off) = match clang_size {
            Some(size) => {
                let base = self.wide_reg(WIDE_REG)?;
                (size, base, self.offset()?)
            }
            None => self.bare_mem_operand()?,
        };
        if !matches!(size, W | DW) || (name.starts_with("atomic64") && size != DW) {
            self.at = start;
            return self.expected("`u64`, or without `64` in the name `u32`");
        }
        self.punct(",")?;
        if op == CMPXCHG {
            if self.sized_reg(size)? != 0 {
                self.at -= 1;
                return self.expected("`r0`: the value to compare with");
            }
            self.punct(",")?;
        }
        let src_at = self.at;
        let src = self.sized_reg(size)?;
        let result = if op == CMPXCHG { 0 } else { src };
        if dst.no != result {
            self.at = src_at;
            return self.expected(
                "the register left of `=` (`r0` for cmpxchg): it receives the old value",
            );
        }
        self.check_width(dst, size)?;
        self.punct(")")?;
        self.push(Insn::atomic(size, op, base, src, off))
    }
}
