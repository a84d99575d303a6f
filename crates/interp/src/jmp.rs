//! Conditions of jumps (RFC 9669 section 4.3).

use stylet_insn::opcode as op;

/// Whether the 64-bit jump `op` is taken, `None` when it is no conditional jump.
pub(crate) fn taken64(op: u8, dst: u64, src: u64) -> Option<bool> {
    let (sdst, ssrc) = (dst as i64, src as i64);
    Some(match op {
        op::JEQ => dst == src,
        op::JNE => dst != src,
        op::JSET => dst & src != 0,
        op::JGT => dst > src,
        op::JGE => dst >= src,
        op::JLT => dst < src,
        op::JLE => dst <= src,
        op::JSGT => sdst > ssrc,
        op::JSGE => sdst >= ssrc,
        op::JSLT => sdst < ssrc,
        op::JSLE => sdst <= ssrc,
        _ => return None,
    })
}

/// Whether the 32-bit jump `op` is taken: the low halves are compared.
pub(crate) fn taken32(op: u8, dst: u64, src: u64) -> Option<bool> {
    match op {
        op::JSGT | op::JSGE | op::JSLT | op::JSLE => {
            taken64(op, dst as i32 as u64, src as i32 as u64)
        }
        _ => taken64(op, u64::from(dst as u32), u64::from(src as u32)),
    }
}
