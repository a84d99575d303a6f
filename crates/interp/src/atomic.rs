//! Atomic operations (RFC 9669 section 5.3), and the kernel's load-acquire and store-release.

use crate::Error;
use crate::memory::Memory;
use stylet_insn::{Insn, opcode as op};

/// Carries out an instruction of mode ATOMIC; `None` when there is none such.
pub(crate) fn atomic(
    insn: Insn,
    regs: &mut [u64; 11],
    memory: &mut Memory,
) -> Result<Option<()>, Error> {
    let (dst, src) = (insn.dst as usize, insn.src as usize);
    let size = insn.access_size();
    let off = i64::from(insn.off) as u64;
    match insn.imm {
        op::LOAD_ACQ => {
            regs[dst] = memory.load(regs[src].wrapping_add(off), size)?;
            return Ok(Some(()));
        }
        op::STORE_REL => {
            memory.store(regs[dst].wrapping_add(off), size, regs[src])?;
            return Ok(Some(()));
        }
        _ if size < 4 => return Ok(None),
        _ => {}
    }
    let addr = regs[dst].wrapping_add(off);
    let old = memory.load(addr, size)?;
    let operand = if size == 4 { u64::from(regs[src] as u32) } else { regs[src] };
    if insn.imm == op::CMPXCHG {
        let expected = if size == 4 { u64::from(regs[0] as u32) } else { regs[0] };
        if old == expected {
            memory.store(addr, size, operand)?;
        }
        regs[0] = old;
        return Ok(Some(()));
    }
    let new = match u8::try_from(insn.imm & !op::FETCH) {
        _ if insn.imm == op::XCHG => operand,
        Ok(op::ADD) => old.wrapping_add(operand),
        Ok(op::OR) => old | operand,
        Ok(op::AND) => old & operand,
        Ok(op::XOR) => old ^ operand,
        _ => return Ok(None),
    };
    memory.store(addr, size, new)?;
    if insn.imm & op::FETCH != 0 {
        regs[src] = old;
    }
    Ok(Some(()))
}
