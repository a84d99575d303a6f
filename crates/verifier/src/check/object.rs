//! Objects of the program's own types: `bpf_obj_new`, `bpf_obj_drop`, `bpf_refcount_acquire`.

use stylet_btf::{Type, TypeId};
use stylet_catalog::KfuncFlags;

use super::kfunc::KfuncMeta;
use super::kfunc_arg::Arg;
use super::types::is_scalar_struct;
use crate::env::Verifier;
use crate::fields::FieldKind;
use crate::kind::RejectionKind as Kind;
use crate::regs::{PROG_BTF, RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};

/// Largest object that exists once a CPU (`BPF_GLOBAL_PERCPU_MA_MAX_SIZE`).
const PERCPU_MAX_SIZE: u32 = 512;

/// An object of the program's own type, `off` bytes from its start.
pub(super) fn own_object(ty: TypeId, off: u32, flags: RegFlags) -> RegState {
    RegState {
        aux: ty,
        map: PROG_BTF,
        off: off as i32,
        ..RegState::pointer(RegType::PtrToBtfId, flags.with(RegFlags::ALLOC))
    }
}

impl RegState {
    /// Exactly an allocated object of the program's own (`PTR_TO_BTF_ID | MEM_ALLOC`).
    pub(super) fn is_own_object(&self) -> bool {
        self.ty == RegType::PtrToBtfId && self.flags == RegFlags::ALLOC
    }

    /// An object of the program's own, owned or not (`type_is_ptr_alloc_obj`).
    pub(super) fn is_any_own_object(&self) -> bool {
        self.ty == RegType::PtrToBtfId && self.flags.has(RegFlags::ALLOC)
    }

    /// An object that something else owns (`type_is_non_owning_ref`).
    pub(crate) fn is_non_owning(&self) -> bool {
        self.is_any_own_object() && self.flags.has(RegFlags::NON_OWN_REF)
    }
}

/// Kfuncs that make an object whose type the first argument tells.
pub(super) fn makes_object(name: &str) -> bool {
    matches!(name, "bpf_obj_new_impl" | "bpf_percpu_obj_new_impl")
}

impl Verifier<'_> {
    /// What `bpf_obj_new` or `bpf_percpu_obj_new` gives.
    pub(super) fn new_object(&self, meta: &KfuncMeta<'_>) -> Res<RegState> {
        let Some(value) = meta.arg_constant else {
            return Err(Reject::bug("an object without a type"));
        };
        let Ok(id) = u32::try_from(value) else {
            return Err(Reject::inval(Kind::LocalTypeIdRange));
        };
        let Some(btf) = self.input.btf else {
            return Err(Reject::inval(Kind::ObjNewNeedsBtf));
        };
        let ty = btf.type_by_id(id);
        let Some(Type::Struct(s)) = ty else {
            return Err(Reject::inval(Kind::ObjNewNotStruct));
        };
        if meta.desc.name != "bpf_percpu_obj_new_impl" {
            return Ok(own_object(id, 0, RegFlags::NONE));
        }
        if s.size > PERCPU_MAX_SIZE {
            let kind = Kind::PercpuObjectSize { size: s.size, limit: PERCPU_MAX_SIZE };
            return Err(Reject::inval(kind));
        }
        if !is_scalar_struct(btf, ty, 0) {
            return Err(Reject::inval(Kind::PercpuObjectNotScalars));
        }
        if self.objects.contains_key(&id) {
            return Err(Reject::inval(Kind::PercpuObjectFields));
        }
        Ok(own_object(id, 0, RegFlags::PERCPU))
    }

    /// The argument of `bpf_obj_drop` or `bpf_percpu_obj_drop`.
    pub(super) fn check_dropped_object(
        &self,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &KfuncMeta<'_>,
    ) -> Res<()> {
        let percpu = RegFlags::ALLOC.with(RegFlags::PERCPU);
        let want = if reg.is_own_object() {
            "bpf_obj_drop_impl"
        } else if reg.ty == RegType::PtrToBtfId && reg.flags == percpu {
            "bpf_percpu_obj_drop_impl"
        } else {
            return Err(Reject::inval(Kind::ExpectedAllocated {
                arg: arg.n,
                what: "allocated object",
            }));
        };
        if meta.desc.name != want {
            return Err(Reject::inval(Kind::ExpectedFor { arg: arg.n, kfunc: want }));
        }
        if reg.ref_obj_id == 0 {
            return Err(Reject::inval(Kind::AllocatedNotReferenced));
        }
        Ok(())
    }

    /// The argument of `bpf_refcount_acquire`.
    pub(super) fn check_refcounted_object(
        &self,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        if !reg.is_any_own_object() {
            return Err(Reject::inval(Kind::NeitherOwning { arg: arg.n }));
        }
        if !reg.is_non_owning() && reg.ref_obj_id != 0 {
            // It is there: acquiring it cannot fail.
            meta.flags -= KfuncFlags::RET_NULL;
        }
        let Some(record) = self.reg_record(reg) else {
            return Err(Reject::bug("Couldn't find btf_record"));
        };
        if !record.has(FieldKind::Refcount) {
            return Err(Reject::inval(Kind::NotRefcounted { arg: arg.n }));
        }
        meta.object = Some(reg.aux);
        Ok(())
    }

    /// Every copy of the object with this reference is one that something else owns now
    /// (`ref_convert_owning_non_owning`).
    pub(super) fn disown_reference(&mut self, id: u32) -> bool {
        if id == 0 || !self.release_state_of(id) {
            return false;
        }
        let objects = &self.objects;
        self.cur.for_each_reg(|reg| {
            if reg.ref_obj_id == id {
                reg.ref_obj_id = 0;
                let record = objects.get(&reg.aux);
                set_non_owning(reg, record.is_some_and(|r| r.has(FieldKind::Refcount)));
            }
        });
        true
    }

    /// An object that is found in a list or tree (`mark_reg_graph_node`, `ref_set_non_owning`).
    pub(super) fn node_in_graph(&self, ty: TypeId, node_off: u32, owned: bool) -> RegState {
        let mut reg = own_object(ty, node_off, RegFlags::NONE);
        if !owned {
            let record = self.objects.get(&ty);
            set_non_owning(&mut reg, record.is_some_and(|r| r.has(FieldKind::Refcount)));
        }
        reg
    }

    /// Without the lock, what lists and trees own may be gone (`invalidate_non_owning_refs`).
    pub(super) fn invalidate_non_owning_refs(&mut self) {
        self.cur.for_each_reg(|reg| {
            if reg.is_non_owning() {
                *reg = RegState::unknown();
            }
        });
    }
}

/// What has a count lives on until an RCU grace period has passed.
fn set_non_owning(reg: &mut RegState, refcounted: bool) {
    reg.flags = reg.flags.with(RegFlags::NON_OWN_REF);
    if refcounted {
        reg.flags = reg.flags.with(RegFlags::RCU);
    }
}
