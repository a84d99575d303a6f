//! Calls of helpers (`check_helper_call`).

use stylet_btf::Kind as BtfKind;
use stylet_catalog::{ArgBase, FuncProto, HelperRefusal, RetBase};
use stylet_insn::Insn;
use stylet_uapi::{AttachType, HelperId, MapType};

use super::kfunc::PassedDynptr;
use super::mem::Access;
use super::nullness::may_point_to_lock;
use super::packet::changes_pkt_data;
use super::region::F_RDONLY_PROG;
use crate::bounds::Bounds;
use crate::cfg::is_sync_callback_helper;
use crate::env::{CallMap, Flow, Step, Verifier};
use crate::fields::Field;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::RefKind;

/// `MAX_ERRNO`
const MAX_ERRNO: i64 = 4095;
/// Most CPUs that any kernel is built for: what `bpf_get_smp_processor_id` may return.
const NR_CPUS_MAX: u64 = 8192;

/// What the arguments of a call said (`struct bpf_call_arg_meta`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallMeta {
    pub id: u32,
    pub map: Option<u32>,
    pub map_uid: u32,
    /// The memory argument at hand need not be initialised.
    pub raw_mode: bool,
    /// Bytes of stack behind `raw_regno` that the helper fills.
    pub access_size: u32,
    pub raw_regno: u8,
    pub mem_size: u32,
    pub msize_max: u64,
    pub ref_obj_id: u32,
    pub release_regno: u8,
    pub subprog: Option<usize>,
    pub const_key: Option<u64>,
    /// BTF type behind a per-CPU pointer.
    pub percpu_type: Option<u32>,
    /// The kernel pointer that is exchanged.
    pub kptr: Option<Field>,
    /// The dynptr argument, when it was there before the call.
    pub dynptr: Option<PassedDynptr>,
}

impl Verifier<'_> {
    /// Prototype of a helper for this program (`get_helper_proto`).
    pub(crate) fn helper_proto(&self, id: u32) -> Result<&'static FuncProto, HelperRefusal> {
        self.cat.helper(
            id,
            self.input.prog_type,
            self.input.expected_attach_type,
            self.input.sleepable || self.cur.in_sleepable,
        )
    }

    /// A call of a helper.
    pub(crate) fn check_helper_call(&mut self, insn: Insn) -> Step {
        let id = insn.imm as u32;
        let proto = self.helper_proto(id).map_err(|refusal| refused(id, refusal))?;
        if proto.gpl_only && !is_gpl_compatible(self.input.license) {
            return Err(Reject::inval(Kind::GplRestricted));
        }
        if HelperId(id) == HelperId::D_PATH && !self.may_call_d_path() {
            return Err(Reject::inval(Kind::NotInProbe));
        }
        if proto.might_sleep && !self.cur.in_sleepable {
            return Err(Reject::inval(Kind::MightSleep));
        }
        if proto.might_sleep {
            self.check_helper_sections(proto.name, id)?;
        }
        let mut meta = CallMeta { id, ..CallMeta::default() };
        for n in 0..proto.args.len() {
            self.check_func_arg(n, proto, &mut meta)?;
        }
        self.record_func_map(&meta)?;
        for i in 0..meta.access_size {
            self.check_mem_access_quietly(Access::helper_byte(meta.raw_regno, i as i32))?;
        }
        if meta.release_regno != 0 {
            self.release_argument(proto, &meta)?;
        }
        self.check_special(id, &meta)?;
        Self::clear_caller_saved(self.cur.cur_mut());
        self.set_result(proto, &meta)?;
        if let Some(map) = meta.map {
            let map_type = self.maps[map as usize].map_type;
            self.check_sockmap_update(map_type, proto)?;
            if !self.cat.map_fits_helper(map_type, id) {
                return Err(Reject::inval(Kind::MapTypeForHelper {
                    map_type: map_type.0,
                    helper: proto.name,
                    id,
                }));
            }
        }
        let writes_packet = HelperId(id) == HelperId::DYNPTR_WRITE
            && meta.dynptr.is_some_and(|d| matches!(d.ty, DynptrType::Skb | DynptrType::SkbMeta));
        if changes_pkt_data(id) || writes_packet {
            self.clear_all_pkt_pointers();
        }
        self.facts.helpers.insert(id);
        Ok(Flow::Next)
    }

    /// Checks an access of a helper without noting it as the call's own.
    fn check_mem_access_quietly(&mut self, access: Access) -> Res<()> {
        let at = self.insn_idx as usize;
        let before = self.facts.insns[at].mem;
        let result = self.check_mem_access(access);
        self.facts.insns[at].mem = before;
        result
    }

    fn record_func_map(&mut self, meta: &CallMeta) -> Res<()> {
        let Some(map) = meta.map else { return Ok(()) };
        let changes = matches!(
            HelperId(meta.id),
            HelperId::MAP_UPDATE_ELEM
                | HelperId::MAP_DELETE_ELEM
                | HelperId::MAP_PUSH_ELEM
                | HelperId::MAP_POP_ELEM
        );
        if changes && self.maps[map as usize].map_flags & F_RDONLY_PROG != 0 {
            return Err(Reject::acces(Kind::WriteIntoMapForbidden));
        }
        let own = (map as usize) < self.input.maps.len();
        let slot = &mut self.aux[self.insn_idx as usize].call_map;
        *slot = match *slot {
            CallMap::Unseen if own => CallMap::One(map),
            CallMap::One(before) if before == map => CallMap::One(map),
            _ => CallMap::Many,
        };
        Ok(())
    }

    fn release_argument(&mut self, proto: &FuncProto, meta: &CallMeta) -> Res<()> {
        if proto.args[usize::from(meta.release_regno) - 1].base == ArgBase::PtrToDynptr {
            let reg = *self.reg(meta.release_regno.into());
            return self.release_dynptr(&reg);
        }
        let released = match HelperId(proto.id) {
            HelperId::KPTR_XCHG if meta.ref_obj_id != 0 => self.release_into_kptr(meta.ref_obj_id),
            _ => {
                self.release_reference(meta.ref_obj_id)
                    || meta.ref_obj_id == 0 && self.reg(meta.release_regno.into()).is_null()
            }
        };
        if !released {
            return Err(Reject::inval(Kind::NotAcquired { helper: proto.name, id: proto.id }));
        }
        Ok(())
    }

    fn check_special(&mut self, id: u32, meta: &CallMeta) -> Res<()> {
        match HelperId(id) {
            HelperId::TAIL_CALL => {
                let map_type = meta.map.map(|m| self.maps[m as usize].map_type);
                if map_type != Some(MapType::PROG_ARRAY) {
                    return Err(Reject::inval(Kind::ExpectedProgArray));
                }
                self.check_tail_call()
            }
            HelperId::SNPRINTF => self.check_snprintf_call(),
            HelperId::GET_LOCAL_STORAGE if !self.reg(2).is_null() => {
                Err(Reject::inval(Kind::LocalStorageFlags))
            }
            HelperId::DYNPTR_FROM_MEM if self.reg(1).ty != RegType::PtrToMapValue => {
                Err(Reject::acces(Kind::DynptrFromMem { ty: self.reg(1).type_name() }))
            }
            HelperId::TIMER_SET_CALLBACK => self.push_async_callback(1, meta.subprog, false),
            _ if is_sync_callback_helper(id) => self.check_callback_helper(id, meta),
            _ => Ok(()),
        }
    }

    /// A tail call that succeeds leaves the function with whatever the other program returns.
    fn check_tail_call(&mut self) -> Res<()> {
        // In a function the references stay with the state that its caller goes on with.
        self.check_resource_leak("tail_call", true)?;
        if self.cur.curframe() == 0 {
            return Ok(());
        }
        if self.cur.cur().in_callback() {
            return Err(Reject::unsupported("tail calls in callbacks"));
        }
        let after_call = self.cur.cur().callsite + 1;
        let mut returned = self.cur.clone();
        returned.frames.pop();
        *returned.reg_mut(0) = RegState::unknown();
        self.push_stack(returned, after_call, self.insn_idx)
    }

    fn set_result(&mut self, proto: &FuncProto, meta: &CallMeta) -> Res<()> {
        let mut flags = RegFlags::NONE;
        if proto.ret.flags.contains(stylet_catalog::ArgFlags::PTR_MAYBE_NULL) {
            flags = flags.with(RegFlags::MAYBE_NULL);
        }
        let mut r0 = match proto.ret.base {
            RetBase::Integer => self.integer_result(proto, meta),
            RetBase::Void => RegState::not_init(),
            RetBase::PtrToMapValue => self.map_value_result(meta, flags)?,
            RetBase::PtrToMem => {
                if proto.ret.flags.contains(stylet_catalog::ArgFlags::MEM_RINGBUF) {
                    flags = flags.with(RegFlags::RINGBUF);
                }
                RegState { aux: meta.mem_size, ..RegState::pointer(RegType::PtrToMem, flags) }
            }
            RetBase::PtrToBtfId if HelperId(proto.id) == HelperId::KPTR_XCHG => {
                self.kptr_result(meta, proto.ret.flags)?
            }
            RetBase::PtrToSocket => RegState::pointer(RegType::PtrToSocket, flags),
            RetBase::PtrToSockCommon => RegState::pointer(RegType::PtrToSockCommon, flags),
            RetBase::PtrToTcpSock => RegState::pointer(RegType::PtrToTcpSock, flags),
            RetBase::PtrToBtfId => self.object_of_helper(proto, flags)?,
            RetBase::PtrToMemOrBtfId => self.per_cpu_result(proto, meta, flags)?,
        };
        if r0.maybe_null() {
            r0.id = self.new_id();
        }
        if is_ptr_cast(HelperId(proto.id)) {
            r0.ref_obj_id = meta.ref_obj_id;
        }
        let map_type = meta.map.map(|map| self.maps[map as usize].map_type);
        if is_acquire(HelperId(proto.id), map_type) {
            let id = self.acquire_reference(RefKind::Ptr);
            (r0.id, r0.ref_obj_id) = (id, id);
        }
        if let (HelperId::DYNPTR_DATA, Some(dynptr)) = (HelperId(proto.id), meta.dynptr) {
            (r0.dynptr_id, r0.ref_obj_id) = (dynptr.id, dynptr.ref_obj_id);
        }
        *self.reg_mut(0) = r0;
        Ok(())
    }

    /// An object of the kernel's type that the prototype names.
    fn object_of_helper(&self, proto: &FuncProto, mut flags: RegFlags) -> Res<RegState> {
        if proto.ret.flags.contains(stylet_catalog::ArgFlags::PTR_TRUSTED) {
            flags = flags.with(RegFlags::TRUSTED);
        }
        let name = proto.ret.btf_struct;
        let btf = self.cat.btf.as_ref().filter(|_| !name.is_empty());
        match btf.and_then(|btf| btf.find_by_name_kind(name, BtfKind::Struct)) {
            Some(id) => Ok(RegState { aux: id, ..RegState::pointer(RegType::PtrToBtfId, flags) }),
            None => Err(Reject::unsupported(proto.name)),
        }
    }

    /// One CPU's copy of a variable of the kernel.
    fn per_cpu_result(&self, proto: &FuncProto, meta: &CallMeta, flags: RegFlags) -> Res<RegState> {
        let (Some(ty), Some(btf)) = (meta.percpu_type, self.cat.btf.as_ref()) else {
            return Err(Reject::unsupported(proto.name));
        };
        if matches!(
            btf.kind(btf.skip_mods_and_typedefs(ty)),
            Some(BtfKind::Struct | BtfKind::Union)
        ) {
            return Ok(RegState { aux: ty, ..RegState::pointer(RegType::PtrToBtfId, flags) });
        }
        let Ok(size) = btf.resolve_size(ty) else {
            return Err(Reject::unsupported("variables whose size is not known"));
        };
        let flags = flags.with(RegFlags::RDONLY);
        Ok(RegState { aux: size, ..RegState::pointer(RegType::PtrToMem, flags) })
    }

    /// Where the path of a file may be asked for without a lock that its maker holds (`bpf_d_path_allowed`).
    fn may_call_d_path(&self) -> bool {
        const ALLOWED: &[&str] = &[
            "security_file_permission",
            "security_inode_getattr",
            "security_file_open",
            "security_path_truncate",
            "vfs_truncate",
            "vfs_fallocate",
            "dentry_open",
            "vfs_getattr",
            "filp_close",
        ];
        let Some(attached) = self.attached else { return false };
        match attached.lsm {
            Some(hook) => hook.sleepable,
            None => {
                self.input.expected_attach_type == AttachType::TRACE_ITER
                    || ALLOWED.contains(&attached.name)
            }
        }
    }

    /// Updating a map of sockets takes the socket's lock, which some programs hold (`may_update_sockmap`).
    fn check_sockmap_update(&self, map_type: MapType, proto: &FuncProto) -> Res<()> {
        use stylet_uapi::ProgType as P;
        let deletes = HelperId(proto.id) == HelperId::MAP_DELETE_ELEM;
        let updates = deletes || HelperId(proto.id) == HelperId::MAP_UPDATE_ELEM;
        if !updates || !matches!(map_type, MapType::SOCKMAP | MapType::SOCKHASH) {
            return Ok(());
        }
        let allowed = match self.input.prog_type {
            P::TRACING => self.input.expected_attach_type == AttachType::TRACE_ITER,
            P::SOCK_OPS => deletes,
            P::SOCKET_FILTER
            | P::SCHED_CLS
            | P::SCHED_ACT
            | P::XDP
            | P::SK_REUSEPORT
            | P::FLOW_DISSECTOR
            | P::SK_LOOKUP => true,
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        let (map_type, helper, id) = (map_type.0, proto.name, proto.id);
        let refusal = Reject::inval(Kind::CannotUpdateSockmap);
        Err(refusal.then(Kind::MapTypeForHelper { map_type, helper, id }))
    }

    fn map_value_result(&mut self, meta: &CallMeta, mut flags: RegFlags) -> Res<RegState> {
        let Some(map) = meta.map else { return Err(Reject::bug("lookup without a map")) };
        let def = self.maps[map as usize];
        let present = meta.const_key.is_some_and(|key| key < u64::from(def.max_entries));
        if meta.id == HelperId::MAP_LOOKUP_ELEM.0 && present {
            flags = flags.without(RegFlags::MAYBE_NULL);
        }
        let mut reg = RegState {
            map,
            map_uid: meta.map_uid,
            ..RegState::pointer(RegType::PtrToMapValue, flags)
        };
        if may_point_to_lock(&self.known(), &reg) {
            reg.id = self.new_id();
        }
        Ok(reg)
    }

    /// Ranges that some helpers promise (`do_refine_retval_range`).
    fn integer_result(&self, proto: &FuncProto, meta: &CallMeta) -> RegState {
        let mut bounds = Bounds::unknown();
        match HelperId(proto.id) {
            HelperId::GET_STACK
            | HelperId::GET_TASK_STACK
            | HelperId::PROBE_READ_STR
            | HelperId::PROBE_READ_KERNEL_STR
            | HelperId::PROBE_READ_USER_STR => {
                let max = meta.msize_max as i64;
                (bounds.smin, bounds.smax) = (-MAX_ERRNO, max);
                (bounds.s32_min, bounds.s32_max) = (-MAX_ERRNO as i32, max as i32);
                bounds.sync();
            }
            HelperId::GET_SMP_PROCESSOR_ID => bounds = Bounds::range(0, NR_CPUS_MAX - 1),
            _ => {}
        }
        RegState::scalar(bounds)
    }
}

/// Helpers whose result is a reference (`is_acquire_function`).
fn is_acquire(id: HelperId, map_type: Option<MapType>) -> bool {
    let socket = matches!(map_type, Some(MapType::SOCKMAP | MapType::SOCKHASH));
    id == HelperId::MAP_LOOKUP_ELEM && socket
        || matches!(
            id,
            HelperId::RINGBUF_RESERVE
                | HelperId::SK_LOOKUP_TCP
                | HelperId::SK_LOOKUP_UDP
                | HelperId::SKC_LOOKUP_TCP
                | HelperId::KPTR_XCHG
        )
}

/// Helpers that give another view of their argument (`is_ptr_cast_function`).
fn is_ptr_cast(id: HelperId) -> bool {
    matches!(
        id,
        HelperId::TCP_SOCK
            | HelperId::SK_FULLSOCK
            | HelperId::SKC_TO_TCP_SOCK
            | HelperId::SKC_TO_TCP6_SOCK
            | HelperId::SKC_TO_UDP6_SOCK
            | HelperId::SKC_TO_MPTCP_SOCK
            | HelperId::SKC_TO_TCP_TIMEWAIT_SOCK
            | HelperId::SKC_TO_TCP_REQUEST_SOCK
    )
}

fn refused(id: u32, refusal: HelperRefusal) -> alloc::boxed::Box<Reject> {
    if id == 0 {
        return Reject::inval(Kind::HelperNotAllowed { helper: "bpf_unspec", id });
    }
    if let HelperRefusal::Unknown { id } = refusal {
        return Reject::inval(Kind::InvalidFunc { id: id as i32 });
    }
    let name = match refusal {
        HelperRefusal::NotInProgType { name, .. }
        | HelperRefusal::NotForAttachType { name, .. }
        | HelperRefusal::SinceRelease { name, .. }
        | HelperRefusal::NotSleepable { name }
        | HelperRefusal::NotInUserBackend { name }
        | HelperRefusal::Hidden { name } => name,
        HelperRefusal::Unknown { .. } => "unknown",
    };
    Reject::inval(Kind::HelperNotAllowed { helper: name, id })
}

/// Licences that may call GPL-only helpers (`license_is_gpl_compatible`).
pub(crate) fn is_gpl_compatible(license: &str) -> bool {
    matches!(
        license,
        "GPL"
            | "GPL v2"
            | "GPL and additional rights"
            | "Dual BSD/GPL"
            | "Dual MIT/GPL"
            | "Dual MPL/GPL"
    )
}
