//! Which encodings exist: RFC 9669 (versions 1 to 4) and the kernel's additions, with their reserved fields.
//!
//! The rules are those of the kernel's `bpf_opcode_in_insntable`, `resolve_pseudo_ldimm64`, `check_alu_op`,
//! `check_atomic`, `check_cond_jmp_op` and `do_check`. What a value means (a shift by 64, a division by 0,
//! a write of R10) is the verifier's matter.

use crate::Insn;
use crate::opcode::*;

/// Whether `insn` is an instruction whose reserved fields are all zero.
///
/// `next` is the slot after it: `LDDW` needs it and includes it. The second slot of `LDDW` on its own is
/// no instruction. Stricter than the kernel in two places where it ignores a field: `off` of `exit`, and the
/// second `imm` of a `PSEUDO_FUNC` load.
pub fn is_valid_encoding(insn: &Insn, next: Option<&Insn>) -> bool {
    if insn.dst >= MAX_BPF_REG || insn.src >= MAX_BPF_REG {
        return false;
    }
    match insn.class() {
        ALU | ALU64 => is_valid_alu(insn),
        JMP | JMP32 => is_valid_jmp(insn),
        LDX => match insn.mode() {
            MEM => insn.imm == 0,
            MEMSX => insn.imm == 0 && insn.access_size() < 8,
            _ => false,
        },
        ST => insn.mode() == MEM && insn.src == 0,
        STX => match insn.mode() {
            MEM => insn.imm == 0,
            ATOMIC => is_valid_atomic(insn),
            _ => false,
        },
        _ => is_valid_ld(insn, next),
    }
}

fn is_valid_alu(insn: &Insn) -> bool {
    let is64 = insn.class() == ALU64;
    let is_x = insn.is_src_reg();
    match insn.op() {
        NEG => !is_x && insn.src == 0 && insn.off == 0 && insn.imm == 0,
        END => {
            insn.src == 0 && insn.off == 0 && matches!(insn.imm, 16 | 32 | 64) && !(is64 && is_x)
        }
        MOV if is_x => match (insn.off, insn.imm) {
            (0 | 8 | 16, 0) => true,
            (32, 0) => is64,
            (ADDR_SPACE_CAST, 1 | 0x1_0000) => is64,
            _ => false,
        },
        MOV => insn.src == 0 && insn.off == 0,
        op @ (ADD | SUB | MUL | DIV | OR | AND | LSH | RSH | MOD | XOR | ARSH) => {
            let off_ok = insn.off == 0 || (insn.off == 1 && matches!(op, DIV | MOD));
            off_ok && if is_x { insn.imm == 0 } else { insn.src == 0 }
        }
        _ => false,
    }
}

fn is_valid_jmp(insn: &Insn) -> bool {
    let is_jmp = insn.class() == JMP;
    let is_x = insn.is_src_reg();
    match insn.op() {
        // gotox since release 6.19
        JA if is_x => is_jmp && insn.src == 0 && insn.off == 0 && insn.imm == 0,
        JA => insn.dst == 0 && insn.src == 0 && if is_jmp { insn.imm == 0 } else { insn.off == 0 },
        CALL => {
            is_jmp
                && !is_x
                && insn.dst == 0
                && match insn.src {
                    0 | PSEUDO_CALL => insn.off == 0,
                    PSEUDO_KFUNC_CALL => true,
                    _ => false,
                }
        }
        EXIT => is_jmp && !is_x && insn.dst == 0 && insn.src == 0 && insn.off == 0 && insn.imm == 0,
        JCOND => is_jmp && !is_x && insn.dst == 0 && insn.src == 0 && insn.imm == 0,
        JEQ | JGT | JGE | JSET | JNE | JSGT | JSGE | JLT | JLE | JSLT | JSLE => {
            if is_x {
                insn.imm == 0
            } else {
                insn.src == 0
            }
        }
        _ => false,
    }
}

fn is_valid_atomic(insn: &Insn) -> bool {
    match insn.imm {
        LOAD_ACQ | STORE_REL => true,
        XCHG | CMPXCHG => insn.access_size() >= 4,
        imm => {
            let known =
                u8::try_from(imm & !FETCH).is_ok_and(|op| matches!(op, ADD | OR | AND | XOR));
            known && insn.access_size() >= 4
        }
    }
}

fn is_valid_ld(insn: &Insn, next: Option<&Insn>) -> bool {
    match insn.mode() {
        IMM if insn.code == LDDW => {
            let Some(next) = next else { return false };
            let second_ok = Insn { imm: 0, ..*next } == Insn::default();
            let imm_ok = match insn.src {
                PSEUDO_MAP_FD | PSEUDO_MAP_IDX | PSEUDO_FUNC => next.imm == 0,
                0 | PSEUDO_MAP_VALUE | PSEUDO_BTF_ID | PSEUDO_MAP_IDX_VALUE => true,
                _ => false,
            };
            insn.off == 0 && second_ok && imm_ok
        }
        ABS => insn.access_size() < 8 && insn.dst == 0 && insn.src == 0 && insn.off == 0,
        IND => insn.access_size() < 8 && insn.dst == 0 && insn.off == 0,
        _ => false,
    }
}
