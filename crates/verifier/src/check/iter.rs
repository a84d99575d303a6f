//! Open-coded iterators (`process_iter_arg`, `process_iter_next_call`).

use alloc::string::{String, ToString};

use stylet_btf::Type;
use stylet_catalog::KfuncFlags;
use stylet_uapi::errno;

use super::kfunc::KfuncMeta;
use super::mem::{Access, Dir, Value};
use super::nullness::mark_ptr_not_null;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{IterState, RegFlags, RegState, RegType, StackObject};
use crate::rejection::{Reject, Res};
use crate::state::{REG_SIZE, RefKind, SlotType};

/// Why an iterator argument is not one that was begun.
enum Unfit {
    /// There is none, of this type.
    Missing,
    /// It was begun in an RCU section that is over.
    OutsideRcu,
}

impl Verifier<'_> {
    /// Type and slots of an iterator argument (`btf_check_iter_arg`).
    fn iter_type(&self, meta: &KfuncMeta<'_>, arg: u8) -> Option<(u32, usize, String)> {
        let btf = meta.desc.btf;
        let param = meta.desc.proto.params().nth(arg.into())?;
        let Some(Type::Ptr(ptr)) = btf.type_by_id(btf.skip_mods_and_typedefs(param.ty)) else {
            return None;
        };
        let id = btf.skip_mods_and_typedefs(ptr.ty);
        let Some(Type::Struct(s)) = btf.type_by_id(id) else { return None };
        let name = btf.name(s.name_off).strip_prefix("bpf_iter_")?;
        let slots = s.size as usize / REG_SIZE;
        (s.size as usize).is_multiple_of(REG_SIZE).then(|| (id, slots, name.to_string()))
    }

    /// An iterator argument of a kfunc.
    pub(crate) fn process_iter_arg(&mut self, regno: u8, meta: &mut KfuncMeta<'_>) -> Res<()> {
        let (reg, arg) = (*self.reg(regno.into()), regno - 1);
        if reg.ty != RegType::PtrToStack {
            return Err(Reject::inval(Kind::ExpectedIterPointer { arg }));
        }
        let Some((btf_id, slots, name)) = self.iter_type(meta, arg).filter(|(_, n, _)| *n > 0)
        else {
            return Err(Reject::inval(Kind::ExpectedValidIter { arg }));
        };
        if meta.has(KfuncFlags::ITER_NEW) {
            return self.new_iter(regno, meta, btf_id, slots, name);
        }
        let found = self.stack_object(&reg, "iter", slots);
        let spot = found.as_ref().ok().copied().flatten();
        let (frame, spi) = match spot.map(|at| (at, self.unfit_iter(at, btf_id, slots))) {
            Some((at, None)) => at,
            Some((_, Some(Unfit::OutsideRcu))) => {
                let kind = Kind::ExpectedRcuSection { name: meta.desc.name.to_string() };
                return Err(Reject::new(errno::EPROTO, kind));
            }
            Some((_, Some(Unfit::Missing))) | None => {
                let kind = Kind::ExpectedIter { name, arg };
                return Err(Reject::inval(kind).after(found.err()));
            }
        };
        self.mark_stack_read(frame, spi + 1 - slots, spi);
        meta.iter = Some((frame, spi));
        meta.ref_obj_id = self.cur.frames[frame].stack[spi].spilled.ref_obj_id;
        if meta.has(KfuncFlags::ITER_DESTROY) {
            self.release_reference(meta.ref_obj_id);
            for spi in spi + 1 - slots..=spi {
                self.mark_stack_write(frame, spi, true);
                self.cur.frame_mut(frame).stack[spi].reset(SlotType::Invalid);
            }
        }
        Ok(())
    }

    /// `is_iter_reg_valid_init`.
    fn unfit_iter(&self, (frame, spi): (usize, usize), btf_id: u32, slots: usize) -> Option<Unfit> {
        let stack = &self.cur.frames[frame].stack;
        for i in 0..slots {
            let slot = &stack[spi - i];
            let reg = &slot.spilled;
            if reg.flags.has(RegFlags::UNTRUSTED) {
                return Some(Unfit::OutsideRcu);
            }
            let whole = slot.types.iter().all(|t| *t == SlotType::Iter);
            if !whole || (i == 0) != (reg.ref_obj_id != 0) || reg.aux != btf_id {
                return Some(Unfit::Missing);
            }
        }
        None
    }

    fn new_iter(
        &mut self,
        regno: u8,
        meta: &KfuncMeta<'_>,
        btf_id: u32,
        slots: usize,
        name: String,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        let found = self.stack_object(&reg, "iter", slots);
        let taken = match &found {
            Ok(Some((frame, spi))) => (0..slots)
                .any(|i| self.cur.frames[*frame].stack[spi - i].types.contains(&SlotType::Iter)),
            Ok(None) => false,
            Err(_) => true,
        };
        if taken {
            let kind = Kind::ExpectedUninitIter { name, arg: regno - 1 };
            return Err(Reject::inval(kind).after(found.err()));
        }
        for i in 0..slots {
            self.check_mem_access(Access {
                size: REG_SIZE as u32,
                dir: Dir::Write,
                value: Value::None,
                ..Access::helper_byte(regno, (i * REG_SIZE) as i32)
            })?;
        }
        let Some((frame, spi)) = self.stack_object(&reg, "iter", slots)? else {
            return Err(Reject::new(errno::ERANGE, Kind::Silent));
        };
        let flags = match (meta.has(KfuncFlags::RCU_PROTECTED), self.in_rcu_cs()) {
            (false, _) => RegFlags::NONE,
            (true, true) => RegFlags::RCU,
            (true, false) => RegFlags::UNTRUSTED,
        };
        let id = self.acquire_reference(RefKind::Ptr);
        for i in 0..slots {
            self.mark_stack_write(frame, spi - i, true);
            let slot = &mut self.cur.frame_mut(frame).stack[spi - i];
            slot.reset(SlotType::Iter);
            slot.spilled = RegState {
                aux: btf_id,
                ref_obj_id: if i == 0 { id } else { 0 },
                object: StackObject::Iter { state: IterState::Active, depth: 0 },
                ..RegState::pointer(RegType::PtrToStack, flags)
            };
        }
        Ok(())
    }

    /// RCU keeps objects alive here: in a section, or in a program that cannot sleep (`in_rcu_cs`).
    pub(crate) fn in_rcu_cs(&self) -> bool {
        self.cur.sections.rcu != 0 || !self.cur.in_sleepable || self.cur.active_lock().is_some()
    }

    /// The iterator that R1 points to may give more elements.
    pub(crate) fn iter_is_active(&self) -> bool {
        let Ok(Some((frame, spi))) = self.stack_object(self.reg(1), "iter", 1) else {
            return false;
        };
        matches!(
            self.cur.frames[frame].stack[spi].spilled.object,
            StackObject::Iter { state: IterState::Active, .. }
        )
    }

    /// The iterator gives an element on a path that is put aside, and ends on the one that goes on.
    pub(crate) fn process_iter_next_call(&mut self, meta: &KfuncMeta<'_>) -> Res<()> {
        let Some((frame, spi)) = meta.iter else {
            return Err(Reject::bug("next without an iterator"));
        };
        let object = self.cur.frames[frame].stack[spi].spilled.object;
        let StackObject::Iter { state, depth } = object else {
            return Err(Reject::bug("next of something else than an iterator"));
        };
        let at = self.insn_idx;
        if state == IterState::Active {
            let mut queued = self.cur.clone();
            queued.frame_mut(frame).stack[spi].spilled.object =
                StackObject::Iter { state, depth: depth + 1 };
            if let Some(prev) = self.find_prev_entry(at) {
                self.widen_imprecise_scalars(prev, &mut queued);
            }
            mark_ptr_not_null(&self.known(), queued.reg_mut(0));
            self.push_stack(queued, at + 1, at)?;
        }
        self.cur.frame_mut(frame).stack[spi].spilled.object =
            StackObject::Iter { state: IterState::Drained, depth };
        *self.reg_mut(0) = RegState::known(0);
        Ok(())
    }
}
