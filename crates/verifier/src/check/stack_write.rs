//! Writes to the stack (`check_stack_write`).

use super::alu::reg_width;
use super::mem::{Access, Value};
use super::stack_read::slot_of;
use crate::backtrack::LinkedRegs;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::{REG_SIZE, SlotType, StackSlot};

/// Pointers that keep their type on the stack (`is_spillable_regtype`).
fn is_spillable(ty: RegType) -> bool {
    !matches!(
        ty,
        RegType::NotInit | RegType::Scalar | RegType::PtrToTpBuffer | RegType::ConstPtrToDynptr
    )
}

/// Spills the low `size` bytes of a register at the start of a slot (`save_register_state`).
fn save_register(slot: &mut StackSlot, reg: RegState, size: usize) {
    slot.spilled = reg;
    for (i, ty) in slot.types.iter_mut().enumerate() {
        if i >= REG_SIZE - size {
            *ty = SlotType::Spill;
        } else if !matches!(ty, SlotType::Zero | SlotType::Invalid) {
            *ty = SlotType::Misc;
        }
    }
}

/// What was part of a spilled register is just data (`scrub_spilled_slot`).
pub(crate) fn scrub(slot: &mut StackSlot) {
    for ty in slot.types.iter_mut().filter(|t| **t != SlotType::Invalid) {
        *ty = SlotType::Misc;
    }
}

impl Verifier<'_> {
    /// A write whose range was checked.
    pub(crate) fn check_stack_write(&mut self, ptr: &RegState, off: i32, a: &Access) -> Res<()> {
        match ptr.bounds.const_value() {
            Some(value) => {
                self.write_fixed(ptr.frameno(), i64::from(off).wrapping_add(value as i64), a)
            }
            None => self.write_var(ptr, off, a),
        }
    }

    fn write_fixed(&mut self, frame: usize, off: i64, a: &Access) -> Res<()> {
        let (spi, byte) = slot_of(off);
        let size = a.size as usize;
        let aligned = off % REG_SIZE as i64 == 0;
        let source = match a.value {
            Value::Reg(regno) => Some(*self.reg(regno.into())),
            _ => None,
        };
        self.destroy_dynptr_slot(frame, spi)?;
        self.mark_stack_write(frame, spi, size == REG_SIZE);
        let spilled = match (a.value, source) {
            (Value::Reg(regno), Some(reg)) if aligned && reg.is_scalar() => {
                let fits = reg_width(&reg) <= a.size * 8;
                if fits {
                    self.assign_scalar_id_before_mov(regno.into());
                }
                let mut copy = *self.reg(regno.into());
                if !fits {
                    (copy.id, copy.off) = (0, 0);
                }
                Some(copy)
            }
            (Value::Imm(imm), _) if aligned => Some(RegState::known(imm as i64 as u64)),
            (_, Some(reg)) if is_spillable(reg.ty) => {
                if size != REG_SIZE {
                    return Err(Reject::acces(Kind::InvalidSpillSize));
                }
                if frame != self.cur.curframe() && reg.ty == RegType::PtrToStack {
                    return Err(Reject::inval(Kind::SpillStackPointerToCaller));
                }
                Some(reg)
            }
            _ => None,
        };
        match spilled {
            Some(reg) => {
                save_register(&mut self.cur.frame_mut(frame).stack[spi], reg, size);
                self.push_jmp_history(Some((frame as u8, spi as u8)), LinkedRegs::default());
                Ok(())
            }
            None => self.write_data(frame, spi, byte, a, source),
        }
    }

    /// A write that is no spill.
    fn write_data(
        &mut self,
        frame: usize,
        spi: usize,
        byte: usize,
        a: &Access,
        source: Option<RegState>,
    ) -> Res<()> {
        let zero = source.is_some_and(|r| r.is_null()) || matches!(a.value, Value::Imm(0));
        if let (true, Value::Reg(regno)) = (zero, a.value) {
            self.mark_reg_precise(regno.into())?;
        }
        let slot = &mut self.cur.frame_mut(frame).stack[spi];
        let was_spilled = slot.is_special();
        slot.spilled = RegState::not_init();
        if was_spilled {
            scrub(slot);
        }
        let ty = if zero { SlotType::Zero } else { SlotType::Misc };
        for i in 0..a.size as usize {
            slot.types[(byte + REG_SIZE - i) % REG_SIZE] = ty;
        }
        Ok(())
    }

    /// A write at one of several places: each of them may hold the old or the new value.
    fn write_var(&mut self, ptr: &RegState, off: i32, a: &Access) -> Res<()> {
        let min = ptr.bounds.smin + i64::from(off);
        let max = ptr.bounds.smax + i64::from(off) + i64::from(a.size);
        let zero = match a.value {
            Value::Reg(regno) => self.reg(regno.into()).is_null(),
            Value::Imm(imm) => imm == 0,
            Value::None => false,
        };
        let mut zero_used = false;
        for at in min..max {
            self.destroy_dynptr_slot(ptr.frameno(), slot_of(at).0)?;
        }
        let func = self.cur.frame_mut(ptr.frameno());
        for at in min..max {
            let (spi, byte) = slot_of(at);
            let slot = &mut func.stack[spi];
            if zero && slot.types[byte] == SlotType::Spill && slot.spilled.is_null() {
                zero_used = true;
                continue;
            }
            slot.spilled = RegState::not_init();
            if slot.is_spilled() {
                scrub(slot);
            }
            let stays_zero = zero && slot.types[byte] == SlotType::Zero;
            zero_used |= stays_zero;
            slot.types[byte] = if stays_zero { SlotType::Zero } else { SlotType::Misc };
        }
        if let (true, Value::Reg(regno)) = (zero_used, a.value) {
            self.mark_reg_precise(regno.into())?;
        }
        Ok(())
    }
}
