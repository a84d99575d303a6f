//! Statements on numbers, the stack and map values.

use arbitrary::Result;
use stylet_insn::{Insn, opcode::*};

use super::emit::{BUFFER_SIZE, Gen, slot};

impl Gen<'_, '_> {
    pub fn alu(&mut self) -> Result<()> {
        let (dst, src) = (self.number()?, self.number()?);
        let wide = self.below(3)? > 0;
        let insn = match self.below(16)? {
            0 => Insn::movsx64(dst, src, self.pick(&[8, 16, 32])?),
            1 => Insn::movsx32(dst, src, self.pick(&[8, 16])?),
            2 => self.pick(&[
                Insn::neg64(dst),
                Insn::neg32(dst),
                Insn::bswap(dst, 16),
                Insn::bswap(dst, 64),
                Insn::endian(TO_BE, dst, 32),
            ])?,
            3 => self.division(dst, src, wide)?,
            4 | 5 => {
                let bits = self.below(if wide { 64 } else { 32 })? as i32;
                let op = self.pick(&[LSH, RSH, ARSH])?;
                if wide { Insn::alu64_imm(op, dst, bits) } else { Insn::alu32_imm(op, dst, bits) }
            }
            6 if wide => Insn::mov64_reg(dst, src),
            6 => Insn::mov32_reg(dst, src),
            n => {
                let op = self.pick(&[ADD, ADD, SUB, AND, AND, OR, XOR, MUL])?;
                match (n < 9, wide) {
                    (true, true) => Insn::alu64_reg(op, dst, src),
                    (true, false) => Insn::alu32_reg(op, dst, src),
                    (false, true) => Insn::alu64_imm(op, dst, self.imm()?),
                    (false, false) => Insn::alu32_imm(op, dst, self.imm()?),
                }
            }
        };
        self.push(insn);
        Ok(())
    }

    fn division(&mut self, dst: u8, src: u8, wide: bool) -> Result<Insn> {
        let op = self.pick(&[DIV, MOD])?;
        let by = self.imm()?.max(1);
        let insn = match (self.u.arbitrary()?, wide) {
            (true, true) => Insn::alu64_reg(op, dst, src),
            (true, false) => Insn::alu32_reg(op, dst, src),
            (false, true) => Insn::alu64_imm(op, dst, by),
            (false, false) => Insn::alu32_imm(op, dst, by),
        };
        Ok(if self.u.arbitrary()? { insn.signed() } else { insn })
    }

    /// An offset in the three slots of numbers.
    fn stack_slot(&mut self, size: u8) -> Result<i16> {
        let bytes = bytes(size);
        let base = slot::NUMBERS - 8 * self.below(3)? as i16;
        let within = bytes * self.below(8 / bytes as u32)? as i16;
        Ok(if self.below(3)? == 0 { base + within } else { base })
    }

    pub fn spill(&mut self) -> Result<()> {
        let size = self.size()?;
        let (reg, off) = (self.number()?, self.stack_slot(size)?);
        let insn = if self.below(4)? == 0 {
            Insn::st(size, 10, off, self.imm()?)
        } else {
            Insn::stx(size, 10, reg, off)
        };
        self.push(insn);
        Ok(())
    }

    pub fn fill(&mut self) -> Result<()> {
        let size = self.size()?;
        let (reg, off) = (self.number()?, self.stack_slot(size)?);
        let signed = size != DW && self.below(4)? == 0;
        self.push(if signed {
            Insn::ldxsx(size, reg, 10, off)
        } else {
            Insn::ldx(size, reg, 10, off)
        });
        Ok(())
    }

    /// Makes `reg` at most `most`, in one of the ways that programs have; sometimes not quite.
    pub fn bound(&mut self, reg: u8, most: i32) -> Result<()> {
        let most = if self.slip()? { most + 1 } else { most };
        let mask = (most as u32 + 1).next_power_of_two() as i32 / 2 - 1;
        match self.below(7)? {
            0 => self.leave(Insn::jmp_imm(JGT, reg, most, 0))?,
            1 => self.push(Insn::alu64_imm(AND, reg, mask.max(0))),
            2 => self.push(Insn::alu32_imm(AND, reg, mask.max(0))),
            3 => {
                self.leave(Insn::jmp_imm(JSGT, reg, most, 0))?;
                self.leave(Insn::jmp_imm(JSLT, reg, 0, 0))?;
            }
            4 => {
                self.push(Insn::mov32_reg(reg, reg));
                self.leave(Insn::jmp32_imm(JGT, reg, most, 0))?;
            }
            5 => self.push(Insn::alu64_imm(MOD, reg, most + 1)),
            // the bound of a copy holds for both
            _ => {
                let copy = if reg == 9 { 8 } else { 9 };
                self.push(Insn::mov64_reg(copy, reg));
                self.leave(Insn::jmp_imm(JGT, copy, most, 0))?;
            }
        }
        if self.held > 0 {
            self.push(Insn::alu64_imm(AND, reg, mask.max(0)));
        }
        Ok(())
    }

    /// An access at `r6` plus a number that is most often bounded right before.
    pub fn access(&mut self) -> Result<()> {
        let (reg, size) = (self.number()?, self.size()?);
        let most = self.reach - i32::from(bytes(size));
        self.push(Insn::mov64_reg(1, 6));
        let mut room = most;
        if self.below(3)? > 0 {
            let used = self.u.int_in_range(0..=most.max(0))?;
            if !self.slip()? {
                self.bound(reg, used)?;
            }
            let op = if self.slip()? { SUB } else { ADD };
            self.push(Insn::alu64_reg(op, 1, reg));
            room -= used;
        }
        let off = if self.slip()? { room + 1 } else { self.u.int_in_range(0..=room.max(0))? };
        self.at(1, size, off as i16)
    }

    /// A load, a store or an atomic operation of numbers.
    pub fn at(&mut self, base: u8, size: u8, off: i16) -> Result<()> {
        let reg = self.number()?;
        let atomic_size = if size == DW { DW } else { W };
        let insn = match self.below(8)? {
            0..=2 => Insn::ldx(size, reg, base, off),
            3 if size != DW => Insn::ldxsx(size, reg, base, off),
            3 | 4 => Insn::stx(size, base, reg, off),
            5 => Insn::st(size, base, off, self.imm()?),
            _ if bytes(size) >= 4 && off % bytes(size) == 0 => {
                let op = self.pick(&[ADD, OR, AND, XOR])?;
                let fetch = self.pick(&[0, FETCH])?;
                Insn::atomic(atomic_size, i32::from(op) | fetch, base, reg, off)
            }
            _ => Insn::ldx(size, reg, base, off),
        };
        self.push(insn);
        Ok(())
    }

    /// Fills the buffer and accesses it, perhaps at a number.
    pub fn buffer(&mut self) -> Result<()> {
        for off in (0..BUFFER_SIZE as i16).step_by(8) {
            if !self.slip()? {
                self.push(Insn::st(DW, 10, slot::BUFFER + off, 0));
            }
        }
        let (reg, size) = (self.number()?, self.size()?);
        let most = BUFFER_SIZE - i32::from(bytes(size));
        self.bound(reg, most)?;
        self.address(1, slot::BUFFER);
        self.push(Insn::alu64_reg(ADD, 1, reg));
        let number = self.number()?;
        let insn = match self.below(3)? {
            0 => Insn::stx(size, 1, number, 0),
            1 => Insn::st(size, 1, 0, 0),
            _ => Insn::ldx(size, number, 1, 0),
        };
        self.push(insn);
        Ok(())
    }

    pub fn compare(&mut self) -> Result<Insn> {
        let op = self.pick(&[JEQ, JNE, JSET, JGT, JGE, JLT, JLE, JSGT, JSGE, JSLT, JSLE])?;
        let (dst, src) = (self.number()?, self.number()?);
        let wide = self.below(3)? > 0;
        let by_reg = self.below(4)? == 0 && src != dst;
        Ok(match (by_reg, wide) {
            (true, true) => Insn::jmp_reg(op, dst, src, 0),
            (true, false) => Insn::jmp32_reg(op, dst, src, 0),
            (false, true) => Insn::jmp_imm(op, dst, self.imm()?, 0),
            (false, false) => Insn::jmp32_imm(op, dst, self.imm()?, 0),
        })
    }
}

/// Bytes of an access of size `size`.
pub fn bytes(size: u8) -> i16 {
    match size {
        DW => 8,
        W => 4,
        H => 2,
        _ => 1,
    }
}
