//! Text in the shape of the kernel's log, made only when it is asked for.

mod state;

use alloc::string::String;
use core::fmt::{self, Write};
use stylet_insn::{Insn, Style, disasm, opcode as op};

use crate::env::Verifier;
use crate::regs::RegType;
use crate::state::{SlotType, StackSlot};
use state::FrameText;

/// Column of the state behind an instruction, and what columns are rounded up to (`BPF_LOG_ALIGNMENT`,
/// `BPF_LOG_MIN_ALIGNMENT`).
const ALIGNMENT: usize = 40;
const MIN_ALIGNMENT: usize = 8;
/// Registers that a call leaves without a value, and the one with its result.
const CALLER_SAVED: u16 = 0x3f;

/// What an instruction finds.
pub(crate) struct Before {
    stack: alloc::vec::Vec<StackSlot>,
    /// Slots of dynptrs that arguments point to.
    objects: u64,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    level: u32,
    text: String,
    /// Registers and stack slots of the running frame that may have changed since they were printed.
    regs: u16,
    slots: u64,
    /// Length of the text right after the last instruction's line.
    insn_end: usize,
    /// Bytes of that line with its end.
    insn_len: usize,
    /// A path was taken up again and its state is to be printed.
    resumed: bool,
    /// Index of the source line that was printed last.
    line: Option<usize>,
}

impl Log {
    pub fn new(level: u32) -> Log {
        Log { level, regs: u16::MAX, slots: u64::MAX, ..Log::default() }
    }

    /// Whether states and instructions are written.
    pub fn enabled(&self) -> bool {
        self.level > 0
    }

    /// Length so far.
    pub fn pos(&self) -> usize {
        self.text.len()
    }

    /// Forgets the paths that came to nothing, as the kernel does at level 1.
    pub fn pop(&mut self, pos: usize) {
        if self.level == 1 {
            self.text.truncate(pos);
        }
        self.touch_all();
        self.resumed = true;
    }

    /// All of the state is to be printed (`mark_verifier_state_scratched`).
    pub fn touch_all(&mut self) {
        (self.regs, self.slots) = (u16::MAX, u64::MAX);
    }

    /// Adds text when the log is wanted.
    pub fn line(&mut self, args: fmt::Arguments<'_>) {
        if self.enabled() {
            let _ = writeln!(self.text, "{args}");
        }
    }

    /// The text so far.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The text, which ends with `message`.
    pub fn finish(mut self, message: &str, stats: &crate::Stats) -> String {
        self.text.push_str(message);
        self.text.push('\n');
        let _ = writeln!(self.text, "{stats}");
        self.text
    }
}

impl fmt::Display for crate::Stats {
    /// The last line of the kernel's log (`print_verification_stats`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crate::Stats { insn_processed, total_states, peak_states, max_states_per_insn } = self;
        write!(
            f,
            "processed {insn_processed} insns (limit 1000000) max_states_per_insn \
             {max_states_per_insn} total_states {total_states} peak_states {peak_states} mark_read 0"
        )
    }
}

impl Verifier<'_> {
    /// Writes what changed, and the instruction that is about to be checked.
    pub(crate) fn log_insn(&mut self, insn: Insn) {
        if !self.log.enabled() {
            return;
        }
        let at = self.insn_idx;
        if core::mem::take(&mut self.log.resumed) && self.log.level > 1 {
            let state = FrameText::all(self, self.cur.curframe());
            let text = alloc::format!("\nfrom {} to {at}:{state}", self.prev_insn_idx);
            self.log.line(format_args!("{text}"));
        }
        self.log_changed();
        self.log_source();
        let next = self.insns.get(at as usize + 1);
        let line = alloc::format!("{at}: {}\n", disasm(&insn, next).style(Style::Log));
        self.log.text.push_str(&line);
        (self.log.insn_end, self.log.insn_len) = (self.log.text.len(), line.len());
    }

    /// The path joins one that was walked already.
    pub(crate) fn log_safe(&mut self) {
        let (prev, at) = (self.prev_insn_idx, self.insn_idx);
        if core::mem::take(&mut self.log.resumed) {
            self.log.line(format_args!("\nfrom {prev} to {at}: safe"));
        } else {
            self.log.line(format_args!("{at}: safe"));
        }
    }

    /// The frames of a call that was entered.
    pub(crate) fn log_call(&mut self, caller: usize) {
        if self.log.enabled() {
            let (caller, callee) = (FrameText::all(self, caller), FrameText::all(self, caller + 1));
            let text = alloc::format!("caller:\n{caller}\ncallee:\n{callee}");
            self.log.line(format_args!("{text}"));
            self.log.touch_all();
        }
    }

    /// The frames of a return from `callee` to the next instruction.
    pub(crate) fn log_return(&mut self, callee: usize) {
        if self.log.enabled() {
            let (at, caller) = (self.insn_idx, FrameText::all(self, callee - 1));
            let callee = FrameText::all(self, callee);
            let text =
                alloc::format!("returning from callee:\n{callee}\nto caller at {at}:\n{caller}");
            self.log.line(format_args!("{text}"));
        }
    }

    /// The stack of the running frame and the objects on it that arguments point to, when changes will be printed.
    pub(crate) fn log_before(&self) -> Option<Before> {
        if !self.log.enabled() {
            return None;
        }
        let func = self.cur.cur();
        let mut objects = 0;
        for reg in func.regs[1..6].iter().filter(|r| r.ty == RegType::PtrToStack) {
            let at = reg.bounds.const_value().map(|value| -(value as i64) - i64::from(reg.off) - 1);
            let spi = at.and_then(|at| usize::try_from(at).ok()).map(|at| at / 8);
            if let Some((spi, slot)) = spi.and_then(|spi| Some((spi, func.stack.get(spi)?)))
                && reg.frameno() == self.cur.curframe()
                && slot.types[0] == SlotType::Dynptr
            {
                objects |= 1 << spi.min(63);
            }
        }
        Some(Before { stack: func.stack.clone(), objects })
    }

    /// Notes what an instruction has read and written (`mark_reg_scratched`, `mark_stack_slot_scratched`).
    pub(crate) fn log_touched(&mut self, insn: Insn, before: Option<Before>) {
        let Some(Before { stack: before, objects }) = before else { return };
        if insn.is_helper_call() || insn.is_kfunc_call() {
            self.log.slots |= objects;
        }
        let (dst, src) = (1u16 << (insn.dst & 15), 1u16 << (insn.src & 15));
        let by_src = if insn.is_src_reg() { src } else { 0 };
        self.log.regs |= match insn.class() {
            op::LDX => dst | src,
            op::STX if insn.mode() == op::ATOMIC && insn.imm == op::CMPXCHG => dst | src | 1,
            op::STX => dst | src,
            op::ST => dst,
            op::LD if insn.mode() == op::IMM => dst,
            op::LD => CALLER_SAVED | 1 << 6,
            op::ALU | op::ALU64 => dst | by_src,
            _ => match insn.op() {
                op::CALL => CALLER_SAVED,
                op::EXIT => 0,
                op::JA | op::JCOND => 0,
                _ => dst | by_src,
            },
        };
        let stack = &self.cur.cur().stack;
        for (spi, slot) in stack.iter().enumerate().take(64) {
            // the kernel does not note memory that a kfunc fills
            let noted = !insn.is_kfunc_call()
                || slot.is_special()
                || before.get(spi).is_some_and(StackSlot::is_special);
            if noted && before.get(spi).is_none_or(|old| old != slot) {
                self.log.slots |= 1 << spi;
            }
        }
        let base = self.cur.cur().regs.get(usize::from(insn.dst));
        if let (op::STX | op::ST, Some(base)) = (insn.class(), base)
            && base.ty == RegType::PtrToStack
            && let Some(value) = base.bounds.const_value()
        {
            let off = value as i64 + i64::from(base.off) + i64::from(insn.off);
            self.log.slots |= u64::try_from(-off - 1).map_or(0, |at| 1 << (at / 8).min(63));
        }
    }

    /// Behind the instruction if nothing else was written since, else on a line of its own (`print_insn_state`).
    fn log_changed(&mut self) {
        if self.log.regs == 0 && self.log.slots == 0 {
            return;
        }
        let frame = FrameText::changed(self, self.log.regs, self.log.slots);
        let text = alloc::format!("{frame}\n");
        let log = &mut self.log;
        if !log.text.is_empty() && log.text.len() == log.insn_end {
            log.text.pop();
            let column = (log.insn_len + MIN_ALIGNMENT / 2).max(ALIGNMENT);
            let width = column.next_multiple_of(MIN_ALIGNMENT) - log.insn_len - 1;
            let _ = write!(log.text, "{:width$};", "");
        } else {
            let _ = write!(log.text, "{}:", self.insn_idx);
        }
        log.text.push_str(&text);
        (log.regs, log.slots) = (0, 0);
    }

    /// The source line of the instruction, where another one begins (`verbose_linfo`).
    fn log_source(&mut self) {
        let lines = self.input.line_info;
        let at = lines.partition_point(|line| line.insn_idx <= self.insn_idx).checked_sub(1);
        let (Some(at), Some(btf)) = (at, self.input.btf) else { return };
        if self.log.line == Some(at) {
            return;
        }
        self.log.line = Some(at);
        let line = &lines[at];
        let (text, file) = (btf.name(line.line_off), btf.name(line.file_name_off));
        let file = file.rsplit('/').next().unwrap_or(file);
        let text = text.trim_start();
        self.log.line(format_args!("; {text} @ {file}:{}", line.line));
    }
}
