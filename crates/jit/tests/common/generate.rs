//! Random programs that do nothing undefined: every register and stack slot is written before it is read, every access is
//! in bounds, every loop ends.

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

    /// A function that only moves registers and calls, last a function in its stead if there is one.
    fn thin(&mut self) -> Result<()> {
        if self.u.arbitrary()? && self.helpers {
            for (to, from) in [(6, 1), (7, 2), (8, 3), (9, 4)] {
                self.push(Insn::mov64_reg(to, from));
            }
            // Addresses differ between the two sides.
            self.push(Insn::mov64_imm(1, 1));
            self.push(Insn::mov64_imm(2, 2));
            self.push(Insn::new(op::JMP | op::CALL, 0, op::PSEUDO_KFUNC_CALL, 0, KFUNC_MIX as i32));
            for (to, from) in [(1, 6), (2, 7), (3, 8), (4, 9)] {
                self.push(Insn::mov64_reg(to, from));
            }
            self.push(Insn::new(op::ALU64 | op::ADD | op::X, 3, 0, 0, 0));
        }
        let imm = self.imm()?;
        self.push(Insn::new(op::ALU | op::ADD | op::K, 3, 0, 0, imm));
        self.push(Insn::new(op::ALU64 | op::XOR | op::X, 4, 3, 0, 0));
        let next = (self.cur + 1..self.kinds.len())
            .find(|&f| matches!(self.kinds[f], Kind::Sub | Kind::Thin));
        match next {
            Some(callee) => {
                self.calls.push((self.insns.len(), callee));
                self.push(Insn::new(op::JMP | op::CALL, 0, op::PSEUDO_CALL, 0, 0));
            }
            None => self.push(Insn::mov64_reg(0, 4)),
        }
        self.push(Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0));
        Ok(())
    }

    /// What compilers make of a rotation, with one of its parts sometimes different.
    fn rotation(&mut self) -> Result<()> {
        let (x, a, b) = (self.scalar()?, self.scalar()?, self.scalar()?);
        if x == a || a == b {
            return Ok(());
        }
        let class = if self.u.arbitrary()? { op::ALU64 } else { op::ALU };
        let bits = if class == op::ALU64 { 64 } else { 32 };
        let n = self.u.int_in_range(1..=bits - 1)?;
        let m = if self.u.ratio(1, 8)? { n } else { bits - n };
        let (left, right) =
            if self.u.arbitrary()? { (op::LSH, op::RSH) } else { (op::RSH, op::LSH) };
        let first = [Insn::mov64_reg(a, x), Insn::new(class | left, a, 0, 0, n)];
        let mut second = vec![Insn::new(class | right, b, 0, 0, m)];
        if b != x {
            second.insert(0, Insn::mov64_reg(b, x));
        }
        self.insns.extend(first);
        if self.u.ratio(1, 3)? {
            self.alu()?;
        }
        self.insns.extend(second);
        if self.u.ratio(1, 8)? {
            self.alu()?;
        }
        let (to, from) = if self.u.arbitrary()? { (a, b) } else { (b, a) };
        self.push(Insn::new(class | op::OR | op::X, to, from, 0, 0));
        if self.u.ratio(3, 4)? {
            self.set(from)?;
        }
        Ok(())
    }

    /// A test of some bits, the result used only for the jump.
    fn test_bits(&mut self) -> Result<()> {
        let (a, b, c) = (self.scalar()?, self.scalar()?, self.scalar()?);
        let class = if self.u.arbitrary()? { op::ALU64 } else { op::ALU };
        let imm = self.imm()?;
        if a == c {
            return Ok(());
        }
        if self.u.arbitrary()? {
            self.push(Insn::mov64_reg(a, c));
        }
        let x = if self.u.arbitrary()? { op::X } else { op::K };
        self.push(if x == op::X {
            Insn::new(class | op::AND | op::X, a, b, 0, 0)
        } else {
            Insn::new(class | op::AND, a, 0, 0, imm)
        });
        let (jump, cond) =
            (*self.u.choose(&[op::JMP, op::JMP32])?, *self.u.choose(&[op::JEQ, op::JNE])?);
        let out = self.u.int_in_range(0..=1)?;
        self.push(Insn::new(jump | cond | op::K, a, 0, 1, 0));
        self.push(if out == 0 {
            Insn::new(op::JMP | op::JA, 0, 0, 1, 0)
        } else {
            Insn::new(op::ALU64 | op::ADD, c, 0, 0, 5)
        });
        self.push(Insn::new(op::ALU64 | op::XOR, c, 0, 0, 3));
        self.set(a)
    }

    fn data_off(&mut self, size: i16) -> Result<i16> {
        let off = self.u.int_in_range(0..=DATA as i16 - size)?;
        Ok(if self.u.ratio(1, 4)? { off } else { off & -size } - DATA as i16)
    }

    /// A base register and an offset in the context or the stack.
    fn place(&mut self, size: i16) -> Result<(u8, i16)> {
        let off = self.data_off(size)?;
        Ok(if self.u.arbitrary()? { (10, off) } else { (self.ctx, off + DATA as i16) })
    }

    fn size(&mut self) -> Result<(u8, i16)> {
        self.u.choose(&[(op::B, 1), (op::H, 2), (op::W, 4), (op::DW, 8)]).copied()
    }

    fn access_at(&mut self, base: u8, off: i16, size: u8) -> Result<()> {
        let (r, imm) = (self.scalar()?, self.imm()?);
        let insn = match self.u.int_in_range(0..=4)? {
            0 => Insn::new(op::ST | op::MEM | size, base, 0, off, imm),
            1 => Insn::new(op::STX | op::MEM | size, base, r, off, 0),
            2 if size != op::DW => Insn::new(op::LDX | op::MEMSX | size, r, base, off, 0),
            _ => Insn::new(op::LDX | op::MEM | size, r, base, off, 0),
        };
        // A pointer must not be stored, nor lost while it is the base.
        let stores_base = insn.class() == op::STX && insn.src == base;
        if !stores_base {
            self.push(insn);
        }
        Ok(())
    }

    fn access(&mut self) -> Result<()> {
        let (size, bytes) = self.size()?;
        let (base, off) = self.place(bytes)?;
        self.access_at(base, off, size)
    }

    /// p = base (+ offset) + (index & mask) (<< shift), some accesses, p or index a number again.
    fn computed_access(&mut self) -> Result<()> {
        let (p, index) = (self.scalar()?, self.scalar()?);
        if p == index {
            return Ok(());
        }
        let (size, bytes) = self.size()?;
        let base = if self.u.arbitrary()? { 10 } else { self.ctx };
        let low = if base == 10 { -DATA } else { 0 };
        let shift = self.u.int_in_range(0..=3)?;
        let class = if self.u.arbitrary()? { op::ALU } else { op::ALU64 };
        self.push(Insn::new(class | op::AND | op::K, index, 0, 0, 3));
        if shift != 0 {
            self.push(Insn::new(op::ALU64 | op::LSH | op::K, index, 0, 0, shift));
        }
        let early = if self.u.arbitrary()? { low } else { 0 };
        if self.u.arbitrary()? {
            self.push(Insn::mov64_reg(p, base));
            self.push(Insn::new(op::ALU64 | op::ADD | op::K, p, 0, 0, early));
            self.push(Insn::new(op::ALU64 | op::ADD | op::X, p, index, 0, 0));
        } else {
            self.push(Insn::mov64_reg(p, index));
            self.push(Insn::new(op::ALU64 | op::ADD | op::K, p, 0, 0, early));
            self.push(Insn::new(op::ALU64 | op::ADD | op::X, p, base, 0, 0));
        }
        for _ in 0..self.u.int_in_range(1..=3)? {
            let off = (low - early) as i16 + self.u.int_in_range(0..=DATA as i16 - 24 - bytes)?;
            match self.u.int_in_range(0..=5)? {
                0 => {
                    // The pointer is overwritten by what it points to.
                    self.push(Insn::new(op::LDX | op::MEM | size, p, p, off, 0));
                    return Ok(());
                }
                1 => self.push(Insn::new(op::LDX | op::MEM | size, index, p, off, 0)),
                2 => {
                    let r = self.scalar()?;
                    if r != p {
                        self.push(Insn::new(op::STX | op::MEM | size, p, r, off, 0));
                    }
                }
                _ => {
                    let r = self.scalar()?;
                    self.push(Insn::new(op::LDX | op::MEM | size, r, p, off, 0));
                    if r == p {
                        return Ok(());
                    }
                }
            }
        }
        self.set(p)
    }

    fn atomic(&mut self) -> Result<()> {
        let (size, bytes) = if self.u.arbitrary()? { (op::W, 4) } else { (op::DW, 8) };
        let (base, off) = self.place(bytes)?;
        let r = self.scalar()?;
        let kinds = [
            0,
            1,
            0x40,
            0x41,
            0x50,
            0x51,
            0xa0,
            0xa1,
            op::XCHG,
            op::CMPXCHG,
            op::LOAD_ACQ,
            op::STORE_REL,
        ];
        let kind = *self.u.choose(&kinds)?;
        let code = op::STX | op::ATOMIC | size;
        let insn = match kind {
            op::LOAD_ACQ => Insn::new(code, r, base, off, kind),
            _ => Insn::new(code, base, r, off, kind),
        };
        if kind == op::CMPXCHG && self.u.arbitrary()? {
            // Let the comparison hold.
            self.push(Insn::new(op::LDX | op::MEM | size, 0, base, off, 0));
        }
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

    /// R1 to R5 again numbers after a call.
    fn after_call(&mut self) -> Result<()> {
        for r in 1..6 {
            self.set(r)?;
        }
        Ok(())
    }

    fn local_call(&mut self) -> Result<()> {
        let callees: Vec<usize> = (self.cur + 1..self.kinds.len())
            .filter(|&f| matches!(self.kinds[f], Kind::Sub | Kind::Thin))
            .collect();
        if callees.is_empty() {
            return Ok(());
        }
        let callee = *self.u.choose(&callees)?;
        self.push(Insn::mov64_reg(1, self.ctx));
        self.push(Insn::mov64_reg(2, 10));
        self.push(Insn::new(op::ALU64 | op::ADD | op::K, 2, 0, 0, -DATA));
        self.calls.push((self.insns.len(), callee));
        self.push(Insn::new(op::JMP | op::CALL, 0, op::PSEUDO_CALL, 0, 0));
        self.after_call()
    }

    fn helper(&mut self) -> Result<()> {
        let callbacks: Vec<usize> =
            (self.cur + 1..self.kinds.len()).filter(|&f| self.kinds[f] == Kind::Callback).collect();
        let call = |id| Insn::new(op::JMP | op::CALL, 0, 0, 0, id as i32);
        match self.u.int_in_range(0..=5)? {
            0 => self.push(call(HELPER_COOKIE)),
            1 => self.push(call(HELPER_SLOT)),
            2 => return self.lookup(),
            3 if self.helpers => self.push(Insn::new(
                op::JMP | op::CALL,
                0,
                op::PSEUDO_KFUNC_CALL,
                0,
                KFUNC_MIX as i32,
            )),
            4 if self.helpers && !callbacks.is_empty() => {
                let callee = *self.u.choose(&callbacks)?;
                let n = self.u.int_in_range(0..=3)?;
                self.push(Insn::mov64_imm(1, n));
                self.calls.push((self.insns.len(), callee));
                self.lddw(2, op::PSEUDO_FUNC, 0, 0);
                self.push(Insn::mov64_reg(3, self.ctx));
                self.push(call(HELPER_LOOP));
            }
            _ if self.helpers => self.push(call(HELPER_MIX)),
            _ => return Ok(()),
        }
        self.after_call()
    }

    /// Looks up a value of the array and changes it; sometimes through its address instead.
    fn lookup(&mut self) -> Result<()> {
        let value = self.u.int_in_range(0..=ARRAY_ELEM as i16 - 8)?;
        if self.u.ratio(1, 3)? {
            let (p, r) = (self.scalar()?, self.scalar()?);
            if p == r {
                return Ok(());
            }
            self.lddw(p, op::PSEUDO_MAP_IDX_VALUE, 0, i32::from(value));
            self.push(Insn::new(op::LDX | op::MEM | op::DW, r, p, 0, 0));
            self.push(Insn::new(op::ALU64 | op::ADD | op::K, r, 0, 0, 1));
            self.push(Insn::new(op::STX | op::MEM | op::DW, p, r, 4, 0));
            self.push(Insn::new(op::ST | op::MEM | op::W, p, 0, 0, 7));
            return self.set(p);
        }
        let off = self.data_off(4)?;
        let index = self.u.int_in_range(0..=ARRAY_ENTRIES as i32)?;
        self.push(Insn::new(op::ST | op::MEM | op::W, 10, 0, off, index));
        self.lddw(1, op::PSEUDO_MAP_IDX, 0, 0);
        self.push(Insn::mov64_reg(2, 10));
        self.push(Insn::new(op::ALU64 | op::ADD | op::K, 2, 0, 0, i32::from(off)));
        self.push(Insn::new(op::JMP | op::CALL, 0, 0, 0, HELPER_LOOKUP as i32));
        self.push(Insn::new(op::JMP | op::JEQ | op::K, 0, 0, 3, 0));
        self.push(Insn::mov64_imm(1, 3));
        self.push(Insn::new(op::STX | op::ATOMIC | op::DW, 0, 1, value, 0));
        self.push(Insn::new(op::LDX | op::MEM | op::DW, 0, 0, value, 0));
        self.after_call()
    }

    fn tail_call(&mut self) -> Result<()> {
        if self.kinds[self.cur] == Kind::Callback {
            return Ok(());
        }
        self.push(Insn::mov64_reg(1, self.ctx));
        self.lddw(2, op::PSEUDO_MAP_IDX, 1, 0);
        let index = self.u.int_in_range(0..=5)?;
        self.push(Insn::mov64_imm(3, index));
        self.push(Insn::new(op::JMP | op::CALL, 0, 0, 0, HELPER_TAIL_CALL as i32));
        self.set(0)?;
        self.after_call()
    }
}
