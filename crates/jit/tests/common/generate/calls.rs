//! Calls of all kinds.

use super::*;

impl Gen<'_, '_> {
    /// A function that only moves registers and calls, last a function in its stead if there is one.
    pub(super) fn thin(&mut self) -> Result<()> {
        if self.u.arbitrary()? && self.helpers {
            for (to, from) in [(6, 1), (7, 2), (8, 3), (9, 4)] {
                self.push(Insn::mov64_reg(to, from));
            }
            // Addresses differ between the two sides.
            self.push(Insn::mov64_imm(1, 1));
            self.push(Insn::mov64_imm(2, 2));
            self.push(Insn::mov64_imm(5, 5));
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

    /// R1 to R5 again numbers after a call.
    pub(super) fn after_call(&mut self) -> Result<()> {
        for r in 1..6 {
            self.set(r)?;
        }
        Ok(())
    }

    pub(super) fn callees(&self) -> Vec<usize> {
        let callable = |&f: &usize| matches!(self.kinds[f], Kind::Sub | Kind::Thin);
        (self.cur + 1..self.kinds.len()).filter(callable).collect()
    }

    pub(super) fn call_sub(&mut self, callee: usize) {
        self.push(Insn::mov64_reg(1, self.ctx));
        self.push(Insn::mov64_reg(2, 10));
        self.push(Insn::new(op::ALU64 | op::ADD | op::K, 2, 0, 0, -DATA));
        self.calls.push((self.insns.len(), callee));
        self.push(Insn::new(op::JMP | op::CALL, 0, op::PSEUDO_CALL, 0, 0));
    }

    pub(super) fn local_call(&mut self) -> Result<()> {
        let callees = self.callees();
        if callees.is_empty() {
            return Ok(());
        }
        let callee = *self.u.choose(&callees)?;
        self.call_sub(callee);
        self.after_call()
    }

    pub(super) fn helper(&mut self) -> Result<()> {
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
    pub(super) fn lookup(&mut self) -> Result<()> {
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

    pub(super) fn tail_call(&mut self) -> Result<()> {
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
