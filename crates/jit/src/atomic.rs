//! Atomic operations (RFC 9669 section 5.4; load-acquire and store-release of the kernel).

use crate::Error;
use crate::emit::{Alu, Cond, Size};
use crate::func::Gen;
use crate::regs::Reg;
use stylet_insn::{Insn, opcode as op};

const R0: u8 = 0;

impl Gen<'_> {
    pub fn atomic(&mut self, insn: Insn) -> Result<(), Error> {
        self.check_mem()?;
        let size = match insn.access_size() {
            1 => Size::B,
            2 => Size::H,
            4 => Size::W,
            _ => Size::Dw,
        };
        // x86-64 loads are acquire and stores release.
        match insn.imm {
            op::LOAD_ACQ => return self.load(insn.dst, insn.src, insn.off, size, false),
            op::STORE_REL => {
                self.store(insn.dst, insn.off, insn.src, size);
                return Ok(());
            }
            _ if matches!(size, Size::B | Size::H) => return Err(self.invalid()),
            _ => {}
        }
        let w = size == Size::Dw;
        // The registers are used directly, whatever else happens to them.
        let src = self.read(insn.src);
        match insn.imm {
            op::XCHG => {
                let mem = self.mem(insn.dst, i32::from(insn.off), false);
                self.write(insn.src);
                self.asm.xchg(w, mem, src);
                self.values.set_bits(insn.src, if w { 64 } else { 32 });
                return Ok(());
            }
            op::CMPXCHG => {
                self.read(R0);
                let mem = self.mem(insn.dst, i32::from(insn.off), false);
                self.write(R0);
                self.asm.lock_cmpxchg(w, mem, src);
                if !w {
                    // When the comparison holds, the upper half of rax is what it was.
                    self.asm.mov_rr(false, Reg::RAX, Reg::RAX);
                    self.values.set_bits(R0, 32);
                }
                return Ok(());
            }
            _ => {}
        }
        let (alu, fetch) = (insn.imm & !op::FETCH, insn.imm & op::FETCH != 0);
        let alu = match u8::try_from(alu) {
            Ok(op::ADD) => Alu::Add,
            Ok(op::OR) => Alu::Or,
            Ok(op::AND) => Alu::And,
            Ok(op::XOR) => Alu::Xor,
            _ => return Err(self.invalid()),
        };
        if fetch && alu != Alu::Add {
            self.fetch_loop(w, alu, insn);
            return Ok(());
        }
        let mem = self.mem(insn.dst, i32::from(insn.off), false);
        if fetch {
            self.write(insn.src);
            self.asm.lock_xadd(w, mem, src);
            self.values.set_bits(insn.src, if w { 64 } else { 32 });
        } else {
            self.asm.lock_alu(w, alu, mem, src);
        }
        Ok(())
    }

    /// src = old value, by compare-and-exchange through rax; r11 keeps R0, r10 the new value.
    fn fetch_loop(&mut self, w: bool, alu: Alu, insn: Insn) {
        let base = self.read(insn.dst);
        let src = self.read(insn.src);
        self.write(insn.src);
        let instead = |r: Reg| if r == Reg::RAX { Reg::R11 } else { r };
        let mem = crate::emit::Mem::base(instead(base), i32::from(insn.off));
        self.asm.mov_rr(true, Reg::R11, Reg::RAX);
        self.asm.movzx(if w { Size::Dw } else { Size::W }, Reg::RAX, mem);
        let again = self.asm.label();
        self.asm.bind(again);
        self.asm.mov_rr(true, Reg::R10, Reg::RAX);
        self.asm.alu_rr(w, alu, Reg::R10, instead(src));
        self.asm.lock_cmpxchg(w, mem, Reg::R10);
        self.asm.jcc(Cond::Ne, again);
        if src != Reg::RAX {
            self.asm.mov_rr(w, src, Reg::RAX);
            self.asm.mov_rr(true, Reg::RAX, Reg::R11);
        }
        self.values.set_bits(insn.src, if w { 64 } else { 32 });
    }
}
