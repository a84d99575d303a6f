//! Results of kfuncs (`check_kfunc_call`, second half; `check_special_kfunc`).

use alloc::string::ToString;

use stylet_btf::{Btf, Kind as BtfKind, Type};
use stylet_catalog::{Features, KfuncFlags};

use super::kfunc::{KfuncMeta, takes_res_lock};
use super::nullness::may_point_to_lock;
use super::object::{makes_object, own_object};
use super::types::{is_scalar, kind_text};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::RefKind;

impl Verifier<'_> {
    /// Sets R0.
    pub(crate) fn set_kfunc_result(&mut self, meta: &mut KfuncMeta<'_>) -> Res<()> {
        let btf = meta.desc.btf;
        let ret_id = btf.skip_mods_and_typedefs(meta.desc.proto.ret);
        let ret = btf.type_by_id(ret_id).filter(|_| ret_id != 0);
        let mut r0 = match ret {
            None => return Ok(()),
            Some(Type::Ptr(ptr)) => self.pointer_result(meta, ptr.ty)?,
            ty if is_scalar(ty) => {
                let taken = takes_res_lock(meta.desc.name);
                *self.reg_mut(0) = if taken { RegState::known(0) } else { RegState::unknown() };
                return Ok(());
            }
            _ => return Err(Reject::unsupported(meta.desc.name)),
        };
        let ret_null = meta.has(KfuncFlags::RET_NULL);
        if ret_null {
            r0.flags = r0.flags.with(RegFlags::MAYBE_NULL);
            r0.id = self.new_id();
        }
        if meta.has(KfuncFlags::ACQUIRE) {
            let id = self.acquire_reference(RefKind::Ptr);
            if ret_null {
                r0.id = id;
            }
            r0.ref_obj_id = id;
        }
        if r0.id == 0 && may_point_to_lock(&self.known(), &r0) {
            r0.id = self.new_id();
        }
        *self.reg_mut(0) = r0;
        Ok(())
    }

    fn pointer_result(&mut self, meta: &mut KfuncMeta<'_>, target: u32) -> Res<RegState> {
        let btf = meta.desc.btf;
        let id = btf.skip_mods_and_typedefs(target);
        let ty = btf.type_by_id(id).filter(|_| id != 0);
        if matches!(meta.desc.name, "bpf_dynptr_slice" | "bpf_dynptr_slice_rdwr") {
            return self.slice_result(meta);
        }
        if makes_object(meta.desc.name) {
            return self.new_object(meta);
        }
        if let Some(object) = meta.object {
            return Ok(own_object(object, 0, RegFlags::NONE));
        }
        if let Some(root) = &meta.root {
            return Ok(self.graph_result(root, meta.has(KfuncFlags::ACQUIRE)));
        }
        match meta.desc.name {
            "bpf_cast_to_kern_ctx" => return self.kern_ctx_result(btf),
            "bpf_rdonly_cast" => return self.rdonly_cast_result(btf, meta),
            _ => {}
        }
        match ty {
            None => Ok(RegState::unknown()),
            Some(Type::Struct(_) | Type::Union(_)) => Ok(self.object_result(meta, id)),
            Some(ty) => {
                if meta.r0_size == 0
                    && let Ok(size) = btf.resolve_size(id)
                {
                    (meta.r0_size, meta.r0_rdonly) = (size.into(), true);
                }
                if meta.r0_size == 0 {
                    return Err(Reject::inval(Kind::KfuncReturnUnsupported {
                        name: meta.desc.name.to_string(),
                        target: alloc::format!("{} {}", kind_text(Some(ty)), btf.type_name(id)),
                    }));
                }
                let flags = if meta.r0_rdonly { RegFlags::RDONLY } else { RegFlags::NONE };
                Ok(RegState {
                    aux: meta.r0_size as u32,
                    ref_obj_id: meta.ref_obj_id,
                    ..RegState::pointer(RegType::PtrToMem, flags)
                })
            }
        }
    }

    /// A kernel object. What is acquired is trusted by its reference.
    fn object_result(&self, meta: &KfuncMeta<'_>, id: u32) -> RegState {
        let from_rcu_iter = meta.iter.is_some_and(|(frame, spi)| {
            self.cur.frames[frame].stack[spi].spilled.flags.has(RegFlags::RCU)
        });
        let flags = if meta.desc.name == "bpf_get_kmem_cache" {
            RegFlags::UNTRUSTED
        } else if from_rcu_iter || meta.has(KfuncFlags::RCU_PROTECTED) {
            RegFlags::RCU
        } else if meta.iter.is_some() {
            RegFlags::TRUSTED
        } else {
            RegFlags::NONE
        };
        RegState { aux: id, ..RegState::pointer(RegType::PtrToBtfId, flags) }
    }

    /// The context as the kernel has it (`get_kern_ctx_btf_id`): a structure of the BTF lists them.
    fn kern_ctx_result(&self, btf: &Btf) -> Res<RegState> {
        let name = self.input.prog_type.name().unwrap_or("");
        let want = alloc::format!("BPF_PROG_TYPE_{name}_kern");
        let list = btf.find_by_name_kind("bpf_ctx_convert", BtfKind::Struct);
        let list = list.and_then(|id| btf.type_by_id(id)?.composite());
        let found = list.and_then(|list| list.members().find(|m| btf.name(m.name_off) == want));
        let Some(member) = found else {
            return Err(Reject::unsupported("contexts that the BTF does not list"));
        };
        let id = member.ty;
        if !matches!(btf.kind(id), Some(BtfKind::Struct | BtfKind::Union)) {
            return Err(Reject::inval(Kind::KernCtxNotStruct { id }));
        }
        Ok(RegState { aux: id, ..RegState::pointer(RegType::PtrToBtfId, RegFlags::TRUSTED) })
    }

    /// The pointer as one to the type whose id was passed, or to any bytes; nobody vouches for it.
    fn rdonly_cast_result(&self, btf: &Btf, meta: &KfuncMeta<'_>) -> Res<RegState> {
        let Some(id) = meta.arg_constant else {
            return Err(Reject::bug("cast without a type id"));
        };
        let or_void = self.cat.has(Features::UNTRUSTED_MEM);
        let known = u32::try_from(id).ok().filter(|id| *id < btf.len());
        let Some(ty) = known else {
            return Err(Reject::inval(Kind::RdonlyCastUnknown { id }));
        };
        let untrusted = RegFlags::UNTRUSTED;
        if matches!(btf.kind(ty), Some(BtfKind::Struct | BtfKind::Union)) && ty != 0 {
            return Ok(RegState { aux: ty, ..RegState::pointer(RegType::PtrToBtfId, untrusted) });
        }
        if ty == 0 && or_void {
            return Ok(RegState::pointer(RegType::PtrToMem, untrusted.with(RegFlags::RDONLY)));
        }
        Err(Reject::inval(Kind::RdonlyCastType { or_void }))
    }

    fn slice_result(&self, meta: &KfuncMeta<'_>) -> Res<RegState> {
        let (Some(dynptr), Some(size)) = (meta.dynptr, meta.arg_constant) else {
            return Err(Reject::bug("slice without a dynptr or a size"));
        };
        let mut flags = dynptr.ty.flag();
        if meta.desc.name == "bpf_dynptr_slice" {
            flags = flags.with(RegFlags::RDONLY);
        } else if !self.may_write_packets() {
            return Err(Reject::inval(Kind::NoPacketWrites));
        }
        Ok(RegState {
            aux: size as u32,
            dynptr_id: dynptr.id,
            ..RegState::pointer(RegType::PtrToMem, flags)
        })
    }
}
