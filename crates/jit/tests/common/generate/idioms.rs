//! Sequences that the compiler takes together.

use super::*;

impl Gen<'_, '_> {
    /// What compilers make of a rotation, with one of its parts sometimes different.
    pub(super) fn rotation(&mut self) -> Result<()> {
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
    pub(super) fn test_bits(&mut self) -> Result<()> {
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
}
