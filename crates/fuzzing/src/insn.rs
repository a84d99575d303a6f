//! Instructions: bytes, slots and text are three views of the same.

use arbitrary::{Result, Unstructured};
use stylet_insn::valid::is_valid_encoding;
use stylet_insn::{Insn, Style, assemble, disasm, listing, opcode};
use stylet_uapi::HelperId;

/// Any slots: encoding and disassembly lose nothing, the log style prints something.
pub fn slots(u: &mut Unstructured<'_>) -> Result<()> {
    let mut slots = Vec::new();
    for _ in 0..u.int_in_range(1..=32)? {
        slots.push(if u.ratio(1, 2u8)? { plausible(u)? } else { any(u)? });
    }
    for (idx, insn) in slots.iter().enumerate() {
        assert_eq!(Insn::from_bytes(insn.to_bytes()), *insn);
        let next = slots.get(idx + 1);
        let log = disasm(insn, next).style(Style::Log).to_string();
        assert!(log.starts_with(&format!("({:02x}) ", insn.code)) && log.len() > 5, "{log}");
        if is_valid_encoding(insn, next) {
            assert!(!log.contains("BUG"), "{log}");
        }
    }
    let text = listing(&slots, &());
    assert_eq!(assemble(&text).as_deref(), Ok(&slots[..]), "{text}");
    Ok(())
}

/// Words that the grammar knows, so that random texts get far.
const WORDS: &[&str] = &[
    "r0",
    "r1",
    "r10",
    "r11",
    "w0",
    "w3",
    "=",
    "+=",
    "s>>=",
    "s/=",
    "s",
    "<<=",
    "-",
    "+",
    "*",
    "(",
    ")",
    "[",
    "]",
    "u8",
    "u64",
    "s32",
    "skb",
    "if",
    "goto",
    "gotol",
    "gotox",
    "may_goto",
    "pc",
    "call",
    "exit",
    "lock",
    "ll",
    "map",
    "fd",
    ":",
    "btf_id",
    "subprog",
    "be16",
    "bswap64",
    "addr_space_cast",
    "load_acquire",
    "store_release",
    "atomic64_fetch_add",
    "cmpxchg_64",
    "xchg32_32",
    "0",
    "1",
    "5",
    "0xffffffff",
    "4294967296",
    "18446744073709551615",
    "#",
    "@",
    ",",
    ";",
    "//",
    "/*",
    "*/",
    ".insn",
    "label",
    "label:",
    "bpf_map_lookup_elem",
    "unknown",
    "\n",
    " ",
    "(18)",
    "(b7)",
    "12:",
    "é",
];

/// Any text: assembling ends, what it accepts survives a listing, an error lies within the text.
pub fn text(u: &mut Unstructured<'_>) -> Result<()> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(1..=40)? {
        if u.ratio(1, 10u8)? {
            text.push_str(u.arbitrary()?);
        } else {
            text.push_str(u.choose(WORDS)?);
        }
        if u.ratio(1, 2u8)? {
            text.push(' ');
        }
    }
    match assemble(&text) {
        Ok(slots) => assert_eq!(assemble(&listing(&slots, &())), Ok(slots), "{text:?}"),
        Err(err) => {
            let (line, col) = err.position();
            let found = text.lines().nth(line as usize - 1);
            assert!(
                found.is_some_and(|found| (1..=found.len() + 1).contains(&(col as usize))),
                "{text:?}: {err}"
            );
            assert!(!err.to_string().is_empty());
        }
    }
    Ok(())
}

/// Any slot that eight bytes can hold.
pub fn any(u: &mut Unstructured<'_>) -> Result<Insn> {
    Ok(Insn::from_bytes(u.arbitrary()?))
}

/// A slot that is likely to be valid.
pub fn plausible(u: &mut Unstructured<'_>) -> Result<Insn> {
    use opcode::*;
    let dst = u.int_in_range(0..=10u8)?;
    let src = u.int_in_range(0..=10u8)?;
    let size = *u.choose(&[B, H, W, DW])?;
    let off = *u.choose(&[0i16, -8, -4, 8, 16, -16, 2, 1, -1, 32767])?;
    let imm = match u.int_in_range(0..=3u8)? {
        0 => u.int_in_range(-8..=64)?,
        1 => *u.choose(&[i32::MIN, i32::MAX, -1, 0xffff, 0x100])?,
        2 => 0,
        _ => u.arbitrary()?,
    };
    let alu = *u.choose(&[ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR, MOV, ARSH])?;
    let jmp = *u.choose(&[JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE])?;
    Ok(match u.int_in_range(0..=19u8)? {
        0 => Insn::alu64_imm(alu, dst, imm),
        1 => Insn::alu64_reg(alu, dst, src),
        2 => Insn::alu32_imm(alu, dst, imm),
        3 => Insn::alu32_reg(alu, dst, src),
        4 => Insn::ldx(size, dst, src, off),
        5 => Insn::stx(size, dst, src, off),
        6 => Insn::st(size, dst, off, imm),
        7 => Insn::jmp_imm(jmp, dst, imm, off),
        8 => Insn::jmp_reg(jmp, dst, src, off),
        9 => Insn::jmp32_imm(jmp, dst, imm, off),
        10 => Insn::mov64_reg(dst, src),
        11 => Insn::mov64_imm(dst, imm),
        12 => Insn::call(HelperId(u.int_in_range(0..=212)?)),
        13 => Insn::call_rel(u.int_in_range(-8..=8)?),
        14 => Insn::exit(),
        15 => *u.choose(&[
            Insn::neg64(dst),
            Insn::neg32(dst),
            Insn::bswap(dst, 32),
            Insn::endian(TO_BE, dst, 16),
        ])?,
        16 => Insn::atomic(
            size,
            *u.choose(&[0, 1, 0x40, 0x51, XCHG, CMPXCHG, LOAD_ACQ, STORE_REL])?,
            dst,
            src,
            off,
        ),
        17 => *u.choose(&[Insn::ja(off), Insn::gotol(i32::from(off)), Insn::may_goto(off)])?,
        18 => *u.choose(&[
            Insn::movsx64(dst, src, 8),
            Insn::movsx32(dst, src, 16),
            Insn::ldxsx(W, dst, src, off),
        ])?,
        _ => {
            let pair = Insn::lddw_pseudo(dst, u.int_in_range(0..=7)?, imm, 0);
            *u.choose(&pair)?
        }
    })
}
