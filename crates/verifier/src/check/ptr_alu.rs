//! Arithmetic on pointers (`adjust_ptr_min_max_vals`).

use stylet_insn::{Insn, opcode as op};

use super::alu::alu_symbol;
use crate::bounds::{AluOp, Bounds};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType, TypeName};
use crate::rejection::{Reject, Res};

/// Greatest distance of a pointer from its object (`BPF_MAX_VAR_OFF`).
pub(crate) const MAX_VAR_OFF: i64 = 1 << 29;

/// A pointer's offset stays where it can be reasoned about (`check_reg_sane_offset`).
fn check_sane_offset(reg: &RegState, ptr: TypeName) -> Res<()> {
    let b = &reg.bounds;
    if let Some(value) = b.const_value() {
        let value = value as i64;
        if value >= MAX_VAR_OFF || value <= -MAX_VAR_OFF {
            return Err(Reject::inval(Kind::MathWithConst { ptr, value }));
        }
    }
    // Of a number this is the distance from its link; the kernel does not tell the two apart.
    let off = i64::from(reg.off);
    if off >= MAX_VAR_OFF || off <= -MAX_VAR_OFF {
        return Err(Reject::inval(Kind::PointerOffset { ptr, off: reg.off }));
    }
    if b.smin == i64::MIN {
        return Err(Reject::inval(Kind::MathUnbounded { ptr }));
    }
    if b.smin >= MAX_VAR_OFF || b.smin <= -MAX_VAR_OFF {
        return Err(Reject::inval(Kind::ValueOutOfBounds { ptr, value: b.smin }));
    }
    Ok(())
}

/// Pointers keep no ranges of their low half.
fn without_32(mut b: Bounds) -> Bounds {
    (b.u32_min, b.u32_max, b.s32_min, b.s32_max) = (0, u32::MAX, i32::MIN, i32::MAX);
    b
}

impl Verifier<'_> {
    /// `ptr op off`, or `off op ptr` when `swapped`; the result goes to the destination.
    pub(crate) fn adjust_ptr_min_max_vals(
        &mut self,
        insn: Insn,
        ptr: RegState,
        off: RegState,
        swapped: bool,
    ) -> Res<()> {
        let dst = insn.dst;
        let b = off.bounds;
        if b.is_violated() || b.smin > b.smax || b.umin > b.umax {
            *self.reg_mut(dst.into()) = RegState::unknown();
            return Ok(());
        }
        if insn.class() != op::ALU64 {
            if insn.op() == op::SUB {
                *self.reg_mut(dst.into()) = RegState::unknown();
                return Ok(());
            }
            return Err(Reject::acces(Kind::PointerArith32 { reg: dst }));
        }
        self.check_ptr_arith_type(dst, &ptr, &off, insn.op())?;
        // Memory that anybody may read, wherever: the offset matters to nobody. The destination stays what it was.
        if ptr.ty == RegType::PtrToMem && ptr.flags.has(RegFlags::UNTRUSTED) {
            return Ok(());
        }
        check_sane_offset(&off, ptr.type_name())?;
        check_sane_offset(&ptr, ptr.type_name())?;
        let mut out = ptr;
        out.precise = false;
        match insn.op() {
            op::ADD => {
                let moved = add_offset(&mut out, &off, 1);
                self.note_moved_packet(&mut out, moved, true);
            }
            op::SUB if swapped => {
                return Err(Reject::acces(Kind::SubtractPointerFromScalar { reg: dst }));
            }
            op::SUB if ptr.ty == RegType::PtrToStack => {
                return Err(Reject::acces(Kind::SubtractFromStackPointer { reg: dst }));
            }
            op::SUB => {
                let moved = add_offset(&mut out, &off, -1);
                self.note_moved_packet(&mut out, moved, b.smin < 0);
            }
            op::AND | op::OR | op::XOR => {
                return Err(Reject::acces(Kind::BitwiseOnPointer {
                    reg: dst,
                    op: alu_symbol(insn.op()),
                }));
            }
            _ => {
                return Err(Reject::acces(Kind::PointerOperator {
                    reg: dst,
                    op: alu_symbol(insn.op()),
                }));
            }
        }
        check_sane_offset(&out, ptr.type_name())?;
        out.bounds = without_32(out.bounds).synced();
        *self.reg_mut(dst.into()) = out;
        Ok(())
    }

    /// A packet pointer moved by an unknown distance has another origin; moved up, nothing is known of its range.
    fn note_moved_packet(&mut self, out: &mut RegState, moved: bool, up: bool) {
        if moved && out.is_pkt_pointer() {
            out.id = self.new_id();
            if up {
                out.aux = 0;
            }
        }
    }

    fn check_ptr_arith_type(&self, dst: u8, ptr: &RegState, off: &RegState, opcode: u8) -> Res<()> {
        if ptr.maybe_null() {
            return Err(Reject::acces(Kind::PointerArithMaybeNull {
                reg: dst,
                ptr: ptr.type_name(),
            }));
        }
        let allowed = match ptr.ty {
            RegType::PtrToCtx
            | RegType::PtrToMapValue
            | RegType::PtrToMapKey
            | RegType::PtrToStack
            | RegType::PtrToMem
            | RegType::PtrToBuf
            | RegType::PtrToTpBuffer
            | RegType::PtrToBtfId
            | RegType::PtrToFunc
            | RegType::ConstPtrToDynptr => true,
            RegType::PtrToPacket | RegType::PtrToPacketMeta => true,
            RegType::PtrToFlowKeys => off.is_const(),
            RegType::PtrToPacketEnd
            | RegType::PtrToSocket
            | RegType::PtrToSockCommon
            | RegType::PtrToTcpSock
            | RegType::PtrToXdpSock => false,
            RegType::ConstPtrToMap => off.bounds.const_value() == Some(0) && opcode == op::ADD,
            RegType::Scalar | RegType::NotInit => false,
        };
        if !allowed {
            return Err(Reject::acces(Kind::PointerArithProhibited {
                reg: dst,
                ptr: ptr.type_name(),
            }));
        }
        Ok(())
    }
}

/// Moves a pointer by `sign * off`: a constant goes to the fixed part when it fits. Whether it went to the variable part.
fn add_offset(ptr: &mut RegState, off: &RegState, sign: i64) -> bool {
    if let Some(value) = off.bounds.const_value() {
        let delta = (value as i64).checked_mul(sign);
        let sum = delta.and_then(|d| i64::from(ptr.off).checked_add(d));
        if let Some(fixed) = sum.and_then(|s| i32::try_from(s).ok()) {
            ptr.off = fixed;
            return false;
        }
    }
    let alu = if sign > 0 { AluOp::Add } else { AluOp::Sub };
    ptr.bounds = without_32(ptr.bounds).alu64(alu, &without_32(off.bounds));
    true
}
