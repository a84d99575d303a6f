//! Calls of kernel functions (`add_kfunc_call`, `check_kfunc_call`).

use alloc::string::ToString;

use stylet_btf::{Btf, FuncProto, Type};
use stylet_catalog::{Features, KfuncFlags};
use stylet_insn::Insn;
use stylet_uapi::errno;

use super::exception::THROW;
use super::graph::{RBTREE_ADD, adds_node};
use super::helper::is_gpl_compatible;
use super::packet::kfunc_changes_pkt_data;
use crate::env::{Flow, Step, Verifier};
use crate::fields::Field;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, RegState};
use crate::rejection::{Reject, Res};
use crate::state::{RefKind, RefState};

/// A kernel function that the program calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KfuncDesc<'a> {
    /// BTF that declares it.
    pub btf: &'a Btf,
    pub btf_id: u32,
    pub name: &'a str,
    pub proto: FuncProto<'a>,
    /// Its flags, unless programs of this kind may not call it.
    pub flags: Option<KfuncFlags>,
}

/// A dynptr that was passed to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedDynptr {
    pub id: u32,
    pub ty: DynptrType,
    pub ref_obj_id: u32,
}

/// What the arguments of a kfunc call said (`struct bpf_kfunc_call_arg_meta`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct KfuncMeta<'a> {
    pub desc: KfuncDesc<'a>,
    pub flags: KfuncFlags,
    /// `Features::TRUSTED_ARGS_DEFAULT`.
    pub trusted_by_default: bool,
    pub ref_obj_id: u32,
    pub release_regno: u8,
    pub arg_constant: Option<u64>,
    pub r0_size: u64,
    pub r0_rdonly: bool,
    pub dynptr: Option<PassedDynptr>,
    /// Frame and first slot of the iterator.
    pub iter: Option<(usize, usize)>,
    pub subprog: Option<usize>,
    /// Type of the program's own object that was passed.
    pub object: Option<u32>,
    /// The list or tree that was passed.
    pub root: Option<Field>,
    /// Map, its uid and argument of the field of a map's value that was passed.
    pub field_map: Option<(u32, u32)>,
}

impl KfuncMeta<'_> {
    pub fn has(&self, flags: KfuncFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Pointers must be what the kernel vouches for (`is_kfunc_trusted_args`).
    pub fn trusted_args(&self) -> bool {
        self.trusted_by_default
            || self.flags.intersects(KfuncFlags::TRUSTED_ARGS | KfuncFlags::RELEASE)
    }

    /// Arguments must not be NULL.
    pub fn non_null_args(&self) -> bool {
        self.trusted_args() || self.has(KfuncFlags::RCU)
    }
}

/// Kfuncs whose arguments or effects are of kinds that this verifier does not know.
fn is_unsupported(name: &str) -> bool {
    const PREFIXES: &[&str] = &["bpf_arena_", "bpf_stream_", "bpf_timer_"];
    PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Register of the field for which a kfunc sets a callback that runs later.
fn sets_async_callback(name: &str) -> Option<u8> {
    match name {
        "bpf_wq_set_callback_impl" | "bpf_wq_set_callback" => Some(1),
        _ if is_task_work(name) => Some(2),
        _ => None,
    }
}

/// Kfuncs that schedule task work.
pub(super) fn is_task_work(name: &str) -> bool {
    name.starts_with("bpf_task_work_schedule_")
}

/// Kfuncs that take a lock, or fail.
pub(super) fn takes_res_lock(name: &str) -> bool {
    matches!(name, "bpf_res_spin_lock" | "bpf_res_spin_lock_irqsave")
}

impl<'a> Verifier<'a> {
    /// Notes a call before the walk.
    pub(crate) fn add_kfunc_call(&mut self, insn: Insn) -> Res<()> {
        let Some(btf) = self.cat.btf.as_ref() else {
            return Err(Reject::unsupported("kfunc calls without the target's BTF"));
        };
        if !is_gpl_compatible(self.input.license) {
            return Err(Reject::inval(Kind::KfuncGplRestricted));
        }
        if insn.off != 0 {
            return Err(Reject::unsupported("kfuncs of modules"));
        }
        let btf_id = insn.imm as u32;
        // Nobody may reach such a call: the walk says so.
        if btf_id == 0 || self.kfuncs.contains_key(&btf_id) {
            return Ok(());
        }
        if self.kfuncs.len() as u32 >= self.cat.limits.max_kfunc_descs {
            return Err(Reject::new(errno::E2BIG, Kind::TooManyKfuncs));
        }
        let Some(Type::Func(func)) = btf.type_by_id(btf_id) else {
            return Err(Reject::inval(Kind::NotAFunction { btf_id }));
        };
        let Some(Type::FuncProto(proto)) = btf.type_by_id(func.ty) else {
            return Err(Reject::inval(Kind::NotAFunction { btf_id }));
        };
        let name = btf.name(func.name_off);
        let kfunc =
            self.cat.kfunc(name, self.input.prog_type, self.input.expected_attach_type).ok();
        let flags = kfunc.map(|k| k.flags);
        self.kfuncs.insert(btf_id, KfuncDesc { btf, btf_id, name, proto, flags });
        Ok(())
    }

    /// Whether a call asks an iterator for its next element.
    pub(crate) fn is_iter_next(&self, insn: Insn) -> bool {
        let desc = self.kfuncs.get(&(insn.imm as u32));
        desc.and_then(|d| d.flags).is_some_and(|f| f.contains(KfuncFlags::ITER_NEXT))
    }

    /// Whether a call runs a callback that orders the nodes of a tree.
    pub(crate) fn is_rbtree_add(&self, insn: Insn) -> bool {
        self.kfuncs.get(&(insn.imm as u32)).is_some_and(|d| d.name == RBTREE_ADD)
    }

    /// A call of a kernel function.
    pub(crate) fn check_kfunc_call(&mut self, insn: Insn) -> Step {
        // Refused at the end, unless it turns out to be dead.
        if insn.imm == 0 {
            return Ok(Flow::Next);
        }
        let Some(desc) = self.kfuncs.get(&(insn.imm as u32)).copied() else {
            return Err(Reject::bug("kfunc call that was not noted"));
        };
        let Some(flags) = desc.flags else {
            return Err(Reject::acces(Kind::KfuncNotAllowed { name: desc.name.to_string() }));
        };
        if is_unsupported(desc.name) {
            return Err(Reject::unsupported(desc.name));
        }
        if desc.name == "__bpf_trap" {
            return Err(Reject::new(errno::EFAULT, Kind::Trap));
        }
        let sleepable = flags.contains(KfuncFlags::SLEEPABLE);
        if sleepable && !self.cur.in_sleepable {
            return Err(Reject::acces(Kind::KfuncSleeps { name: desc.name.to_string() }));
        }
        let mut meta = KfuncMeta {
            desc,
            flags,
            trusted_by_default: self.cat.has(Features::TRUSTED_ARGS_DEFAULT),
            ref_obj_id: 0,
            release_regno: 0,
            arg_constant: None,
            r0_size: 0,
            r0_rdonly: false,
            dynptr: None,
            iter: None,
            subprog: None,
            object: None,
            root: None,
            field_map: None,
        };
        if takes_res_lock(desc.name) {
            self.push_lock_failure()?;
        }
        self.check_kfunc_args(&mut meta)?;
        if desc.name == RBTREE_ADD {
            self.push_less_callback(&meta)?;
        }
        if let Some(field) = sets_async_callback(desc.name) {
            self.push_async_callback(field, meta.subprog, true)?;
        }
        if desc.name == "bpf_session_cookie" {
            (meta.r0_size, meta.r0_rdonly) = (8, false);
        }
        self.check_sections(&meta, sleepable)?;
        if meta.release_regno != 0 {
            let id = self.reg(meta.release_regno.into()).ref_obj_id;
            if !self.release_reference(id) {
                return Err(Reject::inval(Kind::KfuncNotAcquired {
                    name: desc.name.to_string(),
                    btf_id: desc.btf_id,
                }));
            }
        }
        if adds_node(desc.name) && !self.disown_reference(self.reg(2).ref_obj_id) {
            return Err(Reject::bug("an object without a reference was added"));
        }
        if desc.name == THROW {
            self.facts.kfuncs.insert(desc.btf_id);
            return self.check_throw();
        }
        Self::clear_caller_saved(self.cur.cur_mut());
        self.set_kfunc_result(&mut meta)?;
        if flags.contains(KfuncFlags::ITER_NEXT) {
            self.process_iter_next_call(&meta)?;
        }
        if kfunc_changes_pkt_data(desc.name) {
            self.clear_all_pkt_pointers();
        }
        self.facts.kfuncs.insert(desc.btf_id);
        Ok(Flow::Next)
    }

    /// No path reaches the call of a weak kfunc that the target does not have (`fixup_kfunc_call`).
    pub(crate) fn check_missing_kfuncs(&self) -> Res<()> {
        let missing = |i: &usize| {
            let insn = self.insns[*i];
            insn.is_kfunc_call() && insn.imm == 0 && self.facts.insns[*i].seen
        };
        match (0..self.insns.len()).find(missing) {
            Some(i) => Err(Reject::inval(Kind::MissingKfuncReached).at(i as u32)),
            None => Ok(()),
        }
    }

    /// A new reference (`acquire_reference`).
    pub(crate) fn acquire_reference(&mut self, kind: RefKind) -> u32 {
        let id = self.new_id();
        let insn_idx = self.insn_idx;
        self.cur.refs.push(RefState { id, kind, insn_idx, owner: 0 });
        id
    }

    /// The reference is gone and with it what every register that held it knew; `false` when there is none
    /// (`release_reference`).
    pub(crate) fn release_reference(&mut self, id: u32) -> bool {
        let held = self.cur.refs.iter().any(|r| r.kind == RefKind::Ptr && r.id == id);
        if id == 0 || !held {
            return false;
        }
        self.release_state_of(id);
        self.cur.for_each_reg(|reg| {
            if reg.ref_obj_id == id {
                *reg = RegState::unknown();
            }
        });
        true
    }

    /// The reference alone (`release_reference_nomark`).
    pub(crate) fn release_state_of(&mut self, id: u32) -> bool {
        let before = self.cur.refs.len();
        self.cur.refs.retain(|r| r.kind != RefKind::Ptr || r.id != id);
        self.cur.refs.len() != before
    }
}
