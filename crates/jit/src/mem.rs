//! Loads, stores and 64-bit immediates.

use crate::emit::Size;
use crate::func::{Gen, StubKind};
use crate::{Error, Sym};
use stylet_insn::{Insn, opcode as op};
use stylet_verifier::MemKind;

fn size(insn: Insn) -> Size {
    match insn.access_size() {
        1 => Size::B,
        2 => Size::H,
        4 => Size::W,
        _ => Size::Dw,
    }
}

impl Gen<'_> {
    /// Refuses memory that this compiler cannot address.
    pub fn check_mem(&self) -> Result<MemKind, Error> {
        match self.fact().mem {
            MemKind::Arena => Err(self.unsupported("arena memory")),
            kind => Ok(kind),
        }
    }

    pub fn ldx(&mut self, insn: Insn) -> Result<(), Error> {
        let signed = match insn.mode() {
            op::MEM => false,
            op::MEMSX if insn.access_size() < 8 => true,
            _ => return Err(self.invalid()),
        };
        self.load(insn.dst, insn.src, insn.off, size(insn), signed)
    }

    /// dst = value at src + off.
    pub fn load(
        &mut self,
        dst: u8,
        src: u8,
        off: i16,
        size: Size,
        signed: bool,
    ) -> Result<(), Error> {
        let kind = self.check_mem()?;
        let mem = self.mem(src, i32::from(off), dst == src);
        let reg = self.write(dst);
        let at = self.asm.pos();
        if signed {
            self.asm.movsx(true, size, reg, mem);
        } else {
            self.asm.movzx(size, reg, mem);
        }
        if kind == MemKind::Probe {
            let back = self.asm.label();
            self.asm.bind(back);
            let stub = self.stub(StubKind::Zero(reg), back);
            self.asm.fixup(at, stub);
        }
        let bits = match size {
            _ if signed => 64,
            Size::B => 8,
            Size::H => 16,
            Size::W => 32,
            Size::Dw => 64,
        };
        self.values.set_bits(dst, bits);
        Ok(())
    }

    pub fn st(&mut self, insn: Insn) -> Result<(), Error> {
        if insn.mode() != op::MEM {
            return Err(self.invalid());
        }
        self.check_mem()?;
        let mem = self.mem(insn.dst, i32::from(insn.off), false);
        self.asm.store_imm(size(insn), mem, insn.imm);
        Ok(())
    }

    pub fn stx(&mut self, insn: Insn) -> Result<(), Error> {
        if insn.mode() != op::MEM {
            return Err(self.invalid());
        }
        self.check_mem()?;
        self.store(insn.dst, insn.off, insn.src, size(insn));
        Ok(())
    }

    /// Value at dst + off = src.
    pub fn store(&mut self, dst: u8, off: i16, src: u8, size: Size) {
        let imm = self.values.constant(src).and_then(|c| match size {
            Size::Dw => i32::try_from(c).ok(),
            _ => Some(c as i32),
        });
        if let Some(imm) = imm {
            let mem = self.mem(dst, i32::from(off), false);
            return self.asm.store_imm(size, mem, imm);
        }
        let src = self.operand(src);
        let mem = self.mem(dst, i32::from(off), false);
        self.asm.store(size, mem, src);
    }

    pub fn ld(&mut self, insn: Insn) -> Result<(), Error> {
        if !insn.is_lddw() {
            return Err(match insn.mode() {
                op::ABS | op::IND => self.unsupported("load from a packet"),
                _ => self.invalid(),
            });
        }
        let next = self.insns[self.idx + 1].imm;
        match insn.src {
            0 => self.set_const(insn.dst, i64::from(next) << 32 | i64::from(insn.imm as u32)),
            op::PSEUDO_MAP_IDX => self.set_sym(insn.dst, Sym::Map(insn.imm as u32), 0),
            op::PSEUDO_MAP_IDX_VALUE => {
                self.set_sym(insn.dst, Sym::MapValue(insn.imm as u32), next)
            }
            op::PSEUDO_FUNC => {
                let callee = self.scan.callee(self.idx, insn)?;
                let (reg, entry) = (self.write(insn.dst), self.entry(callee));
                self.asm.lea_label(reg, entry);
            }
            // The verifier lets only functions pass.
            op::PSEUDO_BTF_ID => self.set_sym(insn.dst, Sym::Kfunc(insn.imm as u32), 0),
            op::PSEUDO_MAP_FD | op::PSEUDO_MAP_VALUE => {
                return Err(self.unsupported("map by file descriptor"));
            }
            _ => return Err(self.invalid()),
        }
        Ok(())
    }
}
