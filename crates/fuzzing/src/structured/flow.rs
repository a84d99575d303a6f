//! Branches, loops, calls and callbacks.

use arbitrary::Result;
use stylet_insn::{Insn, opcode::*};
use stylet_uapi::HelperId;

use super::emit::{Gen, Role, map, slot};

/// Functions of one program, at most.
const MAX_FUNCS: usize = 5;

impl Gen<'_, '_> {
    /// Some statements; `depth` counts the blocks around them.
    pub fn block(&mut self, depth: u32) -> Result<()> {
        for _ in 0..1 + self.below(4)? {
            self.statement(depth)?;
        }
        Ok(())
    }

    fn statement(&mut self, depth: u32) -> Result<()> {
        match self.below(34)? {
            0..=6 => self.alu(),
            7 | 8 => self.spill(),
            9 | 10 => self.fill(),
            11..=13 => self.access(),
            14 => self.buffer(),
            15 | 16 => {
                let insn = self.compare()?;
                self.leave(insn)
            }
            17..=19 if depth < 3 => self.branch(depth),
            20 if depth < 2 => self.counted_loop(depth),
            21 if depth < 2 => self.open_loop(depth),
            22 => self.call(Role::Static),
            23 => self.call(Role::Global),
            24 => self.callback(),
            25 => self.lookup(),
            26 if depth < 2 => self.record(depth),
            27 if depth < 2 => self.record_dynptr(depth),
            28 if depth < 3 => self.local_dynptr(depth),
            29 if depth < 2 => self.iterator(depth),
            30 if depth < 2 => self.section(depth),
            31 => self.context(),
            32 => self.helper_memory(),
            33 => self.tail_call(),
            _ => self.alu(),
        }
    }

    /// `if (…) { … } else { … }`, and what follows joins the two.
    fn branch(&mut self, depth: u32) -> Result<()> {
        let insn = self.compare()?;
        let at = self.insns.len();
        self.push(insn);
        self.block(depth + 1)?;
        if self.u.arbitrary()? {
            let skip = self.insns.len();
            self.push(Insn::ja(0));
            self.land(at);
            self.block(depth + 1)?;
            self.land(skip);
        } else {
            self.land(at);
        }
        Ok(())
    }

    /// Counts a stack slot of its own up to a constant.
    fn counted_loop(&mut self, depth: u32) -> Result<()> {
        let counter = slot::COUNTER - 8 * depth as i16;
        self.push(Insn::st(DW, 10, counter, 0));
        let start = self.insns.len();
        self.block(depth + 1)?;
        let times = self.u.int_in_range(1..=6)?;
        self.extend([
            Insn::ldx(DW, 1, 10, counter),
            Insn::alu64_imm(ADD, 1, 1),
            Insn::stx(DW, 10, 1, counter),
        ]);
        let back = self.back(start);
        self.push(Insn::jmp_imm(JLT, 1, times, back));
        Ok(())
    }

    /// A loop that `may_goto` ends.
    fn open_loop(&mut self, depth: u32) -> Result<()> {
        let start = self.insns.len();
        self.push(Insn::may_goto(0));
        self.block(depth + 1)?;
        let back = self.back(start);
        self.push(Insn::ja(back));
        self.land(start);
        Ok(())
    }

    /// Number of a function of this role, made later.
    fn function(&mut self, role: Role) -> Result<Option<usize>> {
        let known: Vec<usize> = (0..self.roles.len()).filter(|n| self.roles[*n] == role).collect();
        if !known.is_empty() && (self.roles.len() >= MAX_FUNCS || self.u.arbitrary()?) {
            return self.pick(&known).map(Some);
        }
        if self.roles.len() >= MAX_FUNCS {
            return Ok(None);
        }
        self.roles.push(role);
        Ok(Some(self.roles.len() - 1))
    }

    fn call(&mut self, role: Role) -> Result<()> {
        // functions call no functions: their stacks would add up, and they could call each other
        if self.role.is_some() && !self.slip()? {
            return self.alu();
        }
        let Some(function) = self.function(role)? else { return self.alu() };
        let number = self.number()?;
        self.push(Insn::mov64_reg(1, number));
        if role == Role::Global {
            self.push(Insn::mov64_reg(2, number));
        } else {
            self.push(Insn::mov64_reg(2, 6));
            self.address(3, slot::NUMBERS - 16);
        }
        self.calls.push((self.insns.len(), function));
        self.push(Insn::call_rel(0));
        let to = self.number()?;
        self.push(Insn::mov64_reg(to, 0));
        Ok(())
    }

    fn callback(&mut self) -> Result<()> {
        if self.role.is_some() {
            return self.alu();
        }
        let role = self.pick(&[Role::Loop, Role::ForEach])?;
        let Some(function) = self.function(role)? else { return self.alu() };
        if role == Role::Loop {
            let number = self.number()?;
            let times = self.u.int_in_range(0..=20)?;
            let constant: bool = self.u.arbitrary()?;
            self.push(if constant {
                Insn::mov64_imm(1, times)
            } else {
                Insn::mov64_reg(1, number)
            });
        } else {
            let of = self.pick(&[map::ARRAY, map::HASH, map::PERCPU])?;
            self.map(1, of);
        }
        // two of the slots of numbers, as what the callback may change
        self.extend([Insn::st(DW, 10, slot::NUMBERS, 0), Insn::st(DW, 10, slot::NUMBERS - 8, 1)]);
        self.calls.push((self.insns.len(), function));
        self.extend(Insn::ld_func(2, 0));
        self.address(3, slot::NUMBERS - 8);
        let flags = i32::from(self.slip()?);
        self.push(Insn::mov64_imm(4, flags));
        self.helper(if role == Role::Loop { HelperId::LOOP } else { HelperId::FOR_EACH_MAP_ELEM });
        let to = self.number()?;
        self.push(Insn::mov64_reg(to, 0));
        Ok(())
    }

    /// Code under RCU's or preemption's lock.
    fn section(&mut self, depth: u32) -> Result<()> {
        let kfuncs = self.kfuncs;
        let (begin, end) = self.pick(&[
            (kfuncs.rcu_read_lock, kfuncs.rcu_read_unlock),
            (kfuncs.preempt_disable, kfuncs.preempt_enable),
        ])?;
        if begin == 0 {
            return self.alu();
        }
        self.kfunc(begin);
        self.held += 1;
        self.block(depth + 1)?;
        self.held -= 1;
        if !self.slip()? {
            self.kfunc(end);
        }
        Ok(())
    }
}
