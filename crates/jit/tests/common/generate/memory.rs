//! Accesses of the context and the stack.

use super::*;

impl Gen<'_, '_> {
    pub(super) fn data_off(&mut self, size: i16) -> Result<i16> {
        let off = self.u.int_in_range(0..=DATA as i16 - size)?;
        Ok(if self.u.ratio(1, 4)? { off } else { off & -size } - DATA as i16)
    }

    /// A base register and an offset in the context or the stack.
    pub(super) fn place(&mut self, size: i16) -> Result<(u8, i16)> {
        let off = self.data_off(size)?;
        Ok(if self.u.arbitrary()? { (10, off) } else { (self.ctx, off + DATA as i16) })
    }

    pub(super) fn size(&mut self) -> Result<(u8, i16)> {
        self.u.choose(&[(op::B, 1), (op::H, 2), (op::W, 4), (op::DW, 8)]).copied()
    }

    pub(super) fn access_at(&mut self, base: u8, off: i16, size: u8) -> Result<()> {
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

    pub(super) fn access(&mut self) -> Result<()> {
        let (size, bytes) = self.size()?;
        let (base, off) = self.place(bytes)?;
        self.access_at(base, off, size)
    }

    /// p = base (+ offset) + (index & mask) (<< shift), some accesses, p or index a number again.
    pub(super) fn computed_access(&mut self) -> Result<()> {
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
            if self.u.arbitrary()? {
                // An address that is computed before more is added to it.
                self.push(Insn::new(op::ALU64 | op::XOR | op::K, p, 0, 0, 0));
            }
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

    pub(super) fn atomic(&mut self) -> Result<()> {
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
}
