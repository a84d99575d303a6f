//! Text in the shape of the kernel's log, made only when it is asked for.

use alloc::string::String;
use core::fmt::{self, Write};

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    level: u32,
    text: String,
}

impl Log {
    pub fn new(level: u32) -> Log {
        Log { level, text: String::new() }
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

impl crate::env::Verifier<'_> {
    /// Writes the instruction that is about to be checked, and the registers it starts from.
    pub(crate) fn log_insn(&mut self, insn: stylet_insn::Insn) {
        if !self.log.enabled() {
            return;
        }
        let at = self.insn_idx;
        let next = self.insns.get(at as usize + 1).copied();
        let regs = FrameText(self.cur.cur());
        let text = alloc::format!("{at}: {} ; {regs}", stylet_insn::disasm(&insn, next.as_ref()));
        self.log.line(format_args!("{text}"));
    }
}

/// The registers and spilled registers of a frame.
struct FrameText<'a>(&'a crate::state::FuncState);

impl fmt::Display for FrameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.frameno > 0 {
            write!(f, "frame{}:", self.0.frameno)?;
        }
        for (n, reg) in self.0.regs.iter().enumerate() {
            if reg.ty != crate::regs::RegType::NotInit {
                write!(f, " R{n}={}", RegText(reg))?;
            }
        }
        for (n, slot) in self.0.stack.iter().enumerate().filter(|(_, s)| s.is_spilled()) {
            write!(f, " fp-{}={}", (n + 1) * 8, RegText(&slot.spilled))?;
        }
        Ok(())
    }
}

struct RegText<'a>(&'a crate::regs::RegState);

impl fmt::Display for RegText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reg = self.0;
        if reg.precise {
            f.write_str("P")?;
        }
        if reg.const_value().is_some() {
            return write!(f, "{}", reg.bounds);
        }
        write!(f, "{}(", reg.type_name())?;
        if reg.id != 0 {
            write!(f, "id={},", reg.id & !crate::regs::ADD_CONST)?;
        }
        if reg.off != 0 {
            write!(f, "off={},", reg.off)?;
        }
        if !reg.is_pointer() || !reg.is_const() {
            write!(f, "{}", reg.bounds)?;
        }
        f.write_str(")")
    }
}
