//! Running: frames, calls, and the instructions that are not arithmetic.

use crate::memory::Memory;
use crate::{Error, Host, alu, atomic, jmp};
use std::rc::Rc;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::HelperId;
use stylet_verifier::{MemKind, VerifiedProg};

/// What a run may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instructions executed.
    pub insns: u64,
    /// Nested calls, of functions and callbacks.
    pub frames: u32,
}

impl Default for Limits {
    /// A hundred million instructions; 16 calls, as the kernel allows 8 (`MAX_CALL_FRAMES`) in each of a program and a callback.
    fn default() -> Limits {
        Limits { insns: 100_000_000, frames: 16 }
    }
}

/// The interpreter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interp;

/// One run: memory, and the programs that took part.
#[derive(Debug)]
pub struct Vm {
    /// All memory that the program can reach.
    pub memory: Memory,
    progs: Vec<Rc<VerifiedProg>>,
    limits: Limits,
    insns: u64,
    frames: Vec<u64>,
    depth: usize,
    tail_calls: u32,
}

/// Tail calls in one run (`MAX_TAIL_CALL_CNT`, include/linux/bpf.h).
const MAX_TAIL_CALL_CNT: u32 = 33;
/// Iterations of `may_goto` in one frame (`BPF_MAX_LOOPS`, include/linux/bpf.h).
const MAX_LOOPS: u32 = 8 * 1024 * 1024;
/// What R1 to R5 hold after a call: no valid pointer.
const CLOBBERED: u64 = 0xdead_beef_dead_beef;
/// Addresses of functions: program number above the slot's 24 bits (at most a million slots).
const FUNCS: u64 = 0x7f00_0000_0000_0000;

/// Addresses of kfuncs: their BTF ids above it.
const KFUNCS: u64 = 0x7e00_0000_0000_0000;

/// Where one function is.
struct Frame {
    prog: Rc<VerifiedProg>,
    prog_no: u64,
    regs: [u64; 11],
    pc: usize,
    loops_left: u32,
}

/// What one instruction leads to.
enum Next {
    Insn(i64),
    Exit,
}

impl Interp {
    /// Runs a program with R1 = address of the context and gives R0. `ctx` is updated, also when an error ends the run.
    pub fn run(
        prog: &VerifiedProg,
        ctx: &mut [u8],
        host: &mut dyn Host,
        limits: Limits,
    ) -> Result<u64, Error> {
        Interp::run_keeping_memory(prog, ctx, host, limits).0
    }

    /// As [`Interp::run`], and gives what is left of the run, for a look at memory that the host mapped.
    pub fn run_keeping_memory(
        prog: &VerifiedProg,
        ctx: &mut [u8],
        host: &mut dyn Host,
        limits: Limits,
    ) -> (Result<u64, Error>, Vm) {
        let mut vm = Vm {
            memory: Memory::default(),
            progs: vec![Rc::new(prog.clone())],
            limits,
            insns: 0,
            frames: Vec::new(),
            depth: 0,
            tail_calls: 0,
        };
        let addr = vm.memory.map(ctx.to_vec(), true);
        let result = vm.func(host, 0, 0, [addr, 0, 0, 0, 0]);
        if let Ok(bytes) = vm.memory.bytes(addr, ctx.len() as u64) {
            ctx.copy_from_slice(bytes);
        }
        (result, vm)
    }
}

impl Vm {
    /// Calls the function of the program whose address (`PSEUDO_FUNC`) a helper was given.
    pub fn call_back(
        &mut self,
        host: &mut dyn Host,
        func: u64,
        args: [u64; 5],
    ) -> Result<u64, Error> {
        let no_func = Error::NoFunc { addr: func };
        let rel = func.checked_sub(FUNCS).ok_or(no_func.clone())?;
        let (prog, slot) = (rel >> 24, (rel & 0xff_ffff) as u32);
        let known = self
            .progs
            .get(prog as usize)
            .is_some_and(|p| p.subprogs().iter().any(|s| s.start == slot));
        if !known {
            return Err(no_func);
        }
        self.func(host, prog, slot as usize, args)
    }

    /// Runs the function at slot `pc` until it exits.
    fn func(
        &mut self,
        host: &mut dyn Host,
        prog_no: u64,
        pc: usize,
        args: [u64; 5],
    ) -> Result<u64, Error> {
        let limit = self.limits.frames;
        if self.depth >= limit as usize {
            return Err(Error::TooManyFrames { limit });
        }
        if self.depth == self.frames.len() {
            self.frames.push(self.memory.map(vec![0; op::MAX_BPF_STACK as usize], true));
        }
        let mut regs = [CLOBBERED; 11];
        regs[1..6].copy_from_slice(&args);
        regs[10] = self.frames[self.depth] + op::MAX_BPF_STACK as u64;
        self.depth += 1;
        let prog = self.progs[prog_no as usize].clone();
        let result = self.steps(host, Frame { prog, prog_no, regs, pc, loops_left: MAX_LOOPS });
        self.depth -= 1;
        result
    }

    fn steps(&mut self, host: &mut dyn Host, mut frame: Frame) -> Result<u64, Error> {
        loop {
            self.insns += 1;
            if self.insns > self.limits.insns {
                return Err(Error::TooManyInsns { limit: self.limits.insns });
            }
            let no_insn = Error::NoInsn { insn_idx: frame.pc as i64 };
            let insn = *frame.prog.insns().get(frame.pc).ok_or(no_insn)?;
            match self.step(host, &mut frame, insn)? {
                Next::Insn(pc) => {
                    frame.pc = usize::try_from(pc).map_err(|_| Error::NoInsn { insn_idx: pc })?
                }
                Next::Exit => return Ok(frame.regs[0]),
            }
        }
    }

    fn step(&mut self, host: &mut dyn Host, frame: &mut Frame, insn: Insn) -> Result<Next, Error> {
        let invalid = Error::InvalidInsn { insn_idx: frame.pc as u32, code: insn.code };
        let next = Next::Insn(frame.pc as i64 + 1);
        let (dst, src) = (insn.dst as usize, insn.src as usize);
        let names_src = matches!(insn.class(), op::LDX | op::STX)
            || (insn.class() >= op::ALU && insn.is_src_reg());
        if dst > 10 || (src > 10 && names_src) {
            return Err(invalid);
        }
        let operand =
            if insn.is_src_reg() { frame.regs[src.min(10)] } else { i64::from(insn.imm) as u64 };
        let regs = &mut frame.regs;
        match insn.class() {
            op::ALU64 if insn.op() == op::MOV && insn.is_src_reg() && insn.off == 1 => {
                let what = "cast between address spaces (arena)";
                return Err(Error::Unsupported { insn_idx: frame.pc as u32, what });
            }
            op::ALU64 => regs[dst] = alu::alu64(insn, regs[dst], operand).ok_or(invalid)?,
            op::ALU => regs[dst] = alu::alu32(insn, regs[dst], operand).ok_or(invalid)?,
            op::LD => return self.ld(host, frame, insn),
            op::LDX => self.ldx(frame, insn)?,
            op::ST if insn.mode() == op::MEM => {
                let addr = regs[dst].wrapping_add(i64::from(insn.off) as u64);
                self.memory.store(addr, insn.access_size(), i64::from(insn.imm) as u64)?;
            }
            op::STX if insn.mode() == op::MEM => {
                let addr = regs[dst].wrapping_add(i64::from(insn.off) as u64);
                self.memory.store(addr, insn.access_size(), regs[src])?;
            }
            op::STX if insn.mode() == op::ATOMIC => {
                atomic::atomic(insn, regs, &mut self.memory)?.ok_or(invalid)?;
            }
            op::JMP => return self.jmp(host, frame, insn, operand),
            op::JMP32 if insn.code == op::JMP32 | op::JA => {
                return Ok(Next::Insn(frame.pc as i64 + 1 + i64::from(insn.imm)));
            }
            op::JMP32 => {
                let taken = jmp::taken32(insn.op(), regs[dst], operand).ok_or(invalid)?;
                return Ok(branch(frame, insn, taken));
            }
            _ => return Err(invalid),
        }
        Ok(next)
    }

    fn ldx(&mut self, frame: &mut Frame, insn: Insn) -> Result<(), Error> {
        let addr = frame.regs[insn.src as usize].wrapping_add(i64::from(insn.off) as u64);
        let is_probe =
            frame.prog.facts().insns.get(frame.pc).is_some_and(|f| f.mem == MemKind::Probe);
        let value = match self.memory.load(addr, insn.access_size()) {
            Err(_) if is_probe => 0,
            loaded => loaded?,
        };
        frame.regs[insn.dst as usize] = match (insn.mode(), insn.access_size()) {
            (op::MEM, _) => value,
            (op::MEMSX, 1) => value as i8 as u64,
            (op::MEMSX, 2) => value as i16 as u64,
            (op::MEMSX, 4) => value as i32 as u64,
            _ => return Err(Error::InvalidInsn { insn_idx: frame.pc as u32, code: insn.code }),
        };
        Ok(())
    }

    /// 64-bit immediates.
    fn ld(&mut self, host: &mut dyn Host, frame: &mut Frame, insn: Insn) -> Result<Next, Error> {
        let insn_idx = frame.pc as u32;
        let second = frame.prog.insns().get(frame.pc + 1).copied();
        let (true, Some(second)) = (insn.is_lddw(), second) else {
            return match insn.mode() {
                op::ABS | op::IND => {
                    Err(Error::Unsupported { insn_idx, what: "load from a packet" })
                }
                _ => Err(Error::InvalidInsn { insn_idx, code: insn.code }),
            };
        };
        frame.regs[insn.dst as usize] = match insn.src {
            0 => u64::from(second.imm as u32) << 32 | u64::from(insn.imm as u32),
            op::PSEUDO_MAP_IDX => host.map(insn.imm as u32, self)?,
            op::PSEUDO_MAP_IDX_VALUE => {
                let value = host.map_value(insn.imm as u32, self)?;
                value.wrapping_add(i64::from(second.imm) as u64)
            }
            op::PSEUDO_FUNC => {
                let slot = (frame.pc as i64 + 1 + i64::from(insn.imm)) as u64;
                FUNCS + (frame.prog_no << 24) + (slot & 0xff_ffff)
            }
            // The verifier lets only functions pass, whose addresses are compared with null.
            op::PSEUDO_BTF_ID => KFUNCS + u64::from(insn.imm as u32),
            _ => return Err(Error::Unsupported { insn_idx, what: "map by file descriptor" }),
        };
        Ok(Next::Insn(frame.pc as i64 + 2))
    }

    fn jmp(
        &mut self,
        host: &mut dyn Host,
        frame: &mut Frame,
        insn: Insn,
        operand: u64,
    ) -> Result<Next, Error> {
        match insn.op() {
            op::CALL => self.call(host, frame, insn),
            op::EXIT => Ok(Next::Exit),
            op::JA if !insn.is_src_reg() => Ok(branch(frame, insn, true)),
            op::JCOND => {
                let taken = frame.loops_left == 0;
                frame.loops_left = frame.loops_left.saturating_sub(1);
                Ok(branch(frame, insn, taken))
            }
            jump => {
                let invalid = Error::InvalidInsn { insn_idx: frame.pc as u32, code: insn.code };
                let taken =
                    jmp::taken64(jump, frame.regs[insn.dst as usize], operand).ok_or(invalid)?;
                Ok(branch(frame, insn, taken))
            }
        }
    }

    fn call(&mut self, host: &mut dyn Host, frame: &mut Frame, insn: Insn) -> Result<Next, Error> {
        let args = [1, 2, 3, 4, 5].map(|r| frame.regs[r]);
        let id = insn.imm as u32;
        frame.regs[0] = if insn.is_pseudo_call() {
            let target = frame.pc as i64 + 1 + i64::from(insn.imm);
            let pc = usize::try_from(target).map_err(|_| Error::NoInsn { insn_idx: target })?;
            self.func(host, frame.prog_no, pc, args)?
        } else if insn.is_kfunc_call() {
            host.kfunc(id, args, self)?
        } else if !insn.is_helper_call() {
            return Err(Error::InvalidInsn { insn_idx: frame.pc as u32, code: insn.code });
        } else if id == HelperId::TAIL_CALL.0 {
            if self.tail_call(host, frame, args) {
                return Ok(Next::Insn(0));
            }
            CLOBBERED
        } else {
            host.helper(id, args, self)?
        };
        frame.regs[1..6].fill(CLOBBERED);
        Ok(Next::Insn(frame.pc as i64 + 1))
    }

    /// Puts the target in this frame's place; false when there is none or the limit is reached.
    fn tail_call(&mut self, host: &mut dyn Host, frame: &mut Frame, args: [u64; 5]) -> bool {
        if self.tail_calls >= MAX_TAIL_CALL_CNT {
            return false;
        }
        let Some(prog) = host.tail_call(args[1], args[2] as u32) else { return false };
        self.tail_calls += 1;
        frame.prog_no = self.progs.len() as u64;
        self.progs.push(prog.clone());
        frame.prog = prog;
        frame.loops_left = MAX_LOOPS;
        frame.regs[0] = CLOBBERED;
        frame.regs[2..10].fill(CLOBBERED);
        true
    }
}

fn branch(frame: &Frame, insn: Insn, taken: bool) -> Next {
    let off = if taken { i64::from(insn.off) } else { 0 };
    Next::Insn(frame.pc as i64 + 1 + off)
}
