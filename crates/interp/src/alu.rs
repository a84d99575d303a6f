//! Arithmetic, moves and byte swaps (RFC 9669 section 4.1 and 4.2).

use stylet_insn::{Insn, opcode as op};

/// Result of a 64-bit operation (class ALU64) on `dst` and `src`, `None` when there is no such instruction.
///
/// `src` is the source register, or the immediate sign-extended to 64 bits.
pub(crate) fn alu64(insn: Insn, dst: u64, src: u64) -> Option<u64> {
    let shift = (src & 63) as u32;
    Some(match (insn.op(), insn.off) {
        (op::ADD, 0) => dst.wrapping_add(src),
        (op::SUB, 0) => dst.wrapping_sub(src),
        (op::MUL, 0) => dst.wrapping_mul(src),
        (op::DIV, 0) => dst.checked_div(src).unwrap_or(0),
        (op::DIV, 1) if src == 0 => 0,
        (op::DIV, 1) => (dst as i64).wrapping_div(src as i64) as u64,
        (op::MOD, 0) => dst.checked_rem(src).unwrap_or(dst),
        (op::MOD, 1) if src == 0 => dst,
        (op::MOD, 1) => (dst as i64).wrapping_rem(src as i64) as u64,
        (op::OR, 0) => dst | src,
        (op::AND, 0) => dst & src,
        (op::XOR, 0) => dst ^ src,
        (op::LSH, 0) => dst << shift,
        (op::RSH, 0) => dst >> shift,
        (op::ARSH, 0) => (dst as i64 >> shift) as u64,
        (op::NEG, 0) => dst.wrapping_neg(),
        (op::MOV, 0) => src,
        (op::MOV, 8) if insn.is_src_reg() => src as i8 as u64,
        (op::MOV, 16) if insn.is_src_reg() => src as i16 as u64,
        (op::MOV, 32) if insn.is_src_reg() => src as i32 as u64,
        // Always a swap, whatever the byte order of the machine.
        (op::END, 0) if !insn.is_src_reg() => swap(dst, insn.imm)?,
        _ => return None,
    })
}

/// Result of a 32-bit operation (class ALU), zero-extended; as [`alu64`] otherwise.
pub(crate) fn alu32(insn: Insn, dst: u64, src: u64) -> Option<u64> {
    if insn.op() == op::END {
        return match insn.is_src_reg() {
            true => swap(dst, insn.imm),
            false => truncate(dst, insn.imm),
        };
    }
    let (dst, src) = (dst as u32, src as u32);
    let shift = src & 31;
    let result = match (insn.op(), insn.off) {
        (op::ADD, 0) => dst.wrapping_add(src),
        (op::SUB, 0) => dst.wrapping_sub(src),
        (op::MUL, 0) => dst.wrapping_mul(src),
        (op::DIV, 0) => dst.checked_div(src).unwrap_or(0),
        (op::DIV, 1) if src == 0 => 0,
        (op::DIV, 1) => (dst as i32).wrapping_div(src as i32) as u32,
        (op::MOD, 0) => dst.checked_rem(src).unwrap_or(dst),
        (op::MOD, 1) if src == 0 => dst,
        (op::MOD, 1) => (dst as i32).wrapping_rem(src as i32) as u32,
        (op::OR, 0) => dst | src,
        (op::AND, 0) => dst & src,
        (op::XOR, 0) => dst ^ src,
        (op::LSH, 0) => dst << shift,
        (op::RSH, 0) => dst >> shift,
        (op::ARSH, 0) => (dst as i32 >> shift) as u32,
        (op::NEG, 0) => dst.wrapping_neg(),
        (op::MOV, 0) => src,
        (op::MOV, 8) if insn.is_src_reg() => src as i8 as u32,
        (op::MOV, 16) if insn.is_src_reg() => src as i16 as u32,
        _ => return None,
    };
    Some(u64::from(result))
}

/// The low `bits` bits with their bytes reversed, zero-extended.
fn swap(value: u64, bits: i32) -> Option<u64> {
    Some(match bits {
        16 => u64::from((value as u16).swap_bytes()),
        32 => u64::from((value as u32).swap_bytes()),
        64 => value.swap_bytes(),
        _ => return None,
    })
}

fn truncate(value: u64, bits: i32) -> Option<u64> {
    Some(match bits {
        16 => u64::from(value as u16),
        32 => u64::from(value as u32),
        64 => value,
        _ => return None,
    })
}
