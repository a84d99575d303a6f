//! Generated machine code as text.

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

/// One instruction.
pub struct Line {
    /// Bytes from the start of the code.
    pub offset: u64,
    /// AT&T syntax, as bpftool and objdump print it.
    pub text: String,
}

/// Disassembles position-independent code; addresses are offsets from its start.
pub fn disasm(code: &[u8]) -> Vec<Line> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    let mut insn = Instruction::default();
    let mut lines = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut insn);
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        lines.push(Line { offset: insn.ip(), text });
    }
    lines
}
