//! Which BPF registers are read later: what is not need not be kept or computed.

use crate::scan::{is_jump, jump_target};
use stylet_insn::{Insn, opcode as op};

const ARGS: u16 = 0b11_1110;
const CALLER_SAVED: u16 = 0b11_1111;

/// Registers an instruction reads, as bits.
pub(crate) fn uses(insn: Insn) -> u16 {
    let (dst, src) = (1u16 << (insn.dst & 15), 1u16 << (insn.src & 15));
    match insn.class() {
        op::ALU | op::ALU64 => match (insn.op(), insn.is_src_reg()) {
            (op::END | op::NEG, _) => dst,
            (op::MOV, true) => src,
            (op::MOV, false) => 0,
            (_, true) => dst | src,
            (_, false) => dst,
        },
        op::LDX => src,
        op::ST => dst,
        op::STX if insn.mode() == op::ATOMIC => match insn.imm {
            op::LOAD_ACQ => src,
            op::CMPXCHG => dst | src | 1,
            _ => dst | src,
        },
        op::STX => dst | src,
        op::JMP | op::JMP32 => match insn.op() {
            op::CALL => ARGS,
            op::EXIT => 1,
            op::JA => 0,
            op::JCOND => 0,
            _ if insn.is_src_reg() => dst | src,
            _ => dst,
        },
        _ => 0,
    }
}

/// Registers an instruction writes, as bits.
pub(crate) fn defs(insn: Insn) -> u16 {
    let (dst, src) = (1u16 << (insn.dst & 15), 1u16 << (insn.src & 15));
    match insn.class() {
        op::ALU | op::ALU64 | op::LDX => dst,
        op::LD if insn.is_lddw() => dst,
        op::STX if insn.mode() == op::ATOMIC => match insn.imm {
            op::LOAD_ACQ => dst,
            op::CMPXCHG => 1,
            imm if imm & op::FETCH != 0 => src,
            _ => 0,
        },
        op::JMP if insn.op() == op::CALL => CALLER_SAVED,
        _ => 0,
    }
}

/// For each slot of the function `start..end` the registers that are read after it before they are written.
pub(crate) fn live_out(insns: &[Insn], start: usize, end: usize) -> Vec<u16> {
    let mut live_in = vec![0u16; end - start + 1];
    let mut live_out = vec![0u16; end - start];
    let mut changed = true;
    while changed {
        changed = false;
        for i in (start..end).rev() {
            let insn = insns[i];
            let is_exit = insn.code == op::JMP | op::EXIT;
            let is_ja = is_jump(insn) && insn.op() == op::JA;
            let mut out = if is_exit || is_ja { 0 } else { live_in[i + 1 - start] };
            let target = jump_target(i, insn);
            if is_jump(insn) && (start as i64..end as i64).contains(&target) {
                out |= live_in[target as usize - start];
            }
            live_out[i - start] = out;
            let before = out & !defs(insn) | uses(insn);
            changed |= live_in[i - start] != before;
            live_in[i - start] = before;
        }
    }
    live_out
}
