//! What programs of the BTF kinds attach to (`check_attach_btf_id`, `bpf_check_attach_target`).

use alloc::string::{String, ToString};

use stylet_btf::{Btf, FuncProto, Kind as BtfKind, Type, TypeId};
use stylet_catalog::{Features, IterArg, LsmHook, Release, iter_args, lsm_hook};
use stylet_uapi::{AttachType as A, ProgType, errno};

use crate::check::helper::is_gpl_compatible;
use crate::check::kind_text;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

/// The kernel's function, tracepoint or operation that a program attaches to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached<'a> {
    pub btf: &'a Btf,
    /// Name as the kernel prints it: a tracepoint's without `btf_trace_`.
    pub name: &'a str,
    pub proto: FuncProto<'a>,
    /// The prototype is a tracepoint's: its first parameter is not in the context.
    pub trace: bool,
    /// Arguments of a tracepoint that its names say may be NULL, as bits.
    pub nullable: u32,
    /// Arguments that an iterator's target describes.
    pub iter_args: &'static [(u32, IterArg)],
    /// The hook, for LSM programs.
    pub lsm: Option<LsmHook>,
}

/// `MAX_BPF_FUNC_ARGS`
const MAX_FUNC_ARGS: usize = 12;

/// Functions that tracing would recurse through, in the configurations that have them (`btf_id_deny`).
const DENIED: &[&str] = &[
    "___migrate_enable",
    "__rcu_read_lock",
    "__rcu_read_unlock",
    "migrate_disable",
    "migrate_enable",
    "preempt_count_add",
    "preempt_count_sub",
    "rcu_read_unlock_strict",
];

/// Functions that never return (`noreturn_deny`).
const NO_RETURN: &[&str] = &[
    "__ia32_sys_exit",
    "__ia32_sys_exit_group",
    "__kunit_abort",
    "__module_put_and_kthread_exit",
    "__x64_sys_exit",
    "__x64_sys_exit_group",
    "do_exit",
    "do_group_exit",
    "kthread_complete_and_exit",
    "kthread_exit",
    "kunit_try_catch_throw",
    "make_task_dead",
];

/// Functions that the kernel registers as modifiable (`BTF_KFUNC_HOOK_FMODRET`), and whether their programs may sleep.
const MODIFIABLE: &[(&str, bool)] = &[
    ("bpf_fentry_test1", true),
    ("bpf_modify_return_test", false),
    ("bpf_modify_return_test2", false),
    ("bpf_modify_return_test_tp", false),
    ("update_socket_protocol", false),
];

impl<'a> Verifier<'a> {
    /// Finds what the program attaches to and whether it may.
    pub(crate) fn check_attach(&mut self) -> Res<()> {
        let prog = self.input.prog_type;
        match prog {
            ProgType::TRACING | ProgType::LSM => {}
            ProgType::STRUCT_OPS => return Err(Reject::unsupported("programs of type STRUCT_OPS")),
            ProgType::EXT => return Err(Reject::unsupported("programs of type EXT")),
            _ => return Ok(()),
        }
        if self.input.sleepable && !self.may_sleep_at_all() {
            return Err(Reject::inval(Kind::CannotSleep));
        }
        let id = self.input.attach_btf_id;
        if id == 0 {
            return Err(Reject::inval(Kind::NoAttachBtfId));
        }
        let Some(btf) = self.cat.btf.as_ref() else {
            return Err(Reject::unsupported("tracing programs without the target's BTF"));
        };
        let Some(ty) = btf.type_by_id(id) else {
            return Err(Reject::inval(Kind::AttachBtfId { id, what: "is invalid".into() }));
        };
        let name = btf.name(ty.name_off());
        let attached = match self.input.expected_attach_type {
            A::TRACE_RAW_TP => self.tracepoint(btf, id, ty)?,
            A::TRACE_ITER => self.iterator(btf, id, ty, name)?,
            A::MODIFY_RETURN
            | A::LSM_MAC
            | A::LSM_CGROUP
            | A::TRACE_FENTRY
            | A::TRACE_FEXIT
            | A::TRACE_FSESSION => self.function(btf, id, ty, name)?,
            attach_type => {
                return Err(Reject::inval(Kind::NoAttachType { prog_type: prog, attach_type }));
            }
        };
        self.attached = Some(attached);
        Ok(())
    }

    fn may_sleep_at_all(&self) -> bool {
        match self.input.expected_attach_type {
            A::TRACE_RAW_TP => self.cat.has(Features::SLEEPABLE_TRACEPOINTS),
            A::TRACE_FENTRY
            | A::TRACE_FEXIT
            | A::MODIFY_RETURN
            | A::TRACE_ITER
            | A::TRACE_FSESSION => self.input.prog_type == ProgType::TRACING,
            A::LSM_MAC => true,
            _ => false,
        }
    }

    fn tracepoint(&self, btf: &'a Btf, id: TypeId, ty: Type<'a>) -> Res<Attached<'a>> {
        let Type::Typedef(typedef) = ty else {
            let what = "is not a typedef".into();
            return Err(Reject::inval(Kind::AttachBtfId { id, what }));
        };
        let full = btf.name(typedef.name_off);
        let Some(name) = full.strip_prefix("btf_trace_") else {
            let what = alloc::format!("points to wrong type name {full}");
            return Err(Reject::inval(Kind::AttachBtfId { id, what }));
        };
        if self.input.sleepable {
            return Err(Reject::unsupported("sleepable programs on tracepoints"));
        }
        // The function that runs the programs has the same prototype, with names; it is the event's or its class's.
        let runner = [RUNNER, name].concat();
        let named = btf.find_by_name_kind(&runner, BtfKind::Func).and_then(|f| func_proto(btf, f));
        let nullable = if named.is_none() { nullable_in_classes(btf) } else { 0 };
        let Some(proto) = named.or_else(|| pointed_proto(btf, typedef.ty)) else {
            return Err(Reject::inval(Kind::NoPrototype { name: full.to_string() }));
        };
        Ok(Attached { btf, name, proto, trace: true, nullable, iter_args: &[], lsm: None })
    }

    fn iterator(&self, btf: &'a Btf, id: TypeId, ty: Type<'a>, name: &'a str) -> Res<Attached<'a>> {
        let proto = proto_of(btf, id, ty)?;
        check_proto(btf, name, &proto)?;
        let Some(target) = name.strip_prefix("bpf_iter_") else {
            return Err(Reject::inval(Kind::NotAnIterator { name: name.to_string() }));
        };
        let Some(iter_args) = iter_args(target) else {
            return Err(Reject::unsupported(alloc::format!("iterators over {target}")));
        };
        Ok(Attached { btf, name, proto, trace: false, nullable: 0, iter_args, lsm: None })
    }

    fn function(&self, btf: &'a Btf, id: TypeId, ty: Type<'a>, name: &'a str) -> Res<Attached<'a>> {
        let proto = proto_of(btf, id, ty)?;
        check_proto(btf, name, &proto)?;
        let attach = self.input.expected_attach_type;
        let is_lsm = self.input.prog_type == ProgType::LSM;
        let hook = name.strip_prefix("bpf_lsm_").map(|n| lsm_hook(self.cat.release(), n));
        if self.input.sleepable {
            let ok = match hook {
                Some(hook) if is_lsm => hook.sleepable,
                _ if is_lsm => false,
                _ => self.may_modify(btf, name, true)?,
            };
            if !ok {
                return Err(Reject::inval(Kind::NotSleepable { name: name.to_string() }));
            }
        } else if attach == A::MODIFY_RETURN && !self.may_modify(btf, name, false)? {
            return Err(Reject::inval(Kind::NotModifiable { name: name.to_string() }));
        }
        let never_returns = attach != A::TRACE_FENTRY
            && NO_RETURN.contains(&name)
            && self.cat.release() >= Release::new(6, 15);
        if is_lsm {
            self.check_lsm_hook(btf, id, name, hook)?;
        } else if DENIED.contains(&name) {
            return Err(Reject::inval(Kind::AttachDenied { name: name.to_string() }));
        } else if never_returns {
            return Err(Reject::inval(Kind::AttachNoReturn { name: name.to_string() }));
        }
        let lsm = hook.filter(|_| is_lsm);
        Ok(Attached { btf, name, proto, trace: false, nullable: 0, iter_args: &[], lsm })
    }

    /// Whether programs may change what a function returns, or, where `sleepable`, sleep in it.
    fn may_modify(&self, btf: &Btf, name: &str, sleepable: bool) -> Res<bool> {
        if let Some((_, may_sleep)) = MODIFIABLE.iter().find(|(n, _)| *n == name) {
            return Ok(*may_sleep || !sleepable);
        }
        if name.starts_with("security_") && !sleepable {
            return Ok(true);
        }
        // Otherwise it must be in the list of functions in which errors may be injected.
        if btf.find_by_name_kind("within_error_injection_list", BtfKind::Func).is_none() {
            return Ok(false);
        }
        if name.starts_with("__x64_sys_") {
            return Ok(true);
        }
        Err(Reject::unsupported(alloc::format!("whether errors may be injected in {name}")))
    }

    /// `bpf_lsm_verify_prog`
    fn check_lsm_hook(&self, btf: &Btf, id: TypeId, name: &str, hook: Option<LsmHook>) -> Res<()> {
        if !is_gpl_compatible(self.input.license) {
            return Err(Reject::inval(Kind::LsmNeedsGpl));
        }
        let bad = |what: &str| {
            let what = alloc::format!("points to {what} {name}");
            Reject::inval(Kind::AttachBtfId { id, what })
        };
        let Some(hook) = hook else { return Err(bad("wrong type name")) };
        if hook.disabled {
            return Err(bad("disabled hook"));
        }
        // The kernel's table of hooks has a member for each.
        let table = btf.find_by_name_kind("security_list_options", BtfKind::Union);
        let Some(table) = table.and_then(|id| btf.type_by_id(id)?.composite()) else {
            return Err(Reject::unsupported("LSM hooks whose table the BTF lacks"));
        };
        let is_hook = |n: &str| table.members().any(|m| btf.name(m.name_off) == n);
        match name.strip_prefix("bpf_lsm_").is_some_and(is_hook) {
            true => Ok(()),
            false => Err(bad("wrong type name")),
        }
    }

    /// The program's own type of arguments: the kernel vouches for them (`prog_args_trusted`).
    pub(crate) fn args_trusted(&self) -> bool {
        match self.input.prog_type {
            ProgType::TRACING => {
                matches!(self.input.expected_attach_type, A::TRACE_RAW_TP | A::TRACE_ITER)
            }
            ProgType::LSM => self.attached.is_some_and(|a| a.lsm.is_some_and(|hook| hook.trusted)),
            ProgType::STRUCT_OPS => true,
            _ => false,
        }
    }

    /// What an LSM program may return, and what it finds as the result so far (`bpf_lsm_get_retval_range`).
    pub(crate) fn lsm_range(&self) -> Option<(i32, i32)> {
        let attached = self.attached.filter(|a| a.proto.ret != 0)?;
        Some(if attached.lsm?.boolean { (0, 1) } else { (-4095, 0) })
    }

    /// What the program attaches to returns nothing.
    pub(crate) fn target_is_void(&self) -> bool {
        self.attached.is_some_and(|a| a.proto.ret == 0)
    }
}

/// Functions that run a tracepoint's programs begin so.
const RUNNER: &str = "__bpf_trace_";

/// Arguments that may be NULL in some class of events: which class an event is of is in no BTF.
fn nullable_in_classes(btf: &Btf) -> u32 {
    let mut mask = 0;
    for (id, ty) in btf.types() {
        let Type::Func(func) = ty else { continue };
        if !btf.name(func.name_off).starts_with(RUNNER) {
            continue;
        }
        // The first parameter is no argument.
        let params = func_proto(btf, id).into_iter().flat_map(|p| p.params()).skip(1);
        let nullable = |n: u32| btf.name(n).ends_with("__nullable");
        for (n, _) in params.enumerate().filter(|(_, p)| nullable(p.name_off)).take(MAX_FUNC_ARGS) {
            mask |= 1 << n;
        }
    }
    mask
}

fn func_proto(btf: &Btf, func: TypeId) -> Option<FuncProto<'_>> {
    let Some(Type::Func(func)) = btf.type_by_id(func) else { return None };
    match btf.type_by_id(func.ty) {
        Some(Type::FuncProto(proto)) => Some(proto),
        _ => None,
    }
}

/// Prototype behind a pointer.
pub(crate) fn pointed_proto(btf: &Btf, ptr: TypeId) -> Option<FuncProto<'_>> {
    let Some(Type::Ptr(ptr)) = btf.type_by_id(btf.skip_mods_and_typedefs(ptr)) else { return None };
    match btf.type_by_id(btf.skip_mods_and_typedefs(ptr.ty)) {
        Some(Type::FuncProto(proto)) => Some(proto),
        _ => None,
    }
}

fn proto_of<'a>(btf: &'a Btf, id: TypeId, ty: Type<'a>) -> Res<FuncProto<'a>> {
    let Type::Func(_) = ty else {
        let what = "is not a function".into();
        return Err(Reject::inval(Kind::AttachBtfId { id, what }));
    };
    func_proto(btf, id).ok_or_else(|| {
        let name = btf.name(ty.name_off()).to_string();
        Reject::inval(Kind::NoPrototype { name })
    })
}

/// A trampoline can call such a function (`btf_distill_func_proto`).
pub(crate) fn check_proto(btf: &Btf, name: &str, proto: &FuncProto<'_>) -> Res<()> {
    let fail = |what: String| {
        let kind = Kind::TracedFunction { name: name.to_string(), what };
        Err(Reject::new(errno::EINVAL, kind))
    };
    if proto.len() > MAX_FUNC_ARGS {
        return fail(alloc::format!("has {} arguments. Too many.", proto.len()));
    }
    let text = |id| kind_text(btf.type_by_id(btf.skip_mods_and_typedefs(id)).filter(|_| id != 0));
    let ret_is_struct = matches!(
        btf.type_by_id(btf.skip_mods_and_typedefs(proto.ret)),
        Some(Type::Struct(_) | Type::Union(_))
    );
    if passed_size(btf, proto.ret).is_none() || ret_is_struct {
        return fail(alloc::format!("return type {} is unsupported.", text(proto.ret)));
    }
    for (n, param) in proto.params().enumerate() {
        if n + 1 == proto.len() && param.ty == 0 {
            return fail("with variable args is unsupported.".into());
        }
        match passed_size(btf, param.ty) {
            Some(0) => return fail("has malformed void argument.".into()),
            Some(size) if size <= 16 => {}
            _ => return fail(alloc::format!("arg{n} type {} is unsupported.", text(param.ty))),
        }
    }
    Ok(())
}

/// Bytes of an argument or result; 0 for none (`__get_type_size`).
fn passed_size(btf: &Btf, id: TypeId) -> Option<u32> {
    if id == 0 {
        return Some(0);
    }
    match btf.type_by_id(btf.skip_mods_and_typedefs(id))? {
        Type::Ptr(_) => Some(8),
        Type::Int(int) => Some(int.size),
        Type::Enum(_) | Type::Enum64(_) | Type::Struct(_) | Type::Union(_) => {
            btf.resolve_size(id).ok()
        }
        _ => None,
    }
}
