//! A whole program: the main function, then those that it calls.

use arbitrary::{Result, Unstructured};
use stylet_insn::{Insn, opcode::*};
use stylet_uapi::{HelperId, ProgType};

use super::Program;
use super::emit::{Gen, Kfuncs, Role, VALUE_SIZE, map, slot};

/// Types of programs that are made.
const PROG_TYPES: &[ProgType] = &[
    ProgType::KPROBE,
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::RAW_TRACEPOINT,
    ProgType::RAW_TRACEPOINT_WRITABLE,
    ProgType::SOCKET_FILTER,
    ProgType::SCHED_CLS,
    ProgType::SCHED_CLS,
    ProgType::XDP,
];

/// Blocks of the main function and of others, at most.
const BLOCKS: [u32; 2] = [5, 2];

pub fn program(u: &mut Unstructured<'_>, kfuncs: &Kfuncs) -> Result<Program> {
    let prog_type = *u.choose(PROG_TYPES)?;
    let mut made = Gen {
        u,
        kfuncs: *kfuncs,
        prog_type,
        insns: Vec::new(),
        to_end: Vec::new(),
        calls: Vec::new(),
        roles: Vec::new(),
        role: None,
        reach: VALUE_SIZE as i32,
        held: 0,
        busy: (0, 0),
    };
    made.function_body(None)?;
    let mut starts = Vec::new();
    while starts.len() < made.roles.len() {
        let role = made.roles[starts.len()];
        starts.push(made.insns.len());
        made.function_body(Some(role))?;
    }
    for (at, function) in made.calls.clone() {
        made.insns[at].imm = (starts[function] as i64 - at as i64 - 1) as i32;
    }
    if made.slip()? {
        made.damage()?;
    }
    let funcs = starts.iter().zip(&made.roles).map(|(s, r)| (*s as u32, *r == Role::Global));
    Ok(Program { prog_type, funcs: funcs.collect(), insns: made.insns })
}

impl Gen<'_, '_> {
    fn function_body(&mut self, role: Option<Role>) -> Result<()> {
        self.role = role;
        self.reach = if role == Some(Role::Loop) { 16 } else { VALUE_SIZE as i32 };
        self.prologue()?;
        for _ in 0..1 + self.below(BLOCKS[usize::from(role.is_some())])? {
            self.block(u32::from(role.is_some()))?;
        }
        self.epilogue()
    }

    /// `r6` = memory, `r7` to `r9` = numbers, the slots of numbers written.
    fn prologue(&mut self) -> Result<()> {
        match self.role {
            None | Some(Role::Global) => {
                if self.role.is_none() {
                    self.push(Insn::stx(DW, 10, 1, slot::CTX));
                } else {
                    self.extend([Insn::mov64_reg(7, 1), Insn::mov64_reg(8, 2)]);
                }
                self.push(Insn::st(DW, 10, slot::KEY, 0));
                self.address(2, slot::KEY);
                self.map(1, map::ARRAY);
                self.helper(HelperId::MAP_LOOKUP_ELEM);
                self.leave(Insn::jmp_imm(JEQ, 0, 0, 0))?;
                self.push(Insn::mov64_reg(6, 0));
                if self.role.is_none() {
                    self.unknown()?;
                } else {
                    self.push(Insn::ldx(DW, 9, 6, 0));
                }
            }
            Some(Role::Static | Role::Loop) => {
                self.extend([Insn::mov64_reg(7, 1), Insn::mov64_reg(6, 2)]);
                self.extend([Insn::mov64_imm(8, 3), Insn::mov64_reg(9, 1)]);
            }
            Some(Role::ForEach) => {
                self.push(Insn::mov64_reg(6, 3));
                self.push(Insn::ldx(DW, 7, 4, 0));
                self.push(Insn::ldx(W, 8, 2, 0));
                self.push(Insn::ldx(DW, 9, 3, 8));
            }
        }
        for n in 0..3 {
            if !self.slip()? {
                self.push(Insn::stx(DW, 10, 7 + n, slot::NUMBERS - 8 * i16::from(n)));
            }
        }
        Ok(())
    }

    /// Three numbers of which little is known.
    fn unknown(&mut self) -> Result<()> {
        for reg in 7..=9 {
            match self.below(3)? {
                0 => {
                    self.helper(HelperId::GET_PRANDOM_U32);
                    self.push(Insn::mov64_reg(reg, 0));
                }
                1 => {
                    let size = self.size()?;
                    self.push(Insn::ldx(size, reg, 6, 8));
                }
                _ => {
                    let size = self.pick(&[W, H, B])?;
                    self.push(Insn::ldxsx(size, reg, 6, 16));
                }
            }
        }
        Ok(())
    }

    fn epilogue(&mut self) -> Result<()> {
        let (number, in_range) = (self.number()?, !self.slip()?);
        match self.role {
            Some(Role::Loop | Role::ForEach) if in_range => {
                self.extend([Insn::mov64_reg(0, number), Insn::alu64_imm(AND, 0, 1)]);
            }
            Some(_) => self.push(Insn::mov64_reg(0, number)),
            None => self.push(Insn::mov64_imm(0, 0)),
        }
        self.push(Insn::exit());
        let end = self.insns.len();
        self.extend([Insn::mov64_imm(0, 0), Insn::exit()]);
        for at in std::mem::take(&mut self.to_end) {
            self.insns[at].off = (end - at - 1) as i16;
        }
        Ok(())
    }

    /// Changes one field of one instruction.
    fn damage(&mut self) -> Result<()> {
        let at = self.u.choose_index(self.insns.len())?;
        let field = self.below(4)?;
        let (reg, off) = (self.below(11)? as u8, self.u.int_in_range(-8..=8)?);
        let insn = &mut self.insns[at];
        match field {
            0 => insn.dst = reg,
            1 => insn.src = reg,
            2 => insn.off = insn.off.wrapping_add(off),
            _ => insn.imm = insn.imm.wrapping_add(off.into()),
        }
        Ok(())
    }
}
