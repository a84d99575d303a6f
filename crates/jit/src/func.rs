//! One function after the other: prologue, instructions, epilogue.

use crate::emit::{Alu, Mem};
use crate::layout::{Asm, Label};
use crate::lazy::Values;
use crate::regs::Reg;
use crate::rotate::{Plan, plan};
use crate::scan::{Func, Scan, fact, scan};
use crate::{Code, Error, Options, liveness};
use stylet_insn::{Insn, opcode as op};
use stylet_verifier::{InsnFact, VerifiedProg};

/// Iterations of `may_goto` in one frame (`BPF_MAX_LOOPS`, include/linux/bpf.h).
const MAX_LOOPS: i32 = 8 * 1024 * 1024;
/// Bytes below the stack pointer that a function without calls may use (System V ABI).
const RED_ZONE: i32 = 128;

/// Code that is rarely run, put behind the function.
pub(crate) struct Stub {
    pub at: Label,
    pub what: StubKind,
    /// Where it goes on.
    pub back: Label,
}

#[derive(Clone, Copy)]
pub(crate) enum StubKind {
    /// Register = 0.
    Zero(Reg),
    /// Upper half = 0.
    ZeroUpper(Reg),
    /// Register = -register, 64 bits if true.
    Neg(bool, Reg),
    /// Nothing to do.
    None,
}

/// The state of one compilation.
pub(crate) struct Gen<'a> {
    pub asm: Asm,
    pub prog: &'a VerifiedProg,
    pub insns: &'a [Insn],
    pub opts: &'a Options<'a>,
    pub scan: Scan,
    /// Register with the run context, in functions that need it.
    pub run_ctx: Reg,
    /// Function being compiled.
    pub cur: usize,
    /// Slot being compiled.
    pub idx: usize,
    pub live_out: Vec<u16>,
    plans: Vec<Plan>,
    pub values: Values,
    pub slots: Vec<Label>,
    entries: Vec<Label>,
    stubs: Vec<Stub>,
    saved: Vec<Reg>,
    /// Bytes between the saved registers and the stack pointer.
    local: i32,
}

/// Compiles a verified program.
///
/// Fails on instructions that are not supported yet (arena, packet loads) and on what no
/// verified program contains. The entry of the main program is at offset 0 of [`Code::text`].
pub fn compile(prog: &VerifiedProg, opts: &Options) -> Result<Code, Error> {
    let scan = scan(prog, opts)?;
    let mut asm = Asm::default();
    let slots: Vec<Label> = prog.insns().iter().map(|_| asm.label()).collect();
    let entries = scan.funcs.iter().map(|_| asm.label()).collect();
    let run_ctx = if scan.loses_r9 { Reg::R12 } else { Reg::R9 };
    let (uses_run_ctx, has_calls) = (scan.funcs.iter().any(|f| f.needs_ctx), scan.has_calls);
    let mut g = Gen {
        asm,
        prog,
        insns: prog.insns(),
        opts,
        scan,
        run_ctx,
        cur: 0,
        idx: 0,
        live_out: Vec::new(),
        plans: Vec::new(),
        values: Values::default(),
        slots,
        entries,
        stubs: Vec::new(),
        saved: Vec::new(),
        local: 0,
    };
    for cur in 0..g.scan.funcs.len() {
        g.cur = cur;
        g.func()?;
    }
    let code = g.asm.finish(&g.slots)?;
    Ok(Code { uses_run_ctx, has_calls, ..code })
}

impl Gen<'_> {
    pub fn cur_func(&self) -> &Func {
        &self.scan.funcs[self.cur]
    }

    /// The entry of function `f`.
    pub fn entry(&self, f: usize) -> Label {
        self.entries[f]
    }

    pub fn fact(&self) -> InsnFact {
        fact(self.prog, self.idx)
    }

    /// Whether BPF register `r` is read after this instruction.
    pub fn is_live_after(&self, r: u8) -> bool {
        self.live_after() & 1 << r != 0
    }

    pub fn live_after(&self) -> u16 {
        self.live_out[self.idx - self.cur_func().start]
    }

    pub fn unsupported(&self, what: &'static str) -> Error {
        Error::Unsupported { insn_idx: self.idx as u32, what }
    }

    pub fn invalid(&self) -> Error {
        Error::InvalidInsn { insn_idx: self.idx as u32, code: self.insns[self.idx].code }
    }

    /// A label of rare code that does `what` and comes back to `back`.
    pub fn stub(&mut self, what: StubKind, back: Label) -> Label {
        let at = self.asm.label();
        self.stubs.push(Stub { at, what, back });
        at
    }

    fn func(&mut self) -> Result<(), Error> {
        let (start, end) = (self.cur_func().start, self.cur_func().end);
        self.live_out = liveness::live_out(self.insns, start, end);
        self.plans = plan(self.insns, start, end, &self.scan.targets, &self.live_out);
        self.values = Values::default();
        self.asm.bind(self.entries[self.cur]);
        if !(start..end).any(|i| fact(self.prog, i).seen) {
            return Ok(());
        }
        self.prologue();
        let mut last = None;
        let mut i = start;
        while i < end {
            self.idx = i;
            if self.scan.targets[i] {
                self.flush_before(i);
                self.values.forget();
            }
            self.asm.bind(self.slots[i]);
            if self.fact().seen {
                self.insn(self.insns[i])?;
                // An instruction may have taken the next one along.
                i = self.idx;
                last = Some(i);
            }
            i += if self.insns[i].is_lddw() { 2 } else { 1 };
        }
        if let Some(i) = last {
            let insn = self.insns[i];
            let ends = insn.code == op::JMP | op::EXIT
                || matches!(insn.code, c if c == op::JMP | op::JA || c == op::JMP32 | op::JA)
                || fact(self.prog, i).branch == Some(true)
                || insn.is_kfunc_call();
            if !ends {
                return Err(Error::FallsOffEnd { insn_idx: i as u32 });
            }
        }
        self.emit_stubs();
        Ok(())
    }

    fn insn(&mut self, insn: Insn) -> Result<(), Error> {
        match self.plans[self.idx - self.cur_func().start] {
            Plan::Normal => {}
            Plan::Skip => return Ok(()),
            Plan::Rotate(by) => {
                self.rotate(insn, by);
                return Ok(());
            }
        }
        match insn.class() {
            op::ALU | op::ALU64 => self.alu(insn),
            op::LD => self.ld(insn),
            op::LDX => self.ldx(insn),
            op::ST => self.st(insn),
            op::STX if insn.mode() == op::ATOMIC => self.atomic(insn),
            op::STX => self.stx(insn),
            _ => self.jmp(insn),
        }
    }

    fn prologue(&mut self) {
        let func = &self.scan.funcs[self.cur];
        let mut saved: Vec<Reg> =
            (6..10).filter(|r| func.writes & 1 << r != 0).map(crate::regs::x86).collect();
        let loads_ctx = func.is_entry && func.needs_ctx && self.run_ctx == Reg::R12;
        if loads_ctx {
            saved.push(Reg::R12);
        }
        let stack = func.stack_depth as i32 + if func.may_goto { 8 } else { 0 };
        let mut local = if func.uses_fp { (stack + 15) & !15 } else { 0 };
        if !func.calls && local <= RED_ZONE {
            local = 0;
        }
        let pushed = 8 * (1 + saved.len() as i32 + i32::from(func.uses_fp));
        if func.calls && (pushed + local) % 16 != 0 {
            local += 8;
        }
        let (uses_fp, may_goto, counter) = (func.uses_fp, func.may_goto, self.may_goto_counter());
        for &reg in &saved {
            self.asm.push(reg);
        }
        if uses_fp {
            self.asm.push(Reg::RBP);
            self.asm.mov_rr(true, Reg::RBP, Reg::RSP);
        }
        if local != 0 {
            self.asm.alu_ri(true, Alu::Sub, Reg::RSP, local);
        }
        if loads_ctx {
            self.asm.mov_rr(true, Reg::R12, Reg::R9);
        }
        if may_goto {
            self.asm.store_imm(crate::emit::Size::Dw, counter, MAX_LOOPS);
        }
        self.saved = saved;
        self.local = local;
    }

    /// The counter of `may_goto`, in the eight bytes below the program's stack.
    pub fn may_goto_counter(&self) -> Mem {
        let depth = (self.cur_func().stack_depth as i32 + 7) & !7;
        Mem::base(Reg::RBP, -depth - 8)
    }

    /// Undoes the prologue up to the return address.
    pub fn leave_frame(&mut self) {
        match (self.cur_func().uses_fp, self.local) {
            (true, 0) => self.asm.pop(Reg::RBP),
            (true, _) => self.asm.leave(),
            (false, 0) => {}
            (false, local) => self.asm.alu_ri(true, Alu::Add, Reg::RSP, local),
        }
        for i in (0..self.saved.len()).rev() {
            self.asm.pop(self.saved[i]);
        }
    }

    fn emit_stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            self.asm.bind(stub.at);
            match stub.what {
                StubKind::Zero(reg) => self.asm.mov_ri(reg, 0),
                StubKind::ZeroUpper(reg) => self.asm.mov_rr(false, reg, reg),
                StubKind::Neg(w, reg) => self.asm.unary(w, crate::emit::Unary::Neg, reg),
                StubKind::None => {}
            }
            self.asm.jmp(stub.back);
        }
    }
}
