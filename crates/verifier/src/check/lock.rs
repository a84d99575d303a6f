//! Spin locks in map values and objects (`process_spin_lock`).

use alloc::string::ToString;

use stylet_catalog::Release;
use stylet_insn::Insn;
use stylet_uapi::HelperId;

use crate::bounds::Bounds;
use crate::env::Verifier;
use crate::fields::{FieldKind, Record};
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::{OWN_OBJECT, RefKind, RefState};

/// `MAX_ERRNO`
const MAX_ERRNO: i32 = 4095;

/// Kfuncs that may be called while a lock is held (`kfunc_spin_allowed`).
fn kfunc_spin_allowed(name: &str) -> bool {
    const PREFIXES: &[&str] = &["bpf_list_", "bpf_rbtree_", "bpf_res_spin_", "bpf_iter_num_"];
    PREFIXES.iter().any(|p| name.starts_with(p)) || name == "bpf_refcount_acquire_impl"
}

impl Verifier<'_> {
    /// Fields of what a pointer points to (`reg_btf_record`).
    pub(crate) fn reg_record(&self, reg: &RegState) -> Option<&Record> {
        match reg.ty {
            RegType::PtrToMapValue => Some(&self.map_btf[reg.map as usize].record),
            _ if reg.is_any_own_object() => self.objects.get(&reg.aux),
            _ => None,
        }
    }

    /// What owns the lock behind a pointer.
    pub(crate) fn lock_owner(reg: &RegState) -> u32 {
        if reg.ty == RegType::PtrToMapValue { reg.map } else { OWN_OBJECT }
    }

    /// Whether a call may be made while a lock is held.
    pub(crate) fn may_call_under_lock(&self, insn: Insn) -> bool {
        if insn.is_pseudo_call() {
            return self.cat.release() >= Release::new(6, 9);
        }
        if insn.is_kfunc_call() {
            let desc = self.kfuncs.get(&(insn.imm as u32));
            return insn.off == 0 && desc.is_some_and(|d| kfunc_spin_allowed(d.name));
        }
        matches!(HelperId(insn.imm as u32), HelperId::SPIN_UNLOCK | HelperId::KPTR_XCHG)
    }

    /// Puts aside the path on which a lock could not be taken.
    pub(crate) fn push_lock_failure(&mut self) -> Res<()> {
        let mut failed = self.cur.clone();
        Self::clear_caller_saved(failed.cur_mut());
        let mut bounds = Bounds::unknown();
        (bounds.s32_min, bounds.s32_max) = (-MAX_ERRNO, -1);
        bounds.sync();
        *failed.reg_mut(0) = RegState::scalar(bounds);
        self.push_stack(failed, self.insn_idx + 1, self.insn_idx)
    }

    /// Takes or gives back the lock behind a register.
    pub(crate) fn process_spin_lock(&mut self, regno: u8, lock: bool, kind: RefKind) -> Res<()> {
        let reg = *self.reg(regno.into());
        let (name, what, field) = match kind {
            RefKind::Lock => ("bpf_spin", "bpf_spin_lock", FieldKind::SpinLock),
            _ => ("bpf_res_spin", "bpf_res_spin_lock", FieldKind::ResSpinLock),
        };
        self.check_field_here(&reg, regno, what, field)?;
        let owner = Self::lock_owner(&reg);
        let held = |kinds: &[RefKind]| {
            let same = |r: &RefState| r.owner == owner && r.id == reg.id;
            self.cur.refs.iter().any(|r| kinds.contains(&r.kind) && same(r))
        };
        if lock {
            let any_spin = self.cur.refs.iter().any(|r| r.kind == RefKind::Lock);
            if kind == RefKind::Lock && any_spin {
                return Err(Reject::inval(Kind::TwoLocks));
            }
            if kind != RefKind::Lock && held(&[RefKind::ResLock, RefKind::ResLockIrq]) {
                return Err(Reject::inval(Kind::SameLockAgain));
            }
            let insn_idx = self.insn_idx;
            self.cur.refs.push(RefState { id: reg.id, kind, insn_idx, owner });
            return Ok(());
        }
        let Some(active) = self.cur.active_lock().copied() else {
            return Err(Reject::inval(Kind::UnlockWithoutLock { lock: name }));
        };
        if !held(&[kind]) {
            return Err(Reject::inval(Kind::UnlockOther { lock: name }));
        }
        if (active.id, active.owner) != (reg.id, owner) {
            return Err(Reject::inval(Kind::UnlockOutOfOrder { lock: name }));
        }
        let is_it = |r: &RefState| r.kind == kind && r.id == reg.id && r.owner == owner;
        if let Some(at) = self.cur.refs.iter().position(is_it) {
            self.cur.refs.remove(at);
        }
        self.invalidate_non_owning_refs();
        Ok(())
    }

    /// The pointer is at the field of its object, at a constant offset.
    fn check_field_here(
        &self,
        reg: &RegState,
        regno: u8,
        what: &'static str,
        field: FieldKind,
    ) -> Res<()> {
        let Some(var) = reg.bounds.const_value() else {
            return Err(Reject::inval(Kind::FieldNotConstant { reg: regno, what }));
        };
        let of_map = reg.ty == RegType::PtrToMapValue;
        let map_name = || self.map_of(reg).name.clone();
        if of_map && !self.map_btf[reg.map as usize].known {
            return Err(Reject::inval(Kind::FieldNeedsBtf { map: map_name(), what }));
        }
        let Some(at) = self.reg_record(reg).and_then(|r| r.offset(field)) else {
            let (whose, name) =
                if of_map { ("map", map_name()) } else { ("local", "kptr".to_string()) };
            return Err(Reject::inval(Kind::NoSpecialField { whose, name, what }));
        };
        let off = (var as i64).wrapping_add(reg.off.into());
        if off != i64::from(at) {
            return Err(Reject::inval(Kind::FieldElsewhere { off, what, at }));
        }
        Ok(())
    }

    /// The pointer is at such a field of a map's value (`check_map_field_pointer`).
    pub(crate) fn check_map_field_pointer(
        &self,
        reg: &RegState,
        regno: u8,
        field: FieldKind,
    ) -> Res<()> {
        self.check_field_here(reg, regno, field.name(), field)
    }
}
