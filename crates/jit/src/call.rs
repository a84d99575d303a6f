//! Calls: of the program's functions, of helpers and kfuncs, helpers carried out in place, tail calls.

use crate::Error;
use crate::code::HelperImpl;
use crate::emit::{Alu, Base, Cond, Mem, Shift, Size};
use crate::func::Gen;
use crate::regs::Reg;
use crate::scan::call_sym;
use stylet_insn::{Insn, opcode as op};

const CALLER_SAVED: u16 = 0b11_1111;
const ARGS: u16 = 0b11_1110;
/// Tail calls in one run (`MAX_TAIL_CALL_CNT`, include/linux/bpf.h).
const MAX_TAIL_CALL_CNT: i32 = 33;

impl Gen<'_> {
    pub fn call(&mut self, insn: Insn) -> Result<(), Error> {
        let map = self.fact().map;
        self.flush(self.live_after() & !CALLER_SAVED | ARGS);
        if insn.is_pseudo_call() {
            self.local_call(insn)?;
        } else if insn.is_kfunc_call() {
            self.outside_call(insn);
        } else if insn.is_helper_call() && insn.code == (op::JMP | op::CALL) {
            match (self.opts.helper)(insn.imm as u32, map) {
                HelperImpl::Call => self.outside_call(insn),
                HelperImpl::CallAs(other) => {
                    self.outside_call(Insn { imm: other as i32, ..insn });
                }
                HelperImpl::LoadRunCtx64(off) => {
                    self.asm.movzx(Size::Dw, Reg::RAX, Mem::base(self.run_ctx, off))
                }
                HelperImpl::LoadRunCtx32(off) => {
                    self.asm.movzx(Size::W, Reg::RAX, Mem::base(self.run_ctx, off))
                }
                HelperImpl::TailCall { values_off, max_entries_off, count_off } => {
                    self.tail_call(values_off, max_entries_off, count_off);
                }
                HelperImpl::ArrayLookup { values_off, elem_size, max_entries } => {
                    self.array_lookup(values_off, elem_size, max_entries);
                }
            }
        } else {
            return Err(self.invalid());
        }
        for r in 0..6 {
            self.values.set_bits(r, 64);
        }
        Ok(())
    }

    fn outside_call(&mut self, insn: Insn) {
        self.asm.mov_rr(true, Reg::R9, self.run_ctx);
        self.asm.call_sym(call_sym(insn));
    }

    /// Functions that are only called from here find the run context where the caller has it.
    fn local_call(&mut self, insn: Insn) -> Result<(), Error> {
        let callee = self.scan.callee(self.idx, insn)?;
        let func = &self.scan.funcs[callee];
        if func.is_entry && func.needs_ctx && self.run_ctx != Reg::R9 {
            self.asm.mov_rr(true, Reg::R9, self.run_ctx);
        }
        let needs_ctx = func.needs_ctx;
        let entry = self.entry(callee);
        if self.is_tail_position(needs_ctx) {
            self.idx += 1;
            self.leave_frame();
            self.asm.jmp(entry);
        } else {
            self.asm.call_label(entry);
        }
        Ok(())
    }

    /// Whether the callee can return to our caller in our stead: `exit` follows, no pointer into our frame can exist, and
    /// the callee does not want the run context in a register that leaving restores.
    fn is_tail_position(&self, needs_ctx: bool) -> bool {
        let (func, next) = (self.cur_func(), self.idx + 1);
        let exit = next < func.end
            && self.insns[next].code == op::JMP | op::EXIT
            && !self.scan.targets[next];
        exit && !func.uses_fp && (!needs_ctx || !func.is_entry)
    }

    /// R1 = context, R2 = map, R3 = index. Falls through when there is nothing to go to (emit_bpf_tail_call_indirect,
    /// arch/x86/net/bpf_jit_comp.c); the target returns to our caller.
    fn tail_call(&mut self, values_off: i32, max_entries_off: i32, count_off: i32) {
        let out = self.asm.label();
        let count = Mem::base(self.run_ctx, count_off);
        self.asm.mov_rr(false, Reg::RDX, Reg::RDX);
        self.asm.alu_rm(false, Alu::Cmp, Reg::RDX, Mem::base(Reg::RSI, max_entries_off));
        self.asm.jcc(Cond::Ae, out);
        self.asm.alu_ri(false, Alu::Cmp, count, MAX_TAIL_CALL_CNT);
        self.asm.jcc(Cond::Ae, out);
        let entry = Mem { base: Base::Reg(Reg::RSI), index: Some((Reg::RDX, 3)), disp: values_off };
        self.asm.movzx(Size::Dw, Reg::R10, entry);
        self.asm.test_rr(true, Reg::R10, Reg::R10);
        self.asm.jcc(Cond::E, out);
        self.asm.inc32(count);
        self.asm.alu_rr(true, Alu::Add, Reg::R10, Reg::RSI);
        if self.run_ctx != Reg::R9 {
            self.asm.mov_rr(true, Reg::R9, self.run_ctx);
        }
        self.leave_frame();
        self.asm.jmp_reg(Reg::R10);
        self.asm.bind(out);
    }

    /// R1 = map, R2 = address of the index. R0 = address of the value or 0.
    fn array_lookup(&mut self, values_off: i32, elem_size: u32, max_entries: u32) {
        let (null, done) = (self.asm.label(), self.asm.label());
        self.asm.movzx(Size::W, Reg::RAX, Mem::base(Reg::RSI, 0));
        self.asm.alu_ri(false, Alu::Cmp, Reg::RAX, max_entries as i32);
        self.asm.jcc(Cond::Ae, null);
        let mut shift = 0;
        match elem_size {
            1 | 2 | 4 | 8 => shift = elem_size.trailing_zeros() as u8,
            _ if elem_size.is_power_of_two() => {
                self.asm.shift_ri(true, Shift::Shl, Reg::RAX, elem_size.trailing_zeros() as u8);
            }
            _ if elem_size <= i32::MAX as u32 => {
                self.asm.imul_rri(true, Reg::RAX, Reg::RAX, elem_size as i32)
            }
            _ => {
                self.asm.mov_ri(Reg::R11, i64::from(elem_size));
                self.asm.imul_rr(true, Reg::RAX, Reg::R11);
            }
        }
        let value =
            Mem { base: Base::Reg(Reg::RDI), index: Some((Reg::RAX, shift)), disp: values_off };
        self.asm.lea(true, Reg::RAX, value);
        self.asm.jmp(done);
        self.asm.bind(null);
        self.asm.mov_ri(Reg::RAX, 0);
        self.asm.bind(done);
    }
}
