//! Instructions as text, in the syntax of the verifier's log (`print_bpf_insn`, kernel/bpf/disasm.c).

use alloc::string::String;
use core::fmt::{self, Display, Formatter, Write};

use crate::names::HelperName;
use crate::opcode::*;
use crate::valid::is_valid_encoding;
use crate::{Insn, Names};

/// How an instruction is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// What [`crate::assemble`] reads back to the same bytes: a 64-bit load ends in ` ll`, a slot that
    /// is no valid instruction is written as `.insn code dst src off imm`.
    #[default]
    Asm,
    /// The verifier's log: `(b7) r0 = 1`, and `BUG_xx` where the kernel says so.
    Log,
}

/// Displays one instruction; made by [`disasm`].
#[derive(Clone, Copy)]
pub struct Disasm<'a> {
    insn: Insn,
    next: Option<Insn>,
    names: &'a dyn Names,
    style: Style,
}

/// The text of `insn`; `next` is the slot after it, which a 64-bit load needs.
pub fn disasm(insn: &Insn, next: Option<&Insn>) -> Disasm<'static> {
    Disasm { insn: *insn, next: next.copied(), names: &(), style: Style::Asm }
}

impl<'a> Disasm<'a> {
    /// The same with names for kernel functions and maps.
    pub fn names<'b>(self, names: &'b dyn Names) -> Disasm<'b> {
        Disasm { insn: self.insn, next: self.next, names, style: self.style }
    }

    /// The same in another style.
    pub fn style(self, style: Style) -> Disasm<'a> {
        Disasm { style, ..self }
    }

    /// Slots that the text covers: 2 for a whole 64-bit load, else 1.
    pub fn slots(&self) -> usize {
        let whole = match self.style {
            Style::Asm => is_valid_encoding(&self.insn, self.next.as_ref()),
            Style::Log => self.next.is_some(),
        };
        if self.insn.is_lddw() && whole { 2 } else { 1 }
    }
}

/// A program's text, an instruction a line; [`crate::assemble`] gives the same slots back.
pub fn listing(insns: &[Insn], names: &dyn Names) -> String {
    let mut text = String::new();
    let mut idx = 0;
    while let Some(insn) = insns.get(idx) {
        let line = disasm(insn, insns.get(idx + 1)).names(names);
        idx += line.slots();
        // writing to a String cannot fail
        let _ = writeln!(text, "{line}");
    }
    text
}

impl Display for Disasm<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let insn = &self.insn;
        match self.style {
            Style::Log => write!(f, "({:02x}) ", insn.code)?,
            Style::Asm if !is_valid_encoding(insn, self.next.as_ref()) => {
                let Insn { code, dst, src, off, imm } = insn;
                return write!(f, ".insn {code:#04x} {dst} {src} {off} {imm}");
            }
            Style::Asm => {}
        }
        match insn.class() {
            ALU | ALU64 => fmt_alu(f, insn),
            JMP | JMP32 => self.fmt_jmp(f),
            LDX => fmt_ldx(f, insn),
            ST if insn.mode() == MEM => write!(f, "{} = {}", Mem::store(insn), insn.imm),
            // BPF_ST_NOSPEC, the kernel's own barrier
            ST if insn.mode() == ATOMIC => f.write_str("nospec"),
            ST => write!(f, "BUG_st_{:02x}", insn.code),
            STX => fmt_stx(f, insn),
            _ => self.fmt_ld(f),
        }
    }
}

/// `*(u64 *)(r1 +8)`, or with `bare` the `(u64 *)(r1 +8)` that atomics take.
struct Mem {
    bare: bool,
    signed: bool,
    bits: u32,
    base: u8,
    off: i16,
}

impl Mem {
    fn store(insn: &Insn) -> Mem {
        Mem {
            bare: false,
            signed: false,
            bits: insn.access_size() * 8,
            base: insn.dst,
            off: insn.off,
        }
    }

    fn load(insn: &Insn) -> Mem {
        Mem { base: insn.src, signed: insn.mode() == MEMSX, ..Mem::store(insn) }
    }

    fn bare(self) -> Mem {
        Mem { bare: true, ..self }
    }
}

impl Display for Mem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let star = if self.bare { "" } else { "*" };
        let sign = if self.signed { 's' } else { 'u' };
        write!(f, "{star}({sign}{} *)(r{} {:+})", self.bits, self.base, self.off)
    }
}

/// The operator of an arithmetic instruction, without `s` of the signed divisions.
fn alu_operator(op: u8) -> Option<&'static str> {
    Some(match op {
        ADD => "+=",
        SUB => "-=",
        MUL => "*=",
        DIV => "/=",
        OR => "|=",
        AND => "&=",
        LSH => "<<=",
        RSH => ">>=",
        MOD => "%=",
        XOR => "^=",
        MOV => "=",
        ARSH => "s>>=",
        _ => return None,
    })
}

fn fmt_alu(f: &mut Formatter<'_>, insn: &Insn) -> fmt::Result {
    let is64 = insn.class() == ALU64;
    let (r, dst) = (if is64 { 'r' } else { 'w' }, insn.dst);
    match insn.op() {
        END => {
            let name = match (is64, insn.is_src_reg()) {
                (true, _) => "bswap",
                (false, true) => "be",
                (false, false) => "le",
            };
            return write!(f, "r{dst} = {name}{} r{dst}", insn.imm);
        }
        NEG => return write!(f, "{r}{dst} = -{r}{dst}"),
        _ => {}
    }
    let Some(operator) = alu_operator(insn.op()) else {
        return write!(f, "BUG_{:02x}", insn.code);
    };
    if is64 && insn.op() == MOV && insn.is_src_reg() && insn.off == ADDR_SPACE_CAST {
        let (to, from) = (insn.imm as u32 >> 16, insn.imm as u16);
        return write!(f, "r{dst} = addr_space_cast(r{}, {to}, {from})", insn.src);
    }
    let signed = if matches!(insn.op(), DIV | MOD) && insn.off == 1 { "s" } else { "" };
    if !insn.is_src_reg() {
        return write!(f, "{r}{dst} {signed}{operator} {}", insn.imm);
    }
    let extension = match (insn.op(), insn.off) {
        (MOV, 8) => "(s8)",
        (MOV, 16) => "(s16)",
        (MOV, 32) => "(s32)",
        _ => "",
    };
    write!(f, "{r}{dst} {signed}{operator} {extension}{r}{}", insn.src)
}

fn fmt_ldx(f: &mut Formatter<'_>, insn: &Insn) -> fmt::Result {
    match insn.mode() {
        MEM | MEMSX => write!(f, "r{} = {}", insn.dst, Mem::load(insn)),
        _ => write!(f, "BUG_ldx_{:02x}", insn.code),
    }
}

fn fmt_stx(f: &mut Formatter<'_>, insn: &Insn) -> fmt::Result {
    let (mem, src) = (Mem::store(insn), insn.src);
    if insn.mode() == MEM {
        return write!(f, "{mem} = r{src}");
    }
    if insn.mode() != ATOMIC {
        return write!(f, "BUG_{:02x}", insn.code);
    }
    let width = if insn.access_size() == 8 { "64" } else { "" };
    match insn.imm {
        XCHG => return write!(f, "r{src} = atomic{width}_xchg({}, r{src})", mem.bare()),
        CMPXCHG => return write!(f, "r0 = atomic{width}_cmpxchg({}, r0, r{src})", mem.bare()),
        LOAD_ACQ => return write!(f, "r{} = load_acquire({})", insn.dst, Mem::load(insn).bare()),
        STORE_REL => return write!(f, "store_release({}, r{src})", mem.bare()),
        _ => {}
    }
    let Some((operator, name)) = atomic_operator(insn.imm & !FETCH) else {
        return write!(f, "BUG_{:02x}", insn.code);
    };
    if insn.imm & FETCH == 0 {
        write!(f, "lock {mem} {operator} r{src}")
    } else {
        write!(f, "r{src} = atomic{width}_fetch_{name}({}, r{src})", mem.bare())
    }
}

/// Operator and name of an atomic operation without `FETCH`.
fn atomic_operator(imm: i32) -> Option<(&'static str, &'static str)> {
    Some(match u8::try_from(imm).ok()? {
        ADD => ("+=", "add"),
        OR => ("|=", "or"),
        AND => ("&=", "and"),
        XOR => ("^=", "xor"),
        _ => return None,
    })
}

/// The comparison of a conditional jump.
fn jmp_operator(op: u8) -> Option<&'static str> {
    Some(match op {
        JEQ => "==",
        JGT => ">",
        JGE => ">=",
        JSET => "&",
        JNE => "!=",
        JSGT => "s>",
        JSGE => "s>=",
        JLT => "<",
        JLE => "<=",
        JSLT => "s<",
        JSLE => "s<=",
        _ => return None,
    })
}

impl Disasm<'_> {
    fn fmt_jmp(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let insn = &self.insn;
        let Insn { dst, src, off, imm, .. } = *insn;
        let is_jmp = insn.class() == JMP;
        match insn.op() {
            CALL => return self.fmt_call(f),
            EXIT if is_jmp => return f.write_str("exit"),
            JA if is_jmp && insn.is_src_reg() => return write!(f, "gotox r{dst}"),
            JA if is_jmp => return write!(f, "goto pc{off:+}"),
            JA => return write!(f, "gotol pc{imm:+}"),
            JCOND if is_jmp => return write!(f, "may_goto pc{off:+}"),
            _ => {}
        }
        let Some(operator) = jmp_operator(insn.op()) else {
            return write!(f, "BUG_{:02x}", insn.code);
        };
        let r = if is_jmp { 'r' } else { 'w' };
        write!(f, "if {r}{dst} {operator} ")?;
        if insn.is_src_reg() {
            write!(f, "{r}{src}")?
        } else {
            write!(f, "{imm:#x}")?
        }
        write!(f, " goto pc{off:+}")
    }

    fn fmt_call(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Insn { src, off, imm, .. } = self.insn;
        if src == PSEUDO_CALL {
            return write!(f, "call pc{imm:+}");
        }
        if src != PSEUDO_KFUNC_CALL {
            return write!(f, "call {}#{imm}", HelperName(imm));
        }
        let name = self.names.kfunc(imm, off).unwrap_or("kfunc");
        write!(f, "call {name}#{imm}")?;
        // a module's function: the kernel does not print the index, but the assembler needs it
        if off != 0 && self.style == Style::Asm { write!(f, "@{off}") } else { Ok(()) }
    }

    fn fmt_ld(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Insn { src, imm, .. } = self.insn;
        let bits = self.insn.access_size() * 8;
        match (self.insn.mode(), self.next) {
            (ABS, _) => write!(f, "r0 = *(u{bits} *)skb[{imm}]"),
            (IND, _) => write!(f, "r0 = *(u{bits} *)skb[r{src} + {imm}]"),
            (IMM, Some(next)) if self.insn.is_lddw() => self.fmt_lddw(f, next.imm),
            _ => write!(f, "BUG_ld_{:02x}", self.insn.code),
        }
    }

    /// Pseudo kinds as bpftool writes them (src/xlated_dumper.c), with `fd` for its `id`.
    fn fmt_lddw(&self, f: &mut Formatter<'_>, next_imm: i32) -> fmt::Result {
        let Insn { dst, src, imm, .. } = self.insn;
        write!(f, "r{dst} = ")?;
        match src {
            PSEUDO_MAP_FD => write!(f, "map[fd:{imm}]")?,
            PSEUDO_MAP_VALUE => write!(f, "map[fd:{imm}][0]{next_imm:+}")?,
            PSEUDO_BTF_ID if next_imm == 0 => write!(f, "btf_id[{imm}]")?,
            PSEUDO_BTF_ID => write!(f, "btf_id[{imm}:{next_imm}]")?,
            PSEUDO_FUNC => write!(f, "subprog[{imm:+}]")?,
            PSEUDO_MAP_IDX | PSEUDO_MAP_IDX_VALUE => {
                match self.names.map(imm) {
                    Some(name) => write!(f, "map[{name}]")?,
                    None => write!(f, "map[{imm}]")?,
                }
                if src == PSEUDO_MAP_IDX_VALUE {
                    write!(f, "[0]{next_imm:+}")?;
                }
            }
            _ => write!(f, "{:#x}", u64::from(imm as u32) | (next_imm as u64) << 32)?,
        }
        if self.style == Style::Asm { f.write_str(" ll") } else { Ok(()) }
    }
}
