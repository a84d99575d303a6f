//! Random programs that do nothing undefined: every register and stack slot is written before it is read, every access is
//! in bounds, every loop ends.

mod calls;
mod idioms;
mod memory;

use super::*;
use arbitrary::{Result, Unstructured};
use stylet_insn::opcode as op;

/// Bytes of context, and of stack that programs use for data.
pub const CTX: i32 = 64;
const DATA: i32 = 64;
const CTX_REGS: [u8; 4] = [6, 7, 8, 9];
const IMMS: [i32; 20] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    7,
    8,
    10,
    16,
    31,
    32,
    100,
    0xff,
    0x100,
    0xffff,
    0x7fff_ffff,
    i32::MIN,
    -128,
    128,
];
const WIDE: [u64; 8] = [0, 1, u64::MAX, 1 << 63, 1 << 32, 0xffff_ffff, 1 << 40, 0x8000_0000];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Main,
    Sub,
    /// Takes and passes on what a `Sub` does, without a stack of its own.
    Thin,
    Callback,
}

struct Gen<'a, 'b> {
    u: &'a mut Unstructured<'b>,
    insns: Vec<Insn>,
    /// Calls and PSEUDO_FUNC loads: slot, callee.
    calls: Vec<(usize, usize)>,
    kinds: Vec<Kind>,
    cur: usize,
    ctx: u8,
    loops: i32,
    /// The program calls helpers that are real calls.
    helpers: bool,
}

/// A program with up to three others to tail-call.
pub fn case(u: &mut Unstructured) -> Result<Case> {
    let ctx = (0..CTX).map(|_| u.arbitrary()).collect::<Result<Vec<u8>>>()?;
    let mut case = Case::new(program(u)?, ctx);
    for _ in 0..u.int_in_range(0..=3)? {
        case.targets.push(Rc::new(unchecked(program(u)?)));
    }
    Ok(case)
}

fn program(u: &mut Unstructured) -> Result<Vec<Insn>> {
    let mut kinds = vec![Kind::Main];
    for _ in 0..u.int_in_range(0..=3)? {
        kinds.push(*u.choose(&[Kind::Callback, Kind::Sub, Kind::Sub, Kind::Thin])?);
    }
    let helpers = u.ratio(1, 2)?;
    let mut g =
        Gen { u, insns: Vec::new(), calls: Vec::new(), kinds, cur: 0, ctx: 6, loops: 0, helpers };
    let mut starts = Vec::new();
    for cur in 0..g.kinds.len() {
        g.cur = cur;
        starts.push(g.insns.len());
        g.func()?;
    }
    for (at, callee) in g.calls {
        g.insns[at].imm = starts[callee] as i32 - at as i32 - 1;
    }
    Ok(g.insns)
}

impl Gen<'_, '_> {
    fn push(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    fn lddw(&mut self, dst: u8, src: u8, lo: i32, hi: i32) {
        self.push(Insn::new(op::LDDW, dst, src, 0, lo));
        self.push(Insn::new(0, 0, 0, 0, hi));
    }

    fn imm(&mut self) -> Result<i32> {
        if self.u.ratio(2, 3)? { self.u.choose(&IMMS).copied() } else { self.u.arbitrary() }
    }

    /// A register with a number in it: any but the context's and the frame pointer.
    fn scalar(&mut self) -> Result<u8> {
        let r = self.u.int_in_range(0..=8)?;
        Ok(if r >= self.ctx { r + 1 } else { r })
    }

    fn set(&mut self, r: u8) -> Result<()> {
        match self.u.int_in_range(0..=3)? {
            0 => {
                let v = if self.u.arbitrary()? {
                    *self.u.choose(&WIDE)?
                } else {
                    self.u.arbitrary()?
                };
                self.lddw(r, 0, v as i32, (v >> 32) as i32);
            }
            1 => {
                let off = self.data_off(8)?;
                self.push(Insn::new(op::LDX | op::MEM | op::DW, r, 10, off, 0));
            }
            n => {
                let class = if n == 2 { op::ALU } else { op::ALU64 };
                let imm = self.imm()?;
                self.push(Insn::new(class | op::MOV | op::K, r, 0, 0, imm));
            }
        }
        Ok(())
    }

    fn func(&mut self) -> Result<()> {
        self.ctx = *self.u.choose(&CTX_REGS)?;
        self.loops = 0;
        let kind = self.kinds[self.cur];
        if kind == Kind::Thin {
            return self.thin();
        }
        let from = if kind == Kind::Callback { 2 } else { 1 };
        self.push(Insn::mov64_reg(self.ctx, from));
        for i in 1..=DATA / 8 {
            let imm = self.imm()?;
            self.push(Insn::new(op::ST | op::MEM | op::DW, 10, 0, (-8 * i) as i16, imm));
        }
        if kind != Kind::Main {
            let off = self.data_off(8)?;
            let arg = if kind == Kind::Callback { 1 } else { 4 };
            self.push(Insn::new(op::STX | op::MEM | op::DW, 10, arg, off, 0));
        }
        if kind == Kind::Sub {
            // R2 points to the caller's stack.
            let off = -self.data_off(8)? - 8;
            self.push(Insn::new(op::LDX | op::MEM | op::DW, 0, 2, off, 0));
            let off = -self.data_off(4)? - 8;
            self.push(Insn::new(op::STX | op::MEM | op::W, 2, 3, off.max(0), 0));
            let off = self.data_off(8)?;
            self.push(Insn::new(op::STX | op::MEM | op::DW, 10, 0, off, 0));
        }
        for r in 0..10 {
            if r != self.ctx {
                self.set(r)?;
            }
        }
        let size = self.u.int_in_range(1..=30)?;
        self.block(size, 0)?;
        let callees = self.callees();
        if kind == Kind::Sub && !callees.is_empty() && self.u.ratio(1, 4)? {
            // The last act is a call with a pointer to this function's stack.
            let callee = *self.u.choose(&callees)?;
            self.call_sub(callee);
            self.push(Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0));
            return Ok(());
        }
        self.fold()?;
        if kind == Kind::Callback {
            self.push(Insn::new(op::ALU64 | op::AND | op::K, 0, 0, 0, 1));
        }
        self.push(Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0));
        Ok(())
    }

    /// R0 = something of some registers and the stack; the others are dead after their last use.
    fn fold(&mut self) -> Result<()> {
        for r in 1..10 {
            if r != self.ctx && self.u.arbitrary()? {
                self.push(Insn::new(op::ALU64 | op::XOR | op::X, 0, r, 0, 0));
                self.push(Insn::new(op::ALU64 | op::MUL | op::K, 0, 0, 0, 0x0100_0193));
            }
        }
        for i in 1..=DATA / 8 {
            self.push(Insn::new(op::LDX | op::MEM | op::DW, 1, 10, (-8 * i) as i16, 0));
            self.push(Insn::new(op::ALU64 | op::ADD | op::X, 0, 1, 0, 0));
        }
        Ok(())
    }

    fn block(&mut self, size: usize, depth: u32) -> Result<()> {
        for _ in 0..size {
            match self.u.int_in_range(0..=26)? {
                0..=8 => self.alu()?,
                9 => {
                    let r = self.scalar()?;
                    self.set(r)?;
                }
                10..=12 => self.access()?,
                13..=14 => self.computed_access()?,
                15 => self.atomic()?,
                16..=18 if depth < 3 => self.branch(depth)?,
                19 if depth < 2 => self.bounded_loop(depth)?,
                20 => self.local_call()?,
                21..=22 => self.helper()?,
                23 => self.tail_call()?,
                24 | 25 => self.rotation()?,
                26 => self.test_bits()?,
                _ => self.alu()?,
            }
        }
        Ok(())
    }

    fn alu(&mut self) -> Result<()> {
        let (dst, src, imm) = (self.scalar()?, self.scalar()?, self.imm()?);
        let w: bool = self.u.arbitrary()?;
        let class = if w { op::ALU64 } else { op::ALU };
        let by_reg: bool = self.u.arbitrary()?;
        let x = if by_reg { op::X } else { op::K };
        let src = if by_reg { src } else { 0 };
        let imm = if by_reg { 0 } else { imm };
        let insn = match self.u.int_in_range(0..=15)? {
            0 => Insn::new(class | op::NEG, dst, 0, 0, 0),
            1 => {
                let bits = *self.u.choose(&[16, 32, 64])?;
                let (class, to) = *self.u.choose(&[
                    (op::ALU, op::TO_LE),
                    (op::ALU, op::TO_BE),
                    (op::ALU64, op::TO_LE),
                ])?;
                Insn::new(class | op::END | to, dst, 0, 0, bits)
            }
            2 => {
                let off = *self.u.choose(if w { &[8i16, 16, 32] as &[i16] } else { &[8, 16] })?;
                let src = self.scalar()?;
                Insn::new(class | op::MOV | op::X, dst, src, off, 0)
            }
            3 | 4 => Insn::new(class | op::MOV | x, dst, src, 0, imm),
            5 => Insn::new(class | op::DIV | x, dst, src, self.u.int_in_range(0..=1)?, imm),
            6 => Insn::new(class | op::MOD | x, dst, src, self.u.int_in_range(0..=1)?, imm),
            7 | 8 => {
                let shift = *self.u.choose(&[op::LSH, op::RSH, op::ARSH])?;
                let most = if w { 63 } else { 31 };
                let small = if self.u.arbitrary()? { imm & 3 } else { imm & most };
                Insn::new(class | shift | x, dst, src, 0, small)
            }
            9 if w => {
                // The idioms for narrowing.
                let by = *self.u.choose(&[32, 48, 56, 33])?;
                self.push(Insn::new(op::ALU64 | op::LSH, dst, 0, 0, by));
                Insn::new(op::ALU64 | *self.u.choose(&[op::RSH, op::ARSH])?, dst, 0, 0, by)
            }
            10 => Insn::new(class | op::AND | op::K, dst, 0, 0, imm),
            _ => {
                let alu = *self.u.choose(&[
                    op::ADD,
                    op::ADD,
                    op::SUB,
                    op::MUL,
                    op::OR,
                    op::AND,
                    op::XOR,
                ])?;
                Insn::new(class | alu | x, dst, src, 0, imm)
            }
        };
        self.push(insn);
        Ok(())
    }

    fn branch(&mut self, depth: u32) -> Result<()> {
        let conds = [
            op::JEQ,
            op::JGT,
            op::JGE,
            op::JSET,
            op::JNE,
            op::JSGT,
            op::JSGE,
            op::JLT,
            op::JLE,
            op::JSLT,
            op::JSLE,
        ];
        let class = if self.u.arbitrary()? { op::JMP } else { op::JMP32 };
        let (dst, src, imm) = (self.scalar()?, self.scalar()?, self.imm()?);
        let cond = *self.u.choose(&conds)?;
        let at = self.insns.len();
        if self.u.arbitrary()? {
            self.push(Insn::new(class | cond | op::K, dst, 0, 0, imm));
        } else {
            self.push(Insn::new(class | cond | op::X, dst, src, 0, 0));
        }
        let size = self.u.int_in_range(0..=6)?;
        self.block(size, depth + 1)?;
        if self.u.arbitrary()? {
            let ja = self.insns.len();
            let long = self.u.arbitrary()?;
            self.push(Insn::new(
                if long { op::JMP32 | op::JA } else { op::JMP | op::JA },
                0,
                0,
                0,
                0,
            ));
            self.insns[at].off = (self.insns.len() - at - 1) as i16;
            let size = self.u.int_in_range(0..=6)?;
            self.block(size, depth + 1)?;
            let by = self.insns.len() - ja - 1;
            if long {
                self.insns[ja].imm = by as i32;
            } else {
                self.insns[ja].off = by as i16;
            }
        } else {
            self.insns[at].off = (self.insns.len() - at - 1) as i16;
        }
        Ok(())
    }

    fn bounded_loop(&mut self, depth: u32) -> Result<()> {
        self.loops += 1;
        let counter = (-DATA - 8 * self.loops) as i16;
        if self.loops > 50 {
            return Ok(());
        }
        let n = self.u.int_in_range(1..=4)?;
        self.push(Insn::new(op::ST | op::MEM | op::DW, 10, 0, counter, n));
        let top = self.insns.len();
        let size = self.u.int_in_range(1..=6)?;
        self.block(size, depth + 1)?;
        let r = self.scalar()?;
        self.push(Insn::new(op::LDX | op::MEM | op::DW, r, 10, counter, 0));
        self.push(Insn::new(op::ALU64 | op::ADD | op::K, r, 0, 0, -1));
        self.push(Insn::new(op::STX | op::MEM | op::DW, 10, r, counter, 0));
        let off = top as i64 - self.insns.len() as i64 - 1;
        self.push(Insn::new(op::JMP | op::JNE | op::K, r, 0, off as i16, 0));
        Ok(())
    }
}
