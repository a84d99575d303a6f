//! Reads of the stack (`check_stack_read`).

use stylet_catalog::Features;

use super::alu::reg_width;
use super::mem::{Access, Value};
use crate::backtrack::LinkedRegs;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::RegState;
use crate::rejection::{Reject, Res};
use crate::state::{REG_SIZE, SlotType, StackSlot};

/// Slot and byte within it of the byte at `off` below the frame pointer.
pub(crate) fn slot_of(off: i64) -> (usize, usize) {
    let n = (-off - 1) as usize;
    (n / REG_SIZE, n % REG_SIZE)
}

/// Bytes at the slot's low end that belong to the spilled register.
fn spill_size(slot: &StackSlot) -> u32 {
    slot.types.iter().rev().take_while(|t| **t == SlotType::Spill).count() as u32
}

/// The bytes of a dynptr, an iterator or a flag cannot be read.
/// Nor what was never written, unless `uninit`.
fn check_readable(slot: &StackSlot, off: i64, byte: usize, size: u32, uninit: bool) -> Res<()> {
    let object = |at: &u32| {
        let ty = slot.types[(byte + REG_SIZE - *at as usize) % REG_SIZE];
        matches!(ty, SlotType::Dynptr | SlotType::Iter | SlotType::IrqFlag)
            || (ty == SlotType::Invalid && !uninit)
    };
    match (0..size).find(object) {
        Some(at) => Err(Reject::acces(Kind::InvalidStackRead { off, at, size })),
        None => Ok(()),
    }
}

impl Verifier<'_> {
    /// A read whose range was checked.
    pub(crate) fn check_stack_read(&mut self, ptr: &RegState, off: i32, a: &Access) -> Res<()> {
        let dst = match a.value {
            Value::Reg(dst) => Some(usize::from(dst)),
            _ => None,
        };
        if let Some(value) = ptr.bounds.const_value() {
            return self.read_fixed(
                ptr.frameno(),
                i64::from(off).wrapping_add(value as i64),
                a.size,
                dst,
            );
        }
        let Some(dst) = dst else {
            return Err(Reject::acces(Kind::VariableStackToHelper {
                var_off: ptr.bounds.var_off,
                off,
                size: a.size as i32,
            }));
        };
        self.read_var(ptr, off, a, dst)
    }

    fn read_fixed(&mut self, frame: usize, off: i64, size: u32, dst: Option<usize>) -> Res<()> {
        let (spi, byte) = slot_of(off);
        self.mark_stack_read(frame, spi, spi);
        let slot = self.cur.frames[frame].stack[spi];
        if !slot.is_spilled() {
            let uninit = self.cat.has(Features::UNINIT_STACK_READ);
            check_readable(&slot, off, byte, size, uninit)?;
            if let Some(dst) = dst {
                let zero = (0..size as usize)
                    .all(|i| slot.types[(byte + REG_SIZE - i) % REG_SIZE] == SlotType::Zero);
                *self.reg_mut(dst) = if zero { RegState::known(0) } else { RegState::unknown() };
            }
            return Ok(());
        }
        let spilled = spill_size(&slot);
        if size as usize == REG_SIZE && spilled as usize == REG_SIZE {
            if let Some(dst) = dst {
                self.fill(frame, spi, dst, true);
            }
            self.push_jmp_history(Some((frame as u8, spi as u8)), LinkedRegs::default());
            return Ok(());
        }
        if !slot.spilled.is_scalar() {
            return Err(Reject::acces(Kind::InvalidFillSize));
        }
        let Some(dst) = dst else { return Ok(()) };
        self.read_part(frame, off, size, spilled, dst)
    }

    /// Restores a register, which then shares its id with the slot.
    fn fill(&mut self, frame: usize, spi: usize, dst: usize, link: bool) {
        let mut reg = self.cur.frames[frame].stack[spi].spilled;
        if link {
            let before = reg;
            self.assign_scalar_id(&mut reg);
            if reg != before {
                self.cur.frame_mut(frame).stack[spi].spilled = reg;
            }
        }
        *self.reg_mut(dst) = reg;
    }

    /// A read of another width than the spill, or of another part of the slot.
    fn read_part(
        &mut self,
        frame: usize,
        off: i64,
        size: u32,
        spilled: u32,
        dst: usize,
    ) -> Res<()> {
        let (spi, byte) = slot_of(off);
        let slot = self.cur.frames[frame].stack[spi];
        let hist = Some((frame as u8, spi as u8));
        if size <= spilled && off % REG_SIZE as i64 == 0 {
            let link = size == 4 && spilled == 4 && reg_width(&slot.spilled) <= 32;
            self.fill(frame, spi, dst, link);
            if reg_width(&slot.spilled) > size * 8 {
                let reg = self.reg_mut(dst);
                (reg.id, reg.off) = (0, 0);
            }
            self.push_jmp_history(hist, LinkedRegs::default());
            return Ok(());
        }
        let types = (0..size as usize).map(|i| slot.types[(byte + REG_SIZE - i) % REG_SIZE]);
        let all = |want: SlotType| types.clone().all(|t| t == want);
        if all(SlotType::Spill) && slot.spilled.is_null() {
            *self.reg_mut(dst) = RegState::known(0);
            self.push_jmp_history(hist, LinkedRegs::default());
        } else if all(SlotType::Zero) {
            *self.reg_mut(dst) = RegState::known(0);
        } else {
            *self.reg_mut(dst) = RegState::unknown();
        }
        Ok(())
    }

    fn read_var(&mut self, ptr: &RegState, off: i32, a: &Access, dst: usize) -> Res<()> {
        self.check_stack_range_initialized(a.regno, off, a.size, false, a.dir, None)?;
        let min = ptr.bounds.smin + i64::from(off);
        let max = ptr.bounds.smax + i64::from(off) + i64::from(a.size);
        let func = &self.cur.frames[ptr.frameno()];
        let zero = (min..max).all(|at| {
            let (spi, byte) = slot_of(at);
            func.stack[spi].types[byte] == SlotType::Zero
        });
        *self.reg_mut(dst) = if zero { RegState::known(0) } else { RegState::unknown() };
        Ok(())
    }
}
