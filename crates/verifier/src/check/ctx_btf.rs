//! Contexts whose fields are the arguments of a function (`btf_ctx_access`, kernel/bpf/btf.c).

use alloc::string::String;

use stylet_btf::{Btf, Type, TypeId};
use stylet_catalog::{Features, IterArg, Release, tracepoint_arg};
use stylet_uapi::AttachType as A;

use super::kind_text;
use super::mem::{Access, Dir};
use crate::attach::Attached;
use crate::bounds::Bounds;
use crate::btf_walk::{name_of, tag_flags};
use crate::env::Verifier;
use crate::regs::{RegFlags, RegState, RegType};

/// Bytes of such a context: `sizeof(u64) * MAX_BPF_FUNC_ARGS`.
const CTX_SIZE: i64 = 8 * 12;

/// The argument, or the result, that lies at an offset.
struct Field {
    n: u32,
    ty: TypeId,
    is_result: bool,
}

impl<'a> Verifier<'a> {
    /// What a load of `a` at `off` of the context gives; otherwise a note for the log, empty where there is none.
    pub(super) fn btf_ctx_access(&mut self, off: i64, a: &Access) -> Result<RegState, String> {
        if !(0..CTX_SIZE).contains(&off) || a.dir == Dir::Write || off % i64::from(a.size) != 0 {
            return Err(String::new());
        }
        let Some(attached) = self.attached else { return Err(String::new()) };
        let name = attached.name;
        if off % 8 != 0 {
            return Err(alloc::format!("func '{name}' offset {off} is not multiple of 8"));
        }
        let field = self.ctx_field(&attached, off)?;
        let btf = attached.btf;
        let ty = btf.type_by_id(btf.skip_mods_and_typedefs(field.ty)).filter(|_| field.ty != 0);
        match ty {
            Some(Type::Int(int)) if int.size <= 8 => Ok(self.ctx_number(field.is_result)),
            Some(Type::Enum(_) | Type::Enum64(_) | Type::Struct(_)) => {
                Ok(self.ctx_number(field.is_result))
            }
            Some(Type::Ptr(ptr)) => {
                if a.size != 8 {
                    return Err(alloc::format!("func '{name}' size {} must be 8", a.size));
                }
                self.ctx_pointer(&attached, &field, ptr.ty)
            }
            _ => {
                let (n, text) = (field.n, kind_text(ty));
                let own = ty.map_or("(anon)", |t| name_of(btf, t.name_off()));
                Err(alloc::format!(
                    "func '{name}' arg{n} '{own}' has type {text}. Only pointer access is allowed"
                ))
            }
        }
    }

    /// A number; the result so far of an LSM hook is one that the hook may give.
    fn ctx_number(&self, is_result: bool) -> RegState {
        let lsm = self.input.expected_attach_type == A::LSM_MAC;
        match self.lsm_range().filter(|_| is_result && lsm) {
            Some((min, max)) => {
                let mut bounds = Bounds::unknown();
                (bounds.smin, bounds.smax) = (min.into(), max.into());
                (bounds.s32_min, bounds.s32_max) = (min, max);
                bounds.sync();
                RegState::scalar(bounds)
            }
            None => RegState::unknown(),
        }
    }

    fn ctx_field(&self, attached: &Attached<'_>, off: i64) -> Result<Field, String> {
        let (btf, proto, name) = (attached.btf, attached.proto, attached.name);
        let hidden = usize::from(attached.trace);
        let count = (proto.len() - hidden.min(proto.len())) as u32;
        let n = arg_at(attached, off);
        let none = || Err(alloc::format!("func '{name}' doesn't have {}-th argument", n + 1));
        if n < count {
            let param = proto.params().nth(n as usize + hidden);
            return Ok(Field { n, ty: param.map_or(0, |p| p.ty), is_result: false });
        }
        if n > count {
            return none();
        }
        match self.input.expected_attach_type {
            A::LSM_MAC | A::LSM_CGROUP | A::TRACE_FEXIT | A::TRACE_FSESSION => {}
            A::MODIFY_RETURN => {
                let ret = btf.type_by_id(btf.skip_mods_and_typedefs(proto.ret));
                if !matches!(ret, Some(Type::Int(int)) if int.size <= 8) {
                    let text = kind_text(ret.filter(|_| proto.ret != 0));
                    return Err(alloc::format!("ret type {text} not allowed for fmod_ret"));
                }
            }
            _ => return none(),
        }
        Ok(Field { n, ty: proto.ret, is_result: true })
    }

    /// A pointer argument that points to `target`.
    fn ctx_pointer(
        &mut self,
        attached: &Attached<'a>,
        field: &Field,
        target: TypeId,
    ) -> Result<RegState, String> {
        let btf = attached.btf;
        let described = attached.iter_args.iter().find(|(n, _)| *n == field.n).map(|(_, arg)| *arg);
        if let Some(IterArg::Buffer { rdonly }) = described {
            let flags = RegFlags::MAYBE_NULL;
            let flags = if rdonly { flags.with(RegFlags::RDONLY) } else { flags };
            return Ok(self.fresh(RegState::pointer(RegType::PtrToBuf, flags)));
        }
        let id = btf.skip_mods_and_typedefs(target);
        let pointee = btf.type_by_id(id).filter(|_| id != 0);
        let is_struct = matches!(pointee, Some(Type::Struct(_) | Type::Union(_)));
        if self.is_plain_pointer(btf, target, is_struct) {
            return Ok(RegState::unknown());
        }
        if let Some(IterArg::Object { trusted }) = described {
            let flags = RegFlags::MAYBE_NULL;
            let flags = if trusted { flags.with(RegFlags::TRUSTED) } else { flags };
            return Ok(self.object(id, flags));
        }
        let (name, n) = (attached.name, field.n);
        if !is_struct {
            let text = kind_text(pointee);
            return Err(alloc::format!("func '{name}' arg{n} type {text} is not a struct"));
        }
        let mut flags = if self.args_trusted() { RegFlags::TRUSTED } else { RegFlags::NONE };
        let param = attached.proto.params().nth(n as usize + usize::from(attached.trace));
        let nullable = param.is_some_and(|p| btf.name(p.name_off).ends_with("__nullable"));
        if nullable && !field.is_result {
            flags = flags.with(RegFlags::MAYBE_NULL);
        }
        if attached.trace && self.cat.release() >= Release::V6_12 {
            let arg = tracepoint_arg(name, n);
            if arg.nullable || attached.nullable & 1 << n != 0 {
                flags = flags.with(RegFlags::MAYBE_NULL);
            }
            if arg.may_be_error {
                return Ok(RegState::unknown());
            }
        }
        Ok(self.object(id, flags.with(tag_flags(btf, target, false))))
    }

    /// Pointers that are numbers to the program: nothing can be read through them.
    fn is_plain_pointer(&self, btf: &Btf, target: TypeId, is_struct: bool) -> bool {
        if self.cat.has(Features::CTX_POINTERS_ARE_NUMBERS) {
            return !is_struct;
        }
        let id = btf.skip_mods_and_typedefs(target);
        match btf.type_by_id(id).filter(|_| id != 0) {
            None => target == 0 || self.cat.release() >= Release::new(6, 16),
            Some(ty) => matches!(ty, Type::Int(_)),
        }
    }

    fn object(&mut self, id: TypeId, flags: RegFlags) -> RegState {
        let reg = RegState { aux: id, ..RegState::pointer(RegType::PtrToBtfId, flags) };
        self.fresh(reg)
    }

    fn fresh(&mut self, mut reg: RegState) -> RegState {
        if reg.maybe_null() {
            reg.id = self.new_id();
        }
        reg
    }
}

/// Number of the argument at `off`; the number of arguments for the result, more beyond it (`get_ctx_arg_idx`).
fn arg_at(attached: &Attached<'_>, off: i64) -> u32 {
    let btf = attached.btf;
    let slots = |ty: TypeId| match btf.type_by_id(btf.skip_mods_and_typedefs(ty)) {
        Some(Type::Ptr(_)) => 8,
        _ if ty == 0 => 0,
        _ => (i64::from(btf.resolve_size(ty).unwrap_or(0)) + 7) & !7,
    };
    let mut end = 0;
    for (n, param) in attached.proto.params().enumerate() {
        end += slots(param.ty);
        if off < end {
            return n as u32;
        }
    }
    let count = attached.proto.len() as u32;
    if off < end + slots(attached.proto.ret) { count } else { count + 1 }
}
