//! Putting a relocation's value into its instruction (`bpf_core_patch_insn`).

use stylet_insn::{Insn, opcode};

use crate::ReloFault;

use super::calc::Value;
use super::{POISON_IMM, Poison};

/// Patches the instruction at `slot`. The immediate of an ALU instruction, the offset and size of
/// a load or store, and the two halves of a 64-bit immediate can be relocated.
pub(super) fn patch(
    insns: &mut [Insn],
    slot: usize,
    value: &Value,
) -> Result<Option<Poison>, ReloFault> {
    if value.poison {
        poison(insns, slot);
        return Ok(Some(Poison::NotFound));
    }
    let insn = insns[slot];
    match insn.class() {
        opcode::ALU | opcode::ALU64 if !insn.is_src_reg() => {
            let got = i64::from(insn.imm).cast_unsigned();
            check(slot, "ALU/ALU64", got, value)?;
            insns[slot].imm = value.new as i32;
        }
        opcode::LDX | opcode::ST | opcode::STX => return patch_mem(insns, slot, value),
        opcode::LD => patch_lddw(insns, slot, value)?,
        _ => {
            let Insn { code, dst, src, off, imm } = insn;
            return Err(ReloFault::Unrecognized { slot, code, src, dst, off, imm });
        }
    }
    Ok(None)
}

fn check(slot: usize, class: &'static str, got: u64, value: &Value) -> Result<(), ReloFault> {
    if value.validate && got != value.orig {
        let (expected, new) = (value.orig, value.new);
        return Err(ReloFault::Unexpected { slot, class, got, expected, new });
    }
    Ok(())
}

fn patch_mem(insns: &mut [Insn], slot: usize, value: &Value) -> Result<Option<Poison>, ReloFault> {
    const CLASS: &str = "LDX/ST/STX";
    let insn = &mut insns[slot];
    check(slot, CLASS, i64::from(insn.off).cast_unsigned(), value)?;
    let Ok(off) = i16::try_from(value.new) else {
        return Err(ReloFault::TooBig { slot, class: CLASS, new: value.new });
    };
    if value.bad_mem_size {
        poison(insns, slot);
        return Ok(Some(Poison::MemSize));
    }
    if value.new_size != value.orig_size {
        let (got, expected) = (insn.access_size(), value.orig_size);
        if got != expected {
            return Err(ReloFault::UnexpectedMemSize { slot, got, expected });
        }
        let size = match value.new_size {
            8 => opcode::DW,
            4 => opcode::W,
            2 => opcode::H,
            1 => opcode::B,
            size => return Err(ReloFault::BadMemSize { slot, size }),
        };
        insn.code = insn.mode() | size | insn.class();
    }
    insn.off = off;
    Ok(None)
}

fn patch_lddw(insns: &mut [Insn], slot: usize, value: &Value) -> Result<(), ReloFault> {
    let bad = ReloFault::BadLddw { slot };
    let Some([low, high]) = insns.get_mut(slot..slot + 2) else { return Err(bad) };
    let plain = low.is_lddw() && low.src == 0 && low.off == 0;
    if !plain || *high != (Insn { imm: high.imm, ..Insn::default() }) {
        return Err(bad);
    }
    let got = u64::from(low.imm.cast_unsigned()) | u64::from(high.imm.cast_unsigned()) << 32;
    check(slot, "LDIMM64", got, value)?;
    low.imm = value.new as i32;
    high.imm = (value.new >> 32) as i32;
    Ok(())
}

/// Replaces the instruction by a call of a helper that does not exist: the verifier refuses it where it can
/// be reached, and does not mind it in dead code. Both halves of a 64-bit immediate are replaced.
fn poison(insns: &mut [Insn], slot: usize) {
    let call = Insn { imm: POISON_IMM, ..Insn::new(opcode::JMP | opcode::CALL, 0, 0, 0, 0) };
    if insns[slot].is_lddw()
        && let Some(high) = insns.get_mut(slot + 1)
    {
        *high = call;
    }
    insns[slot] = call;
}
