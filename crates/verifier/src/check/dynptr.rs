//! Dynptrs: two stack slots that stand for a piece of memory of a size known at run time
//! (`process_dynptr_func`, `mark_stack_slots_dynptr`).

use stylet_uapi::errno;

use super::kfunc::PassedDynptr;
use super::mem::{Access, Dir, Value};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, RegFlags, RegState, RegType, StackObject};
use crate::rejection::{Reject, Res};
use crate::state::{REG_SIZE, RefKind, SlotType, StackSlot};

/// Slots of a dynptr (`BPF_DYNPTR_NR_SLOTS`).
pub(crate) const DYNPTR_SLOTS: usize = 2;

/// What a call does with a dynptr argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DynptrUse {
    /// Makes one of this type; a clone of a referenced one shares its reference.
    Init { ty: DynptrType, clone_ref: u32 },
    /// Uses one, of this type only if there is one.
    Use { ty: Option<DynptrType>, rdonly: bool },
}

/// What a slot says of the dynptr in it.
fn dynptr_in(slot: &StackSlot) -> Option<(DynptrType, bool)> {
    match (slot.types[0], slot.spilled.object) {
        (SlotType::Dynptr, StackObject::Dynptr { ty, first }) => Some((ty, first)),
        _ => None,
    }
}

impl Verifier<'_> {
    /// Frame and first slot of an object of `slots` slots behind a stack pointer (`stack_slot_obj_get_spi`): `None` when
    /// the frame does not reach so far yet.
    pub(crate) fn stack_object(
        &self,
        reg: &RegState,
        what: &'static str,
        slots: usize,
    ) -> Res<Option<(usize, usize)>> {
        let Some(var) = reg.bounds.const_value() else {
            return Err(Reject::inval(Kind::ObjectNotConstant { what }));
        };
        let off = i64::from(reg.off).wrapping_add(var as i64) as i32;
        let bad = || Err(Reject::inval(Kind::ObjectOffset { what, off }));
        if off % REG_SIZE as i32 != 0 {
            return bad();
        }
        let spi = (-1 - i64::from(off)).div_euclid(REG_SIZE as i64);
        if spi + 1 < slots as i64 {
            return bad();
        }
        let frame = reg.frameno();
        let len = self.cur.frames.get(frame).map_or(0, |f| f.stack.len());
        Ok((spi < len as i64).then_some((frame, spi as usize)))
    }

    /// A dynptr argument (`process_dynptr_func`).
    pub(crate) fn process_dynptr_func(&mut self, regno: u8, want: DynptrUse) -> Res<()> {
        let reg = *self.reg(regno.into());
        let arg = regno - 1;
        if !matches!(reg.ty, RegType::PtrToStack | RegType::ConstPtrToDynptr) {
            return Err(Reject::inval(Kind::ExpectedDynptrPointer { arg }));
        }
        match want {
            DynptrUse::Init { ty, clone_ref } => self.init_dynptr(regno, &reg, ty, clone_ref),
            DynptrUse::Use { ty, rdonly } => {
                if reg.ty == RegType::ConstPtrToDynptr && !rdonly {
                    return Err(Reject::inval(Kind::ConstDynptrMutated));
                }
                let passed = self.dynptr_arg(&reg);
                let Ok(Some(passed)) = passed else {
                    let kind = Kind::ExpectedDynptr { arg };
                    return Err(Reject::inval(kind).after(passed.err()));
                };
                if let Some(ty) = ty.filter(|ty| *ty != passed.ty) {
                    return Err(Reject::inval(Kind::ExpectedDynptrOfType { arg, ty: ty.name() }));
                }
                if let Ok(Some((frame, spi))) = self.stack_object(&reg, "dynptr", DYNPTR_SLOTS)
                    && reg.ty == RegType::PtrToStack
                {
                    self.mark_stack_read(frame, spi - 1, spi);
                }
                Ok(())
            }
        }
    }

    /// The dynptr that a register names; `None` when there is no whole one.
    pub(crate) fn dynptr_arg(&self, reg: &RegState) -> Res<Option<PassedDynptr>> {
        if reg.ty == RegType::ConstPtrToDynptr {
            let StackObject::Dynptr { ty, .. } = reg.object else {
                return Err(Reject::bug("dynptr without a type"));
            };
            return Ok(Some(PassedDynptr { id: reg.id, ty, ref_obj_id: reg.ref_obj_id }));
        }
        let Some((frame, spi)) = self.stack_object(reg, "dynptr", DYNPTR_SLOTS)? else {
            return Ok(None);
        };
        let stack = &self.cur.frames[frame].stack;
        let (first, second) = (&stack[spi], &stack[spi - 1]);
        let (Some((ty, true)), Some(_)) = (dynptr_in(first), dynptr_in(second)) else {
            return Ok(None);
        };
        let reg = &first.spilled;
        Ok(Some(PassedDynptr { id: reg.id, ty, ref_obj_id: reg.ref_obj_id }))
    }

    fn init_dynptr(
        &mut self,
        regno: u8,
        reg: &RegState,
        ty: DynptrType,
        clone_ref: u32,
    ) -> Res<()> {
        let uninit = Kind::DynptrNotUninit;
        if reg.ty == RegType::ConstPtrToDynptr {
            return Err(Reject::inval(uninit));
        }
        if let Err(why) = self.stack_object(reg, "dynptr", DYNPTR_SLOTS) {
            return Err(Reject::inval(uninit).after(Some(why)));
        }
        for off in [0, REG_SIZE as i32] {
            self.check_mem_access(Access {
                size: REG_SIZE as u32,
                dir: Dir::Write,
                value: Value::None,
                ..Access::helper_byte(regno, off)
            })?;
        }
        let Some((frame, spi)) = self.stack_object(reg, "dynptr", DYNPTR_SLOTS)? else {
            return Err(Reject::new(errno::ERANGE, Kind::Silent));
        };
        self.destroy_dynptr_slot(frame, spi)?;
        self.destroy_dynptr_slot(frame, spi - 1)?;
        let id = self.new_id();
        let ref_obj_id = match (ty.is_refcounted(), clone_ref) {
            (false, _) => 0,
            (true, 0) => self.acquire_reference(RefKind::Ptr),
            (true, shared) => shared,
        };
        for (spi, first) in [(spi, true), (spi - 1, false)] {
            self.mark_stack_write(frame, spi, true);
            let slot = &mut self.cur.frame_mut(frame).stack[spi];
            slot.reset(SlotType::Dynptr);
            slot.spilled = RegState {
                id,
                ref_obj_id,
                object: StackObject::Dynptr { ty, first },
                ..RegState::pointer(RegType::ConstPtrToDynptr, RegFlags::NONE)
            };
        }
        Ok(())
    }

    /// A slot is overwritten: a dynptr that has a part in it is no more (`destroy_if_dynptr_stack_slot`).
    pub(crate) fn destroy_dynptr_slot(&mut self, frame: usize, spi: usize) -> Res<()> {
        let Some(slot) = self.cur.frames[frame].stack.get(spi) else { return Ok(()) };
        let Some((ty, first)) = dynptr_in(slot) else { return Ok(()) };
        let spi = if first { spi } else { spi + 1 };
        if ty.is_refcounted() {
            return Err(Reject::inval(Kind::OverwritesReferencedDynptr));
        }
        let id = self.cur.frames[frame].stack[spi].spilled.id;
        self.invalidate_dynptr(frame, spi);
        self.cur.for_each_reg(|reg| {
            let slice = reg.ty == RegType::PtrToMem
                && reg.flags.without(RegFlags::MAYBE_NULL) == RegFlags::NONE;
            if slice && reg.dynptr_id == id {
                *reg = RegState::unknown();
            }
        });
        Ok(())
    }

    fn invalidate_dynptr(&mut self, frame: usize, spi: usize) {
        for spi in [spi, spi - 1] {
            self.mark_stack_write(frame, spi, true);
            self.cur.frame_mut(frame).stack[spi].reset(SlotType::Invalid);
        }
    }

    /// The dynptr behind a register is released, with its clones (`unmark_stack_slots_dynptr`).
    pub(crate) fn release_dynptr(&mut self, reg: &RegState) -> Res<()> {
        let Some((frame, spi)) = self.stack_object(reg, "dynptr", DYNPTR_SLOTS)? else {
            return Err(Reject::new(errno::ERANGE, Kind::Silent));
        };
        let spilled = self.cur.frames[frame].stack[spi].spilled;
        if !matches!(spilled.object, StackObject::Dynptr { ty, .. } if ty.is_refcounted()) {
            self.invalidate_dynptr(frame, spi);
            return Ok(());
        }
        let id = spilled.ref_obj_id;
        self.release_reference(id);
        for spi in 1..self.cur.frames[frame].stack.len() {
            let slot = &self.cur.frames[frame].stack[spi];
            if slot.spilled.ref_obj_id == id && matches!(dynptr_in(slot), Some((_, true))) {
                self.invalidate_dynptr(frame, spi);
            }
        }
        Ok(())
    }
}
