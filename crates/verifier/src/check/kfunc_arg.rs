//! Arguments of kfuncs, by their BTF types and names (`check_kfunc_args`, `get_kfunc_ptr_arg_type`).

use alloc::string::{String, ToString};

use stylet_btf::{Btf, Kind as BtfKind, Param, Type};
use stylet_catalog::KfuncFlags;
use stylet_uapi::{AttachType, ProgType};

use super::dynptr::DynptrUse;
use super::kfunc::{KfuncMeta, takes_res_lock};
use super::types::{is_scalar, is_scalar_struct, kind_text};
use crate::btf_walk::ids_match;
use crate::env::Verifier;
use crate::fields::FieldKind;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, NO_MAP, PROG_BTF, RegFlags, RegState, RegType, TypeName};
use crate::rejection::{Reject, Res};
use crate::state::RefKind;

/// What a pointer argument is (`enum kfunc_ptr_arg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ArgKind {
    Ctx,
    Null,
    Dynptr,
    Iter,
    ConstStr,
    Map,
    IrqFlag,
    Allocated,
    Refcounted,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    Workqueue,
    TaskWork,
    ResSpinLock,
    BtfId,
    Callback,
    MemSize,
    Mem,
}

/// A parameter with its types resolved.
#[derive(Clone, Copy)]
pub(super) struct Arg<'a> {
    pub btf: &'a Btf,
    pub name: &'a str,
    /// Number, from 0.
    pub n: u8,
    /// Its type without modifiers and typedefs.
    pub ty: Type<'a>,
    /// What it points to, as it is written; 0 when it is no pointer.
    pub pointee: u32,
    /// What it points to, likewise, and its id.
    pub target: Option<(u32, Option<Type<'a>>)>,
}

impl<'a> Arg<'a> {
    pub fn new(btf: &'a Btf, param: Param, n: u8) -> Res<Arg<'a>> {
        let Some(ty) = btf.type_by_id(btf.skip_mods_and_typedefs(param.ty)) else {
            return Err(Reject::bug("kfunc parameter without a type"));
        };
        let (pointee, target) = match ty {
            Type::Ptr(ptr) => {
                let id = btf.skip_mods_and_typedefs(ptr.ty);
                (ptr.ty, Some((id, btf.type_by_id(id).filter(|_| id != 0))))
            }
            _ => (0, None),
        };
        Ok(Arg { btf, name: btf.name(param.name_off), n, ty, pointee, target })
    }

    fn regno(&self) -> u8 {
        self.n + 1
    }

    fn is_scalar(&self) -> bool {
        is_scalar(Some(self.ty))
    }

    /// Kind and name of what it points to, for messages.
    pub fn target_text(&self) -> String {
        let (id, ty) = self.target.unwrap_or((0, None));
        alloc::format!("{} {}", kind_text(ty), self.btf.type_name(id))
    }

    /// Points to the kernel's `struct name`.
    fn points_to(&self, name: &str) -> bool {
        matches!(self.target, Some((_, Some(Type::Struct(s)))) if self.btf.name(s.name_off) == name)
    }
}

impl<'a> Verifier<'a> {
    /// All arguments of a call.
    pub(crate) fn check_kfunc_args(&mut self, meta: &mut KfuncMeta<'a>) -> Res<()> {
        let (btf, proto) = (meta.desc.btf, meta.desc.proto);
        let limit = self.cat.limits.max_func_reg_args;
        if proto.len() as u32 > limit {
            let kind = Kind::TooManyArgs {
                name: meta.desc.name.to_string(),
                args: proto.len() as u32,
                limit,
            };
            return Err(Reject::inval(kind));
        }
        let mut skip_size = false;
        for (n, param) in proto.params().enumerate() {
            if core::mem::take(&mut skip_size) {
                continue;
            }
            let arg = Arg::new(btf, param, n as u8)?;
            if arg.name.ends_with("__prog") {
                continue;
            }
            if arg.name.ends_with("__ign") {
                self.note_ctx_passed(arg.regno());
                continue;
            }
            if arg.is_scalar() {
                self.check_scalar_arg(&arg, meta)?;
                continue;
            }
            if arg.target.is_none() {
                let kind = Kind::UnrecognizedArg { arg: arg.n, ty: kind_text(Some(arg.ty)) };
                return Err(Reject::inval(kind));
            }
            let size = proto.params().nth(n + 1).map(|p| Arg::new(btf, p, n as u8 + 1));
            skip_size = self.check_pointer_arg(&arg, size.transpose()?, meta)?;
        }
        if meta.has(KfuncFlags::RELEASE) && meta.release_regno == 0 {
            let kind = Kind::ExpectsReferencedObject { name: meta.desc.name.to_string() };
            return Err(Reject::inval(kind));
        }
        Ok(())
    }

    /// A kfunc that gets the context may read all of it.
    fn note_ctx_passed(&mut self, regno: u8) {
        if self.reg(regno.into()).ty == RegType::PtrToCtx {
            self.facts.ctx_escapes = true;
        }
    }

    fn check_scalar_arg(&mut self, arg: &Arg<'_>, meta: &mut KfuncMeta<'_>) -> Res<()> {
        let regno = arg.regno();
        let reg = *self.reg(regno.into());
        if !reg.is_scalar() {
            return Err(Reject::inval(Kind::NotAScalar { reg: regno }));
        }
        if arg.name.ends_with("__k") {
            let Some(value) = reg.const_value() else {
                return Err(Reject::inval(Kind::MustBeKnownConstant { reg: regno }));
            };
            self.mark_reg_precise(regno.into())?;
            meta.arg_constant = Some(value);
            return Ok(());
        }
        let rdonly = arg.name == "rdonly_buf_size";
        if rdonly || arg.name == "rdwr_buf_size" {
            let Some(value) = reg.const_value() else {
                return Err(Reject::inval(Kind::NotAConst { reg: regno }));
            };
            if value > u64::from(u32::MAX) {
                return Err(Reject::inval(Kind::BufSizeTooLarge { reg: regno }));
            }
            (meta.r0_size, meta.r0_rdonly) = (value, rdonly);
            self.mark_reg_precise(regno.into())?;
        }
        Ok(())
    }

    /// A pointer argument; says whether the next argument is its size.
    fn check_pointer_arg(
        &mut self,
        arg: &Arg<'a>,
        size: Option<Arg<'a>>,
        meta: &mut KfuncMeta<'a>,
    ) -> Res<bool> {
        let regno = arg.regno();
        let reg = *self.reg(regno.into());
        let nullable = arg.name.ends_with("__nullable");
        if meta.non_null_args() && (reg.is_null() || reg.maybe_null()) && !nullable {
            return Err(Reject::acces(Kind::PossiblyNullArg { arg: arg.n }));
        }
        if reg.ref_obj_id != 0 {
            let release = meta.has(KfuncFlags::RELEASE);
            if release && meta.ref_obj_id != 0 {
                return Err(Reject::bug("more than one arg with ref_obj_id"));
            }
            meta.ref_obj_id = reg.ref_obj_id;
            if release {
                meta.release_regno = regno;
            }
        }
        let kind = self.kfunc_ptr_arg_type(arg, size.as_ref(), &reg, meta)?;
        if kind == ArgKind::Null {
            return Ok(false);
        }
        if matches!(kind, ArgKind::Map | ArgKind::BtfId | ArgKind::Allocated) {
            if kind == ArgKind::Map && matches!(reg.map, NO_MAP | PROG_BTF) {
                return Err(Reject::inval(Kind::NotAMapPointer { reg: regno }));
            }
            if kind == ArgKind::Map {
                self.match_field_map(&reg, meta)?;
            }
            check_trusted(&reg, regno, meta)?;
        }
        self.check_kfunc_arg_off(&reg, regno, meta)?;
        self.note_ctx_passed(regno);
        self.check_arg_of_kind(kind, arg, size.as_ref(), &reg, meta)?;
        Ok(kind == ArgKind::MemSize)
    }

    /// An offset is allowed only where the callee's view of the pointer does not change.
    fn check_kfunc_arg_off(&self, reg: &RegState, regno: u8, meta: &KfuncMeta<'_>) -> Res<()> {
        if meta.has(KfuncFlags::RELEASE) && reg.ref_obj_id != 0 {
            if reg.off != 0 {
                return Err(Reject::inval(Kind::ReleaseWithOffset { reg: regno }));
            }
            return self.check_ptr_off_reg(reg, regno, false);
        }
        self.check_arg_off(reg, regno)
    }

    fn kfunc_ptr_arg_type(
        &self,
        arg: &Arg<'a>,
        size: Option<&Arg<'a>>,
        reg: &RegState,
        meta: &KfuncMeta<'a>,
    ) -> Res<ArgKind> {
        let is_session = matches!(meta.desc.name, "bpf_session_is_return" | "bpf_session_cookie");
        if is_session
            || meta.desc.name == "bpf_cast_to_kern_ctx"
            || self.is_ctx_pointer(arg.btf, arg.pointee)
        {
            return Ok(ArgKind::Ctx);
        }
        let with_size = size.is_some_and(|size| {
            let named = size.name.ends_with("__sz") || size.name.ends_with("__szk");
            named && size.is_scalar() && self.reg(size.regno().into()).is_scalar()
        });
        let suffix = |s: &str| arg.name.ends_with(s);
        if suffix("__nullable") && reg.is_null() && !with_size {
            return Ok(ArgKind::Null);
        }
        if suffix("__alloc") {
            return Ok(ArgKind::Allocated);
        }
        if suffix("__refcounted_kptr") {
            return Ok(ArgKind::Refcounted);
        }
        if arg.points_to("bpf_dynptr") {
            return Ok(ArgKind::Dynptr);
        }
        let iter = KfuncFlags::ITER_NEW | KfuncFlags::ITER_NEXT | KfuncFlags::ITER_DESTROY;
        if if meta.flags.intersects(iter) { arg.n == 0 } else { suffix("__iter") } {
            return Ok(ArgKind::Iter);
        }
        let graph = [
            ("bpf_list_head", ArgKind::ListHead),
            ("bpf_list_node", ArgKind::ListNode),
            ("bpf_rb_root", ArgKind::RbRoot),
            ("bpf_rb_node", ArgKind::RbNode),
        ];
        if let Some((_, kind)) = graph.iter().find(|(name, _)| arg.points_to(name)) {
            return Ok(*kind);
        }
        if suffix("__str") {
            return Ok(ArgKind::ConstStr);
        }
        if suffix("__map") {
            return Ok(ArgKind::Map);
        }
        if arg.points_to("bpf_wq") {
            return Ok(ArgKind::Workqueue);
        }
        if arg.points_to("bpf_task_work") {
            return Ok(ArgKind::TaskWork);
        }
        if suffix("__irq_flag") {
            return Ok(ArgKind::IrqFlag);
        }
        if arg.points_to("bpf_res_spin_lock") {
            return Ok(ArgKind::ResSpinLock);
        }
        let target = arg.target.and_then(|(_, ty)| ty);
        if reg.ty == RegType::PtrToBtfId || object_struct(reg.ty).is_some() {
            if !matches!(target, Some(Type::Struct(_) | Type::Union(_))) {
                return Err(Reject::inval(Kind::KfuncPointerUnsupported {
                    name: meta.desc.name.to_string(),
                    arg: arg.n,
                    target: arg.target_text(),
                }));
            }
            return Ok(ArgKind::BtfId);
        }
        if matches!(target, Some(Type::FuncProto(_))) {
            return Ok(ArgKind::Callback);
        }
        let plain = is_scalar(target) || is_scalar_struct(arg.btf, target, 0);
        if !(plain || with_size && target.is_none()) {
            return Err(Reject::inval(Kind::MustPointToScalar {
                arg: arg.n,
                target: arg.target_text(),
                or_void: if with_size { "void, " } else { "" },
            }));
        }
        Ok(if with_size { ArgKind::MemSize } else { ArgKind::Mem })
    }

    fn check_arg_of_kind(
        &mut self,
        kind: ArgKind,
        arg: &Arg<'a>,
        size: Option<&Arg<'a>>,
        reg: &RegState,
        meta: &mut KfuncMeta<'a>,
    ) -> Res<()> {
        let regno = arg.regno();
        match kind {
            ArgKind::Ctx if reg.ty != RegType::PtrToCtx => {
                Err(Reject::inval(Kind::ExpectedCtx { arg: arg.n, ty: reg.type_name() }))
            }
            ArgKind::Ctx | ArgKind::Null => Ok(()),
            ArgKind::Dynptr => self.check_dynptr_kfunc_arg(arg, reg, meta),
            ArgKind::Iter => {
                if meta.desc.name == "bpf_iter_css_task_new" && !self.may_walk_css_tasks() {
                    return Err(Reject::inval(Kind::CssTaskIter));
                }
                self.process_iter_arg(regno, meta)
            }
            ArgKind::IrqFlag => {
                if reg.ty != RegType::PtrToStack {
                    return Err(Reject::inval(Kind::ExpectedIrqFlagPointer { arg: arg.n }));
                }
                self.process_irq_flag(regno, meta.desc.name)
            }
            ArgKind::Allocated => self.check_dropped_object(arg, reg, meta),
            ArgKind::Refcounted => self.check_refcounted_object(arg, reg, meta),
            ArgKind::ListHead => self.check_graph_root(FieldKind::ListHead, arg, reg, meta),
            ArgKind::RbRoot => self.check_graph_root(FieldKind::RbRoot, arg, reg, meta),
            ArgKind::ListNode => self.check_graph_node(FieldKind::ListNode, arg, reg, meta),
            ArgKind::RbNode => self.check_graph_node(FieldKind::RbNode, arg, reg, meta),
            ArgKind::Workqueue | ArgKind::TaskWork => self.check_field_arg(kind, arg, reg, meta),
            ArgKind::ResSpinLock => {
                let object = reg.ty == RegType::PtrToMapValue && reg.flags == RegFlags::NONE
                    || reg.is_own_object();
                if !object {
                    let what = "map value or allocated object";
                    return Err(Reject::inval(Kind::NotPointingTo { arg: arg.n, what }));
                }
                let lock = takes_res_lock(meta.desc.name);
                let irq =
                    meta.desc.name.ends_with("_irqsave") || meta.desc.name.ends_with("_irqrestore");
                let lock_kind = if irq { RefKind::ResLockIrq } else { RefKind::ResLock };
                self.process_spin_lock(regno, lock, lock_kind)
            }
            ArgKind::ConstStr if reg.ty != RegType::PtrToMapValue => {
                Err(Reject::inval(Kind::NotAConstString { arg: arg.n }))
            }
            ArgKind::ConstStr => self.check_reg_const_str(reg, regno),
            ArgKind::Map if reg.ty != RegType::ConstPtrToMap => {
                let trusted = RegFlags(reg.flags.0 & RegFlags::TRUSTED_MODIFIERS.0);
                let want = TypeName::new(reg.ty, trusted);
                let kind = Kind::ExpectedObjectOrSocket { arg: arg.n, ty: reg.type_name(), want };
                Err(Reject::inval(kind))
            }
            ArgKind::Map => {
                let id = arg.btf.find_by_name_kind("bpf_map", BtfKind::Struct);
                self.check_btf_id_arg(arg, reg, id.unwrap_or(0), meta)
            }
            ArgKind::BtfId => {
                self.check_btf_id_arg(arg, reg, arg.target.unwrap_or_default().0, meta)
            }
            ArgKind::Callback if reg.ty != RegType::PtrToFunc => {
                Err(Reject::inval(Kind::ExpectedFunc { arg: arg.n }))
            }
            ArgKind::Callback => {
                meta.subprog = Some(reg.aux as usize);
                Ok(())
            }
            ArgKind::MemSize => self.check_mem_size_arg(arg, size, reg, meta),
            ArgKind::Mem => self.check_mem_arg(arg, reg),
        }
    }

    /// A work queue or task work in a map's value.
    fn check_field_arg(
        &mut self,
        kind: ArgKind,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        if reg.ty != RegType::PtrToMapValue || reg.flags != RegFlags::NONE {
            return Err(Reject::inval(Kind::NotPointingTo { arg: arg.n, what: "a map value" }));
        }
        let field =
            if kind == ArgKind::TaskWork { FieldKind::TaskWork } else { FieldKind::Workqueue };
        self.check_map_field_pointer(reg, arg.regno(), field)?;
        meta.field_map = Some((reg.map, reg.map_uid));
        Ok(())
    }

    /// A field and the map that it is said to lie in come from the same lookup.
    fn match_field_map(&self, reg: &RegState, meta: &KfuncMeta<'_>) -> Res<()> {
        let Some((map, uid)) = meta.field_map else { return Ok(()) };
        let record = &self.map_btf[reg.map as usize].record;
        let task_work = record.has(FieldKind::TaskWork);
        if !task_work && !record.has(FieldKind::Workqueue) {
            return Err(Reject::unsupported("a map without the field that goes with it"));
        }
        if (map, uid) == (reg.map, reg.map_uid) {
            return Ok(());
        }
        let (what, at) = if task_work { ("bpf_task_work", 2) } else { ("workqueue", 1) };
        Err(Reject::inval(Kind::OtherMapForField {
            what,
            reg: at,
            uid,
            map_reg: at + 1,
            map_uid: reg.map_uid,
        }))
    }

    /// The lock that the iterator takes must not be held (`check_css_task_iter_allowlist`).
    fn may_walk_css_tasks(&self) -> bool {
        match self.input.prog_type {
            ProgType::LSM => true,
            ProgType::TRACING if self.input.expected_attach_type == AttachType::TRACE_ITER => true,
            _ => self.cur.in_sleepable,
        }
    }

    fn check_dynptr_kfunc_arg(
        &mut self,
        arg: &Arg<'_>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        let rdonly = reg.ty == RegType::ConstPtrToDynptr;
        let uninit = arg.name.ends_with("__uninit");
        if uninit && rdonly {
            return Err(Reject::bug("misconfigured dynptr helper type flags"));
        }
        let want = match (uninit, meta.desc.name, meta.dynptr) {
            (true, "bpf_dynptr_clone", Some(parent)) => {
                DynptrUse::Init { ty: parent.ty, clone_ref: parent.ref_obj_id }
            }
            (true, "bpf_dynptr_from_skb", _) => {
                DynptrUse::Init { ty: DynptrType::Skb, clone_ref: 0 }
            }
            (true, "bpf_dynptr_from_xdp", _) => {
                DynptrUse::Init { ty: DynptrType::Xdp, clone_ref: 0 }
            }
            (true, "bpf_dynptr_from_skb_meta", _) => {
                DynptrUse::Init { ty: DynptrType::SkbMeta, clone_ref: 0 }
            }
            (true, ..) => return Err(Reject::unsupported(meta.desc.name)),
            (false, ..) => DynptrUse::Use { ty: None, rdonly },
        };
        self.process_dynptr_func(arg.regno(), want)?;
        if !uninit {
            meta.dynptr = self.dynptr_arg(reg)?;
        }
        Ok(())
    }

    /// A kernel object (`process_kf_arg_ptr_to_btf_id`): of type `want`.
    fn check_btf_id_arg(
        &self,
        arg: &Arg<'_>,
        reg: &RegState,
        want: u32,
        meta: &KfuncMeta<'_>,
    ) -> Res<()> {
        if reg.ty == RegType::PtrToBtfId && reg.has_unsafe_flags() && !reg.is_rcu() {
            let trusted = RegFlags(reg.flags.0 & RegFlags::TRUSTED_MODIFIERS.0);
            let want = TypeName::new(RegType::PtrToBtfId, trusted);
            let kind = Kind::ExpectedObjectOrSocket { arg: arg.n, ty: reg.type_name(), want };
            return Err(Reject::inval(kind));
        }
        let btf = arg.btf;
        if let (PROG_BTF, Some(own)) = (reg.map, self.input.btf) {
            let text = |btf: &Btf, id| {
                alloc::format!("{} {}", kind_text(btf.type_by_id(id)), btf.type_name(id))
            };
            return Err(Reject::inval(Kind::ExpectedObject {
                name: meta.desc.name.into(),
                arg: arg.n,
                want: text(btf, want).into(),
                reg: arg.regno(),
                have: text(own, reg.aux).into(),
            }));
        }
        let have = match object_struct(reg.ty) {
            Some(name) => btf.find_by_name_kind(name, BtfKind::Struct).unwrap_or(0),
            None => btf.skip_mods_and_typedefs(reg.aux),
        };
        let (have_name, want_name) = (btf.type_name(have), btf.type_name(want));
        let strict = meta.has(KfuncFlags::RELEASE) && reg.ref_obj_id != 0
            || have_name.strip_suffix("___init") == Some(want_name)
            || want_name.strip_suffix("___init") == Some(have_name);
        let off = i64::from(reg.off).wrapping_add(reg.bounds.var_off.value as i64);
        let projection =
            matches!((want_name, have_name), ("__sk_buff", "sk_buff") | ("xdp_md", "xdp_buff"));
        let Err(note) = ids_match(btf, have, off, want, strict) else { return Ok(()) };
        if projection {
            return Ok(());
        }
        let text = |id, name| alloc::format!("{} {name}", kind_text(btf.type_by_id(id)));
        let kind = Kind::ExpectedObject {
            name: meta.desc.name.into(),
            arg: arg.n,
            want: text(want, want_name).into(),
            reg: arg.regno(),
            have: text(have, have_name).into(),
        };
        Err(Reject::inval(kind).after(note))
    }
}

/// The kernel's structure behind a register that has no type id of its own (`reg2btf_ids`).
pub(crate) fn object_struct(ty: RegType) -> Option<&'static str> {
    Some(match ty {
        RegType::PtrToSocket => "sock",
        RegType::PtrToSockCommon => "sock_common",
        RegType::PtrToTcpSock => "tcp_sock",
        RegType::ConstPtrToMap => "bpf_map",
        _ => return None,
    })
}

/// Whether a pointer is one that the kernel vouches for.
fn check_trusted(reg: &RegState, regno: u8, meta: &KfuncMeta<'_>) -> Res<()> {
    let rcu_ok = meta.has(KfuncFlags::RCU);
    if !meta.trusted_args() && !rcu_ok || reg.is_trusted() || rcu_ok && reg.is_rcu() {
        return Ok(());
    }
    Err(Reject::inval(if rcu_ok {
        Kind::MustBeRcu { reg: regno }
    } else {
        Kind::MustBeTrusted { reg: regno }
    }))
}
