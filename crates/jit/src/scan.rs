//! What each function of the program needs, found before any code is made, and the refusal of what cannot be compiled.

use crate::code::{HelperImpl, Options};
use crate::regs::{COUNT, FP};
use crate::{Error, Sym};
use stylet_insn::{Insn, opcode as op};
use stylet_verifier::{InsnFact, MemKind, VerifiedProg};

/// One function of the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Func {
    /// First slot and one past the last.
    pub start: usize,
    pub end: usize,
    /// Entered from outside: the main program or a callback. Gets the run context in `r9`.
    pub is_entry: bool,
    /// R6 to R9 that it writes.
    pub writes: u16,
    /// Names R10.
    pub uses_fp: bool,
    /// Has a `may_goto`, whose counter lies below the stack.
    pub may_goto: bool,
    /// Bytes of stack the program uses.
    pub stack_depth: u32,
    /// Calls a helper, a kfunc or another function by `call`.
    pub calls: bool,
    /// It or a function it calls uses the run context.
    pub needs_ctx: bool,
    callees: Vec<usize>,
}

/// The whole program.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub funcs: Vec<Func>,
    /// Slots that jumps go to.
    pub targets: Vec<bool>,
    /// Some helper or kfunc is really called, or another program by tail call, which may do so.
    pub has_calls: bool,
    /// Something is called that returns with `r9` changed.
    pub loses_r9: bool,
}

/// Facts of slot `i`.
pub(crate) fn fact(prog: &VerifiedProg, i: usize) -> InsnFact {
    let unknown = InsnFact { seen: true, mem: MemKind::Checked, ..InsnFact::default() };
    prog.facts().insns.get(i).copied().unwrap_or(unknown)
}

/// Slot a jump in slot `i` goes to.
pub(crate) fn jump_target(i: usize, insn: Insn) -> i64 {
    let is_gotol = insn.code == (op::JMP32 | op::JA);
    i as i64 + 1 + if is_gotol { i64::from(insn.imm) } else { i64::from(insn.off) }
}

/// Whether a slot of class JMP or JMP32 is a jump, not a call or exit.
pub(crate) fn is_jump(insn: Insn) -> bool {
    matches!(insn.class(), op::JMP | op::JMP32) && !matches!(insn.op(), op::CALL | op::EXIT)
}

pub(crate) fn scan(prog: &VerifiedProg, opts: &Options) -> Result<Scan, Error> {
    let insns = prog.insns();
    let mut scan = Scan { targets: vec![false; insns.len()], ..Scan::default() };
    for (i, sub) in prog.subprogs().iter().enumerate() {
        scan.funcs.push(Func {
            start: (sub.start as usize).min(insns.len()),
            end: (sub.end as usize).min(insns.len()),
            is_entry: i == 0 || sub.is_cb,
            stack_depth: sub.stack_depth,
            ..Func::default()
        });
    }
    for f in 0..scan.funcs.len() {
        let mut i = scan.funcs[f].start;
        while i < scan.funcs[f].end {
            if fact(prog, i).seen {
                scan.insn(prog, opts, f, i)?;
            }
            i += if insns[i].is_lddw() { 2 } else { 1 };
        }
    }
    scan.spread_needs_ctx();
    Ok(scan)
}

impl Scan {
    fn insn(
        &mut self,
        prog: &VerifiedProg,
        opts: &Options,
        f: usize,
        i: usize,
    ) -> Result<(), Error> {
        let insn = prog.insns()[i];
        let invalid = Error::InvalidInsn { insn_idx: i as u32, code: insn.code };
        let func = &mut self.funcs[f];
        let src_is_reg = match insn.class() {
            op::LDX | op::STX => true,
            op::ALU | op::ALU64 | op::JMP | op::JMP32 => {
                insn.is_src_reg() && !matches!(insn.op(), op::END | op::CALL)
            }
            _ => false,
        };
        if insn.dst as usize >= COUNT || (src_is_reg && insn.src as usize >= COUNT) {
            return Err(invalid);
        }
        func.uses_fp |= insn.dst == FP || (src_is_reg && insn.src == FP);
        let defs = crate::liveness::defs(insn);
        if defs & (1 << FP) != 0 {
            return Err(invalid);
        }
        func.writes |= defs & 0b11_1100_0000;
        if insn.is_lddw() {
            if i + 1 >= func.end {
                return Err(invalid);
            }
            if insn.src == op::PSEUDO_FUNC {
                let callee = self.callee(i, insn)?;
                self.funcs[callee].is_entry = true;
            }
        } else if is_jump(insn) {
            let target = jump_target(i, insn);
            if target < func.start as i64 || target >= func.end as i64 {
                return Err(Error::BadTarget { insn_idx: i as u32, target });
            }
            self.targets[target as usize] = true;
            if insn.op() == op::JCOND && insn.class() == op::JMP {
                func.may_goto = true;
                func.uses_fp = true;
            }
        } else if insn.is_pseudo_call() {
            let callee = self.callee(i, insn)?;
            self.funcs[f].callees.push(callee);
            self.funcs[f].calls = true;
        } else if insn.is_helper_call() || insn.is_kfunc_call() {
            self.outside_call(prog, opts, f, i);
        }
        Ok(())
    }

    fn outside_call(&mut self, prog: &VerifiedProg, opts: &Options, f: usize, i: usize) {
        let insn = prog.insns()[i];
        let func = &mut self.funcs[f];
        let how = match insn.is_kfunc_call() {
            true => HelperImpl::Call,
            false => (opts.helper)(insn.imm as u32, fact(prog, i).map),
        };
        match how {
            HelperImpl::Call | HelperImpl::CallAs(_) => {
                func.calls = true;
                func.needs_ctx = true;
                self.has_calls = true;
                self.loses_r9 = true;
            }
            HelperImpl::TailCall { .. } => {
                func.needs_ctx = true;
                self.has_calls = true;
                // The target returns to this function's caller.
                self.loses_r9 |= f != 0;
            }
            HelperImpl::ArrayLookup { .. } => {}
            HelperImpl::LoadRunCtx64(_) | HelperImpl::LoadRunCtx32(_) => func.needs_ctx = true,
        }
    }

    /// Function that the call or `PSEUDO_FUNC` in slot `i` names.
    pub fn callee(&self, i: usize, insn: Insn) -> Result<usize, Error> {
        let target = i as i64 + 1 + i64::from(insn.imm);
        let found = self.funcs.iter().position(|f| f.start as i64 == target && f.start < f.end);
        found.ok_or(Error::BadTarget { insn_idx: i as u32, target })
    }

    /// A caller needs the run context for its callees.
    fn spread_needs_ctx(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for f in 0..self.funcs.len() {
                let needs = self.funcs[f].callees.iter().any(|&c| self.funcs[c].needs_ctx);
                if needs && !self.funcs[f].needs_ctx {
                    self.funcs[f].needs_ctx = true;
                    changed = true;
                }
            }
        }
    }
}

/// The symbol of a called helper or kfunc.
pub(crate) fn call_sym(insn: Insn) -> Sym {
    if insn.is_kfunc_call() { Sym::Kfunc(insn.imm as u32) } else { Sym::Helper(insn.imm as u32) }
}
