//! Every opcode with sampled fields: decode and encode, disassemble and assemble, are inverses.

use stylet_insn::valid::is_valid_encoding;
use stylet_insn::{Insn, assemble, disasm, listing, opcode};

const REGS: [u8; 6] = [0, 1, 9, 10, 11, 15];
const OFFS: [i16; 9] = [0, 1, -1, 2, 8, 16, 32, i16::MIN, i16::MAX];
const IMMS: [i32; 22] = [
    0,
    1,
    -1,
    2,
    16,
    32,
    64,
    0x40,
    0x41,
    0x50,
    0x51,
    0xa0,
    0xa1,
    0xe1,
    0xf1,
    0x100,
    0x110,
    0x1_0000,
    181,
    9999,
    i32::MIN,
    i32::MAX,
];
const NEXT: [Insn; 3] = [
    Insn::new(0, 0, 0, 0, 0),
    Insn::new(0, 0, 0, 0, -5),
    Insn::new(opcode::JMP | opcode::EXIT, 0, 0, 0, 0),
];

/// Calls `check` with every opcode and the sampled fields.
fn for_each(mut check: impl FnMut(Insn)) {
    for code in 0..=u8::MAX {
        for dst in REGS {
            for src in REGS.into_iter().chain([2, 3, 4, 5, 6]) {
                for off in OFFS {
                    for imm in IMMS {
                        check(Insn::new(code, dst, src, off, imm));
                    }
                }
            }
        }
    }
}

#[test]
fn decode_inverts_encode() {
    for_each(|insn| assert_eq!(Insn::from_bytes(insn.to_bytes()), insn));
}

#[test]
fn assemble_inverts_disassemble() {
    let mut valid = [false; 256];
    for_each(|insn| {
        if insn.is_lddw() || !is_valid_encoding(&insn, None) {
            return;
        }
        valid[usize::from(insn.code)] = true;
        let text = disasm(&insn, None).to_string();
        assert!(!text.starts_with(".insn"), "{insn:?} is valid but printed as {text}");
        assert_eq!(assemble(&text).as_deref(), Ok(&[insn][..]), "{text}");
    });
    let opcodes = valid.iter().filter(|v| **v).count();
    assert_eq!(opcodes, ALU_OPCODES + JMP_OPCODES + MEMORY_OPCODES);
}

/// 12 operations in two classes with both sources; NEG in two classes; `le`, `be`, `bswap`.
const ALU_OPCODES: usize = 12 * 2 * 2 + 2 + 3;
/// 11 comparisons in two classes with both sources; goto, gotol, gotox, may_goto, call, exit.
const JMP_OPCODES: usize = 11 * 2 * 2 + 6;
/// 4 loads, 3 sign-extending, 4 stores of each kind, 4 atomic sizes, 3 packet loads of each kind.
const MEMORY_OPCODES: usize = 4 + 3 + 4 + 4 + 4 + 3 + 3;

#[test]
fn wide_loads() {
    let mut valid = 0;
    for dst in REGS {
        for src in 0..16 {
            for imm in IMMS {
                for next in NEXT {
                    let first = Insn::new(opcode::LDDW, dst, src, 0, imm);
                    if !is_valid_encoding(&first, Some(&next)) {
                        continue;
                    }
                    valid += 1;
                    let text = disasm(&first, Some(&next)).to_string();
                    assert_eq!(assemble(&text).as_deref(), Ok(&[first, next][..]), "{text}");
                }
            }
        }
    }
    // four registers; four pseudo kinds with any second imm, three with 0 alone
    assert_eq!(valid, 4 * IMMS.len() * (4 * 2 + 3));
}

#[test]
fn any_slots_survive_a_listing() {
    let mut slots = Vec::new();
    for code in 0..=u8::MAX {
        slots.push(Insn::new(code, 1, 2, 0, 0));
        slots.push(Insn::new(code, 15, 15, -1, i32::MIN));
        slots.push(Insn::new(opcode::LDDW, 1, 0, 0, 7));
    }
    assert_eq!(assemble(&listing(&slots, &())), Ok(slots));
}
