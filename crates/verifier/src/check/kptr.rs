//! Kernel pointers in map values and objects (`check_map_kptr_access`, `process_kptr_func`).

use alloc::boxed::Box;
use alloc::string::String;

use stylet_catalog::{ArgFlags, Features};

use super::helper::CallMeta;
use super::mem::{Access, Dir, Value};
use crate::btf_walk::ids_match;
use crate::env::Verifier;
use crate::fields::{Field, FieldKind};
use crate::kind::RejectionKind as Kind;
use crate::regs::{PROG_BTF, RegFlags, RegState, RegType, TypeName};
use crate::rejection::{Reject, Res};
use crate::state::RefKind;

/// Kernel objects that live on until an RCU grace period has passed (`rcu_protected_types`).
const RCU_PROTECTED: &[&str] =
    &["prog_test_ref_kfunc", "cgroup", "bpf_cpumask", "task_struct", "bpf_crypto_ctx"];

impl Verifier<'_> {
    /// A load or store of a kernel pointer in a map's value.
    pub(super) fn check_map_kptr_access(&mut self, field: Field, a: &Access) -> Res<()> {
        if a.strict || a.value == Value::None {
            return Err(Reject::acces(Kind::KptrMode));
        }
        let owned = matches!(field.kind, FieldKind::KptrRef | FieldKind::KptrPercpu);
        match (a.dir, a.value) {
            (Dir::Write, _) if owned => {
                Err(Reject::acces(Kind::KptrStore { what: "referenced kptr" }))
            }
            (Dir::Write, _) if field.kind == FieldKind::Uptr => {
                Err(Reject::acces(Kind::KptrStore { what: "uptr" }))
            }
            (Dir::Read, Value::Reg(dst)) => self.load_kptr(field, dst),
            (_, Value::Reg(src)) => {
                let value = *self.reg(src.into());
                if value.is_null() {
                    return self.mark_reg_precise(src.into());
                }
                self.kptr_match_type(&field, &value, src)
            }
            (_, Value::Imm(0)) => Ok(()),
            _ => Err(Reject::acces(Kind::KptrStoreImm { off: field.off })),
        }
    }

    fn load_kptr(&mut self, field: Field, dst: u8) -> Res<()> {
        let id = self.new_id();
        if field.kind == FieldKind::Uptr {
            let size = self.input.btf.and_then(|btf| btf.resolve_size(field.ty).ok());
            let mem = RegState::pointer(RegType::PtrToMem, RegFlags::MAYBE_NULL);
            *self.reg_mut(dst.into()) = RegState { aux: size.unwrap_or(0), id, ..mem };
            return Ok(());
        }
        let mut flags = RegFlags::MAYBE_NULL;
        if self.rcu_safe_kptr(&field) && self.in_rcu_cs() {
            flags = flags.with(RegFlags::RCU);
            if field.kind == FieldKind::KptrPercpu {
                flags = flags.with(RegFlags::PERCPU);
            } else if !field.kernel {
                flags = flags.with(RegFlags::ALLOC);
            }
            let record = self.objects.get(&field.ty).filter(|_| !field.kernel);
            if record.is_some_and(|r| r.fields.iter().any(|f| f.kind.is_node())) {
                flags = flags.with(RegFlags::NON_OWN_REF);
            }
        } else {
            flags = flags.with(RegFlags::UNTRUSTED);
        }
        *self.reg_mut(dst.into()) = RegState { id, ..object(&field, flags) };
        Ok(())
    }

    fn rcu_safe_kptr(&self, field: &Field) -> bool {
        let name = || self.cat.btf.as_ref().map_or("", |btf| btf.type_name(field.ty));
        match field.kind {
            FieldKind::KptrPercpu => true,
            FieldKind::KptrRef => !field.kernel || RCU_PROTECTED.contains(&name()),
            _ => false,
        }
    }

    /// A pointer that is stored is one of those that the field is for (`map_kptr_match_type`).
    pub(super) fn kptr_match_type(&self, field: &Field, reg: &RegState, regno: u8) -> Res<()> {
        let field_btf = if field.kernel { self.cat.btf.as_ref() } else { self.input.btf };
        let target = field_btf.map_or("", |btf| btf.type_name(field.ty));
        let bad = |name: &str| {
            let or = match field.kind {
                FieldKind::KptrUnref => alloc::format!(
                    " or {}{target}",
                    TypeName::new(RegType::PtrToBtfId, RegFlags::UNTRUSTED)
                ),
                _ => String::new(),
            };
            Err(Reject::acces(Kind::KptrBadType {
                reg: regno,
                ty: reg.type_name(),
                name: Box::from(name),
                expected: alloc::format!("ptr_{target}{or}").into(),
            }))
        };
        if reg.ty != RegType::PtrToBtfId {
            return bad("");
        }
        let percpu = field.kind == FieldKind::KptrPercpu;
        let mut allowed = RegFlags::MAYBE_NULL;
        if reg.map != PROG_BTF {
            allowed = allowed.with(RegFlags::TRUSTED).with(RegFlags::RCU);
            if field.kind == FieldKind::KptrUnref {
                allowed = allowed.with(RegFlags::UNTRUSTED);
            }
        } else {
            allowed = allowed.with(RegFlags::ALLOC);
            if percpu {
                allowed = allowed.with(RegFlags::PERCPU);
            }
        }
        if reg.flags.without(allowed) != RegFlags::NONE
            || percpu && !reg.flags.has(RegFlags::PERCPU) && self.cat.has(Features::KPTR_PERCPU)
        {
            return bad("");
        }
        let btf = self.btf_of(reg)?;
        let name = btf.type_name(reg.aux);
        self.check_ptr_off_reg(reg, regno, true)?;
        let strict = field.kind != FieldKind::KptrUnref;
        let same_btf = field.kernel == (reg.map != PROG_BTF);
        if !same_btf {
            return bad(name);
        }
        ids_match(btf, reg.aux, reg.off.into(), field.ty, strict)
            .or_else(|note| bad(name).map_err(|e| e.after(note)))
    }

    /// The first argument of `bpf_kptr_xchg`: where the pointer is kept.
    pub(super) fn process_kptr_func(
        &self,
        regno: u8,
        reg: &RegState,
        meta: &mut CallMeta,
    ) -> Res<()> {
        if reg.ty == RegType::PtrToMapValue && !self.map_btf[reg.map as usize].known {
            let map = self.map_of(reg).name.clone();
            return Err(Reject::inval(Kind::FieldNeedsBtf { map, what: "bpf_kptr_xchg" }));
        }
        let Some(var) = reg.bounds.const_value() else {
            return Err(Reject::inval(Kind::FieldNotConstant { reg: regno, what: "kptr" }));
        };
        let record = self.reg_record(reg);
        let kptr = |kind: FieldKind| kind.is_kptr() && kind != FieldKind::Uptr;
        let Some(record) = record.filter(|r| r.fields.iter().any(|f| kptr(f.kind))) else {
            return Err(Reject::inval(Kind::NoKptr { reg: regno }));
        };
        let off = i64::from(reg.off).wrapping_add(var as i64);
        let Some(field) = record.find(off, kptr) else {
            return Err(Reject::acces(Kind::NotAtKptr { off: off as i32 }));
        };
        if field.kind == FieldKind::KptrUnref {
            return Err(Reject::acces(Kind::KptrWithoutReference { off: off as i32 }));
        }
        meta.kptr = Some(*field);
        Ok(())
    }

    /// The second argument of `bpf_kptr_xchg`: an object that fits the field.
    pub(super) fn check_kptr_source(&self, reg: &RegState, regno: u8, meta: &CallMeta) -> Res<()> {
        let mut flags = reg.flags.without(RegFlags::MAYBE_NULL);
        if reg.flags.has(RegFlags::ALLOC) {
            flags = flags.without(RegFlags::ALLOC).without(RegFlags::PERCPU);
        }
        let fits = [RegFlags::NONE, RegFlags::TRUSTED, RegFlags::RCU].contains(&flags);
        if reg.ty != RegType::PtrToBtfId || !fits {
            return Err(Reject::acces(Kind::ArgType {
                reg: regno,
                ty: reg.type_name(),
                expected: "ptr_, trusted_ptr_, rcu_ptr_",
            }));
        }
        if reg.flags.has(RegFlags::ALLOC.with(RegFlags::MAYBE_NULL)) {
            return Err(Reject::bug("invalid PTR_TO_BTF_ID register for type match"));
        }
        let Some(field) = meta.kptr else { return Err(Reject::bug("exchange without a field")) };
        self.kptr_match_type(&field, reg, regno)
    }

    /// What was stored belongs to the map now; copies of a per-CPU pointer stay readable under RCU.
    pub(super) fn release_into_kptr(&mut self, id: u32) -> bool {
        let held = self.cur.refs.iter().any(|r| r.kind == RefKind::Ptr && r.id == id);
        if !held {
            return false;
        }
        self.cur.refs.retain(|r| r.kind != RefKind::Ptr || r.id != id);
        let in_rcu = self.in_rcu_cs();
        self.cur.for_each_reg(|reg| {
            if reg.ref_obj_id != id {
                return;
            }
            if in_rcu && reg.flags.has(RegFlags::ALLOC) && reg.flags.has(RegFlags::PERCPU) {
                reg.ref_obj_id = 0;
                reg.flags = reg.flags.without(RegFlags::ALLOC).with(RegFlags::RCU);
            } else {
                *reg = RegState::unknown();
            }
        });
        true
    }

    /// What `bpf_kptr_xchg` gives back.
    pub(super) fn kptr_result(&self, meta: &CallMeta, ret: ArgFlags) -> Res<RegState> {
        let Some(field) = meta.kptr else { return Err(Reject::bug("exchange without a field")) };
        let mut flags = RegFlags::NONE;
        if ret.contains(ArgFlags::PTR_MAYBE_NULL) {
            flags = flags.with(RegFlags::MAYBE_NULL);
        }
        if !field.kernel {
            flags = flags.with(RegFlags::ALLOC);
            if field.kind == FieldKind::KptrPercpu {
                flags = flags.with(RegFlags::PERCPU);
            }
        }
        Ok(object(&field, flags))
    }
}

/// The object that a field points to.
fn object(field: &Field, flags: RegFlags) -> RegState {
    let reg = RegState { aux: field.ty, ..RegState::pointer(RegType::PtrToBtfId, flags) };
    if field.kernel { reg } else { RegState { map: PROG_BTF, ..reg } }
}
