//! Map elements, ring-buffer records, dynptrs, iterators, packets and contexts.

use arbitrary::Result;
use stylet_insn::{Insn, opcode::*};
use stylet_uapi::{HelperId, ProgType};

use super::emit::{BUFFER_SIZE, Gen, VALUE_SIZE, map, slot};
use super::numbers::bytes;

impl Gen<'_, '_> {
    /// `r0 = map_lookup_elem(…)`; what it is used for stands in the branch where it is not null.
    pub fn lookup(&mut self) -> Result<()> {
        let (of, number) = (self.pick(&[map::ARRAY, map::HASH, map::PERCPU])?, self.number()?);
        self.push(Insn::stx(DW, 10, number, slot::KEY));
        self.address(2, slot::KEY);
        self.map(1, of);
        match self.below(4)? {
            0 => {
                self.push(Insn::mov64_reg(3, 6));
                self.push(Insn::mov64_imm(4, 0));
                self.helper(HelperId::MAP_UPDATE_ELEM);
                self.push(Insn::mov64_reg(number, 0));
            }
            1 => {
                self.helper(HelperId::MAP_DELETE_ELEM);
                self.push(Insn::mov64_reg(number, 0));
            }
            _ => {
                self.helper(HelperId::MAP_LOOKUP_ELEM);
                self.non_null(VALUE_SIZE as i32)?;
            }
        }
        Ok(())
    }

    /// Size and offset of an access within `reach` bytes, sometimes one past.
    fn place(&mut self, reach: i32) -> Result<(u8, i16)> {
        let size = self.size()?;
        let size = if i32::from(bytes(size)) > reach { B } else { size };
        let most = reach - i32::from(bytes(size));
        let off = if self.slip()? { most + 1 } else { self.u.int_in_range(0..=most)? };
        Ok((size, off as i16))
    }

    /// Accesses up to `reach` bytes at `r0` if it is not null.
    fn non_null(&mut self, reach: i32) -> Result<()> {
        let (size, off) = self.place(reach)?;
        let (check, checked) = (self.insns.len(), !self.slip()?);
        if checked {
            self.push(Insn::jmp_imm(JEQ, 0, 0, 0));
        }
        self.at(0, size, off)?;
        if checked {
            self.land(check);
        }
        Ok(())
    }

    /// A ring-buffer record, spilled to the stack while other things happen.
    pub fn record(&mut self, depth: u32) -> Result<()> {
        let size = self.pick(&[8, 16, 64])?;
        self.map(1, map::RING);
        self.extend([Insn::mov64_imm(2, size), Insn::mov64_imm(3, 0)]);
        self.helper(HelperId::RINGBUF_RESERVE);
        self.leave(Insn::jmp_imm(JEQ, 0, 0, 0))?;
        let skip = self.insns.len();
        let nested = self.held > 0;
        if nested {
            // an outer record keeps this from leaving
            self.push(Insn::jmp_imm(JEQ, 0, 0, 0));
        }
        self.push(Insn::stx(DW, 10, 0, slot::RECORD));
        self.held += 1;
        if !nested {
            self.block(depth + 1)?;
        }
        self.push(Insn::ldx(DW, 1, 10, slot::RECORD));
        let (width, off) = self.place(size)?;
        self.push(Insn::st(width, 1, off, 1));
        self.held -= 1;
        if !self.slip()? {
            self.push(Insn::mov64_imm(2, 0));
            let end = self.pick(&[HelperId::RINGBUF_SUBMIT, HelperId::RINGBUF_DISCARD])?;
            self.helper(end);
        }
        if nested {
            self.land(skip);
        }
        Ok(())
    }

    /// A slot for a dynptr that is not in use, if there is one.
    fn dynptr_slot(&mut self) -> Option<i16> {
        let slot = slot::DYNPTRS.get(self.busy.0).copied();
        self.busy.0 += usize::from(slot.is_some());
        slot
    }

    pub fn record_dynptr(&mut self, depth: u32) -> Result<()> {
        let Some(at) = self.dynptr_slot() else { return self.alu() };
        let number = self.number()?;
        self.map(1, map::RING);
        let constant: bool = self.u.arbitrary()?;
        self.push(if constant { Insn::mov64_imm(2, 32) } else { Insn::mov64_reg(2, number) });
        self.push(Insn::mov64_imm(3, 0));
        self.address(4, at);
        self.helper(HelperId::RINGBUF_RESERVE_DYNPTR);
        self.held += 1;
        self.use_dynptr(at, true)?;
        if self.u.arbitrary()? {
            self.block(depth + 1)?;
        }
        self.held -= 1;
        self.busy.0 -= 1;
        if !self.slip()? {
            self.address(1, at);
            self.push(Insn::mov64_imm(2, 0));
            let end =
                self.pick(&[HelperId::RINGBUF_SUBMIT_DYNPTR, HelperId::RINGBUF_DISCARD_DYNPTR])?;
            self.helper(end);
        }
        Ok(())
    }

    /// A dynptr of the value at `r6`.
    pub fn local_dynptr(&mut self, depth: u32) -> Result<()> {
        let Some(at) = self.dynptr_slot() else { return self.alu() };
        let size = if self.slip()? { self.reach + 1 } else { self.reach };
        self.extend([Insn::mov64_reg(1, 6), Insn::mov64_imm(2, size), Insn::mov64_imm(3, 0)]);
        self.address(4, at);
        self.helper(HelperId::DYNPTR_FROM_MEM);
        for _ in 0..1 + self.below(3)? {
            self.use_dynptr(at, false)?;
        }
        if self.u.arbitrary()? {
            self.block(depth + 1)?;
            self.use_dynptr(at, false)?;
        }
        self.busy.0 -= 1;
        Ok(())
    }

    fn use_dynptr(&mut self, at: i16, is_record: bool) -> Result<()> {
        let number = self.number()?;
        let kfuncs = self.kfuncs;
        match self.below(7)? {
            0 => {
                self.address(1, at);
                self.push(Insn::mov64_reg(2, number));
                let size = self.pick(&[1, 8, 16])?;
                self.push(Insn::mov64_imm(3, size));
                self.helper(HelperId::DYNPTR_DATA);
                self.non_null(size)?;
            }
            1 => self.copy_dynptr(at, number)?,
            2 if kfuncs.dynptr_slice != 0 => {
                let (kfunc, size) = (
                    self.pick(&[kfuncs.dynptr_slice, kfuncs.dynptr_slice_rdwr])?,
                    self.pick(&[8, 16, BUFFER_SIZE])?,
                );
                self.address(1, at);
                self.push(Insn::mov64_reg(2, number));
                self.address(3, slot::BUFFER);
                self.push(Insn::mov64_imm(4, size));
                self.kfunc(kfunc);
                self.non_null(size)?;
            }
            3 if kfuncs.dynptr_adjust != 0 => {
                self.address(1, at);
                self.extend([Insn::mov64_reg(2, number), Insn::mov64_imm(3, 16)]);
                self.kfunc(kfuncs.dynptr_adjust);
            }
            4 if kfuncs.dynptr_size != 0 => {
                let kfunc = self.pick(&[
                    kfuncs.dynptr_size,
                    kfuncs.dynptr_is_null,
                    kfuncs.dynptr_is_rdonly,
                ])?;
                self.address(1, at);
                self.kfunc(kfunc);
                self.push(Insn::mov64_reg(number, 0));
            }
            5 if kfuncs.dynptr_clone != 0 && !is_record => {
                let Some(to) = self.dynptr_slot() else { return self.alu() };
                self.address(1, at);
                self.address(2, to);
                self.kfunc(kfuncs.dynptr_clone);
                self.use_dynptr(to, true)?;
                self.busy.0 -= 1;
            }
            _ => {
                // dynptrs must not be written over
                if self.slip()? {
                    self.push(Insn::st(DW, 10, at + 8, 0));
                }
            }
        }
        Ok(())
    }

    /// `dynptr_read` or `dynptr_write` with the buffer.
    fn copy_dynptr(&mut self, at: i16, number: u8) -> Result<()> {
        let is_write = self.u.arbitrary()?;
        if is_write {
            for off in (0..BUFFER_SIZE as i16).step_by(8) {
                self.push(Insn::st(DW, 10, slot::BUFFER + off, 7));
            }
        }
        let size = self.pick(&[1, 8, BUFFER_SIZE])?;
        let (dynptr, buffer, len, offset) = if is_write { (1, 3, 4, 2) } else { (3, 1, 2, 4) };
        self.address(dynptr, at);
        self.address(buffer, slot::BUFFER);
        let slip = i32::from(self.slip()?);
        self.extend([
            Insn::mov64_imm(len, size + slip * BUFFER_SIZE),
            Insn::mov64_reg(offset, number),
            Insn::mov64_imm(5, 0),
        ]);
        self.helper(if is_write { HelperId::DYNPTR_WRITE } else { HelperId::DYNPTR_READ });
        Ok(())
    }

    /// `bpf_for(…)`
    pub fn iterator(&mut self, depth: u32) -> Result<()> {
        let kfuncs = self.kfuncs;
        let Some(at) = slot::ITERS.get(self.busy.1).copied() else { return self.alu() };
        if kfuncs.iter_num_new == 0 {
            return self.alu();
        }
        self.busy.1 += 1;
        let (number, last) = (self.number()?, self.u.int_in_range(0..=100)?);
        let constant: bool = self.u.arbitrary()?;
        self.address(1, at);
        self.push(Insn::mov64_imm(2, 0));
        self.push(if constant { Insn::mov64_imm(3, last) } else { Insn::mov64_reg(3, number) });
        self.kfunc(kfuncs.iter_num_new);
        self.held += 1;
        let start = self.insns.len();
        self.address(1, at);
        self.kfunc(kfuncs.iter_num_next);
        let done = self.insns.len();
        self.push(Insn::jmp_imm(JEQ, 0, 0, 0));
        if self.u.arbitrary()? {
            self.push(Insn::ldx(W, number, 0, 0));
        }
        self.block(depth + 1)?;
        let back = self.back(start);
        self.push(Insn::ja(back));
        self.land(done);
        self.held -= 1;
        self.busy.1 -= 1;
        if !self.slip()? {
            self.address(1, at);
            self.kfunc(kfuncs.iter_num_destroy);
        }
        Ok(())
    }

    /// A read of the context, or of the packet that it names.
    pub fn context(&mut self) -> Result<()> {
        if self.role.is_some() {
            return self.alu();
        }
        let number = self.number()?;
        let (data, end) = match self.prog_type {
            ProgType::SCHED_CLS => (76, 80),
            ProgType::XDP => (0, 4),
            _ => {
                let size = self.size()?;
                let off = 8 * self.below(20)? as i16;
                self.ctx(1);
                self.push(Insn::ldx(size, number, 1, off));
                return Ok(());
            }
        };
        self.ctx(1);
        self.extend([Insn::ldx(W, 2, 1, data), Insn::ldx(W, 3, 1, end)]);
        if self.u.arbitrary()? {
            self.push(Insn::alu64_imm(AND, number, 0xff));
            self.push(Insn::alu64_reg(ADD, 2, number));
        }
        let room = self.u.int_in_range(1..=40)?;
        self.extend([Insn::mov64_reg(4, 2), Insn::alu64_imm(ADD, 4, room)]);
        let within = self.pick(&[
            Insn::jmp_reg(JGT, 4, 3, 0),
            Insn::jmp_reg(JGE, 4, 3, 0),
            Insn::jmp_reg(JLT, 3, 4, 0),
            Insn::jmp_reg(JLE, 3, 4, 0),
        ])?;
        let check = self.insns.len();
        self.push(within);
        let (size, off) = self.place(room)?;
        let reg = self.number()?;
        self.push(Insn::ldx(size, reg, 2, off));
        self.land(check);
        Ok(())
    }

    /// A helper that takes memory and its size.
    pub fn helper_memory(&mut self) -> Result<()> {
        let number = self.number()?;
        let constant: bool = self.u.arbitrary()?;
        if !constant {
            let most = if self.slip()? { BUFFER_SIZE + 1 } else { BUFFER_SIZE };
            self.bound(number, most)?;
        }
        self.address(1, slot::BUFFER);
        self.push(if constant {
            Insn::mov64_imm(2, BUFFER_SIZE)
        } else {
            Insn::mov64_reg(2, number)
        });
        self.push(Insn::mov64_imm(3, 0));
        let id = self.pick(&[
            HelperId::PROBE_READ_KERNEL,
            HelperId::PROBE_READ_USER,
            HelperId::GET_CURRENT_COMM,
            HelperId::PROBE_READ_KERNEL_STR,
        ])?;
        self.helper(id);
        let to = self.number()?;
        self.push(Insn::mov64_reg(to, 0));
        Ok(())
    }

    pub fn tail_call(&mut self) -> Result<()> {
        if self.role.is_some() || self.held > 0 {
            return self.alu();
        }
        let number = self.number()?;
        self.ctx(1);
        self.map(2, map::PROGS);
        self.push(Insn::mov64_reg(3, number));
        self.helper(HelperId::TAIL_CALL);
        Ok(())
    }
}
