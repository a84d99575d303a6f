//! What a global function takes, by its BTF and the tags on its arguments (`btf_prepare_func_args`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use stylet_btf::{Btf, Type};
use stylet_uapi::{ProgType, errno};

use super::types::{is_scalar, kind_text};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

/// What a global function's argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GlobalArg {
    /// Any number.
    Scalar,
    /// The program's context.
    Ctx,
    /// `size` bytes that may be read and written.
    Mem { size: u32, nullable: bool },
    /// A dynptr that stays what it is.
    Dynptr,
}

/// Prototype of a global function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GlobalProto {
    pub args: Vec<GlobalArg>,
}

/// `ARG_TAG_*`
#[derive(Clone, Copy, Default)]
struct Tags {
    ctx: bool,
    nonnull: bool,
    nullable: bool,
    /// Kernel objects and the arena: tags whose pointers this verifier does not know.
    object: Option<&'static str>,
}

impl Tags {
    fn any(self) -> bool {
        self.ctx || self.nonnull || self.nullable || self.object.is_some()
    }
}

fn bad_tags(arg: u8) -> Kind {
    Kind::InvalidTagCombination { arg }
}

/// A program type's context as the kernel names it (`bpf_ctx_convert`): the typedef and the structure behind it.
fn ctx_type(prog: ProgType) -> (&'static str, Option<&'static str>) {
    match prog {
        ProgType::KPROBE => ("bpf_user_pt_regs_t", Some("pt_regs")),
        ProgType::PERF_EVENT => ("bpf_perf_event_data", Some("bpf_perf_event_data")),
        ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE => {
            ("bpf_raw_tracepoint_args", Some("bpf_raw_tracepoint_args"))
        }
        ProgType::XDP => ("xdp_md", Some("xdp_md")),
        ProgType::SOCKET_FILTER
        | ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::CGROUP_SKB
        | ProgType::SK_SKB => ("__sk_buff", Some("__sk_buff")),
        _ => ("", None),
    }
}

impl Verifier<'_> {
    /// Prototype of a global function.
    pub(super) fn global_proto(&self, subprog: usize) -> Res<GlobalProto> {
        let invalid = || Reject::new(errno::EFAULT, Kind::GlobalNeedsBtf);
        let (Some(btf), Some(info)) = (self.input.btf, self.subprog_info(subprog)) else {
            return Err(invalid());
        };
        let Some(Type::Func(func)) = btf.type_by_id(info.type_id) else { return Err(invalid()) };
        let Some(Type::FuncProto(proto)) = btf.type_by_id(func.ty) else { return Err(invalid()) };
        let name = || btf.name(func.name_off).to_string();
        let limit = self.cat.limits.max_func_reg_args;
        if proto.len() as u32 > limit {
            let args = proto.len() as u32;
            return Err(Reject::inval(Kind::GlobalTooManyArgs { name: name(), args, limit }));
        }
        if !is_scalar(btf.type_by_id(btf.skip_mods_and_typedefs(proto.ret)))
            || btf.skip_mods_and_typedefs(proto.ret) == 0
        {
            return Err(Reject::inval(Kind::GlobalReturnsNoScalar { name: name() }));
        }
        let mut args = Vec::new();
        for (n, param) in proto.params().enumerate() {
            let tags = arg_tags(btf, info.type_id, n as u32)?;
            args.push(self.global_arg(btf, param.ty, n as u8, tags, &name)?);
        }
        Ok(GlobalProto { args })
    }

    fn global_arg(
        &self,
        btf: &Btf,
        ty: u32,
        arg: u8,
        tags: Tags,
        name: &dyn Fn() -> String,
    ) -> Res<GlobalArg> {
        let resolved = btf.type_by_id(btf.skip_mods_and_typedefs(ty));
        let Some(Type::Ptr(ptr)) = resolved else {
            if tags.any() {
                return Err(Reject::inval(Kind::TagOnNoPointer { arg }));
            }
            if is_scalar(resolved) {
                return Ok(GlobalArg::Scalar);
            }
            let ty = kind_text(resolved);
            return Err(Reject::inval(Kind::GlobalArgUnsupported { arg, ty, name: name() }));
        };
        if tags.ctx || self.is_ctx_pointer(btf, ptr.ty) {
            if tags.nonnull || tags.nullable || tags.object.is_some() {
                return Err(Reject::inval(bad_tags(arg)));
            }
            if tags.ctx {
                self.validate_ctx_tag(btf, ptr.ty, arg)?;
            }
            return Ok(GlobalArg::Ctx);
        }
        let target_id = btf.skip_mods_and_typedefs(ptr.ty);
        let target = btf.type_by_id(target_id).filter(|_| target_id != 0);
        let dynptr = match target {
            Some(Type::Struct(s)) => btf.name(s.name_off) == "bpf_dynptr",
            Some(Type::Fwd(f)) => !f.is_union && btf.name(f.name_off) == "bpf_dynptr",
            _ => false,
        };
        if dynptr {
            if tags.any() {
                return Err(Reject::inval(bad_tags(arg)));
            }
            return Ok(GlobalArg::Dynptr);
        }
        if let Some(what) = tags.object {
            return Err(Reject::unsupported(what));
        }
        if tags.nullable {
            return Err(Reject::inval(bad_tags(arg)));
        }
        let size = target.and_then(|_| btf.resolve_size(target_id).ok());
        let Some(size) = size else {
            let name = alloc::format!("{} {}", kind_text(target), btf.type_name(target_id));
            return Err(Reject::inval(Kind::GlobalArgSize { arg, name }));
        };
        Ok(GlobalArg::Mem { size, nullable: !tags.nonnull })
    }

    /// A pointer to the structure that the kernel names as this type's context (`btf_is_prog_ctx_type`).
    pub(super) fn is_ctx_pointer(&self, btf: &Btf, target: u32) -> bool {
        let prog = self.input.prog_type;
        let first = btf.type_by_id(btf.skip_mods(target));
        if let (ProgType::KPROBE, Some(Type::Typedef(t))) = (prog, first)
            && btf.name(t.name_off) == "bpf_user_pt_regs_t"
        {
            return true;
        }
        let (name, structure) = ctx_type(prog);
        let id = btf.skip_mods_and_typedefs(target);
        match btf.type_by_id(id) {
            Some(Type::Struct(s) | Type::Union(s)) if id != 0 => {
                let have = btf.name(s.name_off);
                !have.is_empty() && (have == name || Some(have) == structure)
            }
            _ => false,
        }
    }

    /// The `ctx` tag is on a pointer that may be a context (`btf_validate_prog_ctx_type`).
    fn validate_ctx_tag(&self, btf: &Btf, target: u32, arg: u8) -> Res<()> {
        let prog = self.input.prog_type;
        if matches!(prog, ProgType::KPROBE | ProgType::PERF_EVENT)
            && let Some(Type::Typedef(t)) = btf.type_by_id(btf.skip_mods(target))
            && btf.name(t.name_off) == "bpf_user_pt_regs_t"
        {
            return Ok(());
        }
        let id = btf.skip_mods_and_typedefs(target);
        let Some(ty) = btf.type_by_id(id).filter(|_| id != 0) else { return Ok(()) };
        let name = btf.name(ty.name_off());
        if name.is_empty() {
            return Err(Reject::inval(Kind::CtxTypeUnnamed { arg }));
        }
        let is_struct = matches!(ty, Type::Struct(_) | Type::Union(_));
        let ok = match prog {
            ProgType::KPROBE | ProgType::PERF_EVENT if is_struct && name == "pt_regs" => true,
            ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE => {
                matches!(ty, Type::Int(int) if int.size == 8)
            }
            ProgType::TRACEPOINT | ProgType::SYSCALL => true,
            ProgType::TRACING => return Err(Reject::unsupported("contexts of TRACING programs")),
            _ => false,
        };
        if ok {
            return Ok(());
        }
        let (_, Some(want)) = ctx_type(prog) else {
            return Err(Reject::inval(Kind::CtxShouldBeVoid { arg }));
        };
        if is_struct && name == want {
            return Ok(());
        }
        Err(Reject::inval(Kind::CtxShouldBe { arg, want }))
    }
}

/// Tags of one argument.
fn arg_tags(btf: &Btf, func: u32, n: u32) -> Res<Tags> {
    let mut tags = Tags::default();
    for (_, ty) in btf.types() {
        let Type::DeclTag(tag) = ty else { continue };
        if tag.ty != func || tag.component != Some(n) {
            continue;
        }
        let Some(value) = btf.name(tag.name_off).strip_prefix("arg:") else { continue };
        match value {
            "ctx" => tags.ctx = true,
            "nonnull" => tags.nonnull = true,
            "nullable" => tags.nullable = true,
            "trusted" => tags.object = Some("trusted arguments of global functions"),
            "untrusted" => tags.object = Some("untrusted arguments of global functions"),
            "arena" => tags.object = Some("arena arguments of global functions"),
            _ => {
                let kind = Kind::UnsupportedTags { arg: n as u8 };
                return Err(Reject::new(errno::EOPNOTSUPP, kind));
            }
        }
    }
    Ok(tags)
}
