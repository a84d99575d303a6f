//! What the verifier knows of one register (`struct bpf_reg_state`, include/linux/bpf_verifier.h).

use crate::bounds::Bounds;

/// Base of a register's type (`enum bpf_reg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(crate) enum RegType {
    /// Nothing was written yet.
    #[default]
    NotInit,
    /// A number.
    Scalar,
    /// The context.
    PtrToCtx,
    /// `struct bpf_map *`; `map` says which.
    ConstPtrToMap,
    /// A value of `map`.
    PtrToMapValue,
    /// A key of `map` (callbacks of `for_each_map_elem`).
    PtrToMapKey,
    /// Frame `aux` of the call chain.
    PtrToStack,
    /// `aux` bytes of memory.
    PtrToMem,
    /// Memory whose size the attach checks: the greatest offset used is noted.
    PtrToBuf,
    /// Writable tracepoint buffer.
    PtrToTpBuffer,
    /// An object of BTF type `aux`: of the target's BTF, or of the program's when `map` is [`PROG_BTF`].
    PtrToBtfId,
    /// Function number `aux` of the program.
    PtrToFunc,
    /// The packet; `aux` is the range that was compared with its end, see `range`.
    PtrToPacket,
    /// The metadata before it; `aux` as above, up to the packet.
    PtrToPacketMeta,
    /// The packet's end.
    PtrToPacketEnd,
    /// `struct bpf_flow_keys`.
    PtrToFlowKeys,
    /// A full socket.
    PtrToSocket,
    /// A socket of any state.
    PtrToSockCommon,
    /// `struct bpf_tcp_sock`.
    PtrToTcpSock,
    /// `struct bpf_xdp_sock`.
    PtrToXdpSock,
    /// A dynptr that the program may use but not change; also what its stack slots hold.
    ConstPtrToDynptr,
}

/// Modifiers of a register's type (`enum bpf_type_flag`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RegFlags(pub u32);

impl RegFlags {
    pub const NONE: RegFlags = RegFlags(0);
    pub const MAYBE_NULL: RegFlags = RegFlags(1);
    pub const RDONLY: RegFlags = RegFlags(1 << 1);
    pub const RINGBUF: RegFlags = RegFlags(1 << 2);
    pub const UNTRUSTED: RegFlags = RegFlags(1 << 3);
    pub const TRUSTED: RegFlags = RegFlags(1 << 4);
    pub const RCU: RegFlags = RegFlags(1 << 5);
    pub const PERCPU: RegFlags = RegFlags(1 << 6);
    pub const USER: RegFlags = RegFlags(1 << 7);
    /// Memory of a dynptr of the program's own memory (`DYNPTR_TYPE_LOCAL`).
    pub const DYNPTR_LOCAL: RegFlags = RegFlags(1 << 8);
    /// Memory of a dynptr of a ring buffer (`DYNPTR_TYPE_RINGBUF`).
    pub const DYNPTR_RINGBUF: RegFlags = RegFlags(1 << 9);
    /// Memory of a dynptr of a packet (`DYNPTR_TYPE_SKB`, `DYNPTR_TYPE_XDP`, `DYNPTR_TYPE_SKB_META`).
    pub const DYNPTR_SKB: RegFlags = RegFlags(1 << 16);
    pub const DYNPTR_XDP: RegFlags = RegFlags(1 << 17);
    pub const DYNPTR_SKB_META: RegFlags = RegFlags(1 << 18);
    /// Any of the three.
    pub const DYNPTR_PACKET: RegFlags = RegFlags(7 << 16);
    /// Any dynptr's (`DYNPTR_TYPE_FLAG_MASK`).
    pub const DYNPTR_MASK: RegFlags = RegFlags(3 << 8 | 7 << 16);
    /// Memory that `bpf_obj_new` gave (`MEM_ALLOC`).
    pub const ALLOC: RegFlags = RegFlags(1 << 10);
    /// A list or tree owns the object; the pointer is valid while its lock is held (`NON_OWN_REF`).
    pub const NON_OWN_REF: RegFlags = RegFlags(1 << 20);
    /// What makes an unreferenced pointer one that the kernel vouches for (`BPF_REG_TRUSTED_MODIFIERS`).
    pub const TRUSTED_MODIFIERS: RegFlags = RegFlags(1 << 4 | 1 << 10);

    pub const fn has(self, other: RegFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: RegFlags) -> RegFlags {
        RegFlags(self.0 | other.0)
    }

    pub const fn without(self, other: RegFlags) -> RegFlags {
        RegFlags(self.0 & !other.0)
    }
}

/// Marks in `RegState::id`: the scalar differs by the constant `off` from the others with its id, in
/// 64-bit arithmetic (`BPF_ADD_CONST64`).
pub(crate) const ADD_CONST64: u32 = 1 << 31;
/// The same in 32-bit arithmetic (`BPF_ADD_CONST32`).
pub(crate) const ADD_CONST32: u32 = 1 << 30;
/// Either of the two (`BPF_ADD_CONST`).
pub(crate) const ADD_CONST: u32 = ADD_CONST64 | ADD_CONST32;

/// What a dynptr gives access to (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DynptrType {
    /// The program's own memory.
    Local,
    /// A record of a ring buffer.
    Ringbuf,
    /// A packet's `struct sk_buff`.
    Skb,
    /// A packet's `struct xdp_buff`.
    Xdp,
    /// The metadata before a packet.
    SkbMeta,
}

impl DynptrType {
    /// The record must be submitted or discarded (`dynptr_type_refcounted`).
    pub fn is_refcounted(self) -> bool {
        self == DynptrType::Ringbuf
    }

    /// As the log names it (`dynptr_type_str`).
    pub fn name(self) -> &'static str {
        match self {
            DynptrType::Local => "local",
            DynptrType::Ringbuf => "ringbuf",
            DynptrType::Skb => "skb",
            DynptrType::Xdp => "xdp",
            DynptrType::SkbMeta => "skb_meta",
        }
    }

    /// Flag of memory that a slice of the dynptr gives (`get_dynptr_type_flag`).
    pub fn flag(self) -> RegFlags {
        match self {
            DynptrType::Local => RegFlags::DYNPTR_LOCAL,
            DynptrType::Ringbuf => RegFlags::DYNPTR_RINGBUF,
            DynptrType::Skb => RegFlags::DYNPTR_SKB,
            DynptrType::Xdp => RegFlags::DYNPTR_XDP,
            DynptrType::SkbMeta => RegFlags::DYNPTR_SKB_META,
        }
    }
}

impl core::fmt::Display for DynptrType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// How far an iterator is (`enum bpf_iter_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IterState {
    /// It may give more.
    Active,
    /// It gave its last element.
    Drained,
}

/// Which kfuncs saved an interrupt flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IrqClass {
    /// `bpf_local_irq_save`.
    Native,
    /// `bpf_res_spin_lock_irqsave`.
    Lock,
}

/// State of an object that kfuncs and helpers keep on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum StackObject {
    /// None.
    #[default]
    None,
    /// A dynptr; `first` tells its first eight bytes from its second.
    Dynptr { ty: DynptrType, first: bool },
    /// An iterator whose type is the BTF id in `aux`; `depth` counts the elements that it gave on this path.
    Iter { state: IterState, depth: u32 },
    /// A saved interrupt flag.
    Irq { class: IrqClass },
}

/// Range of a packet pointer that is the packet's end, or after it (`AT_PKT_END`).
pub(crate) const AT_PKT_END: i32 = -1;
/// Of one that is after it (`BEYOND_PKT_END`).
pub(crate) const BEYOND_PKT_END: i32 = -2;

/// `RegState::map` of a register that names no map.
pub(crate) const NO_MAP: u32 = u32::MAX;
/// `RegState::map` of an object whose type is one of the program's BTF, not the target's.
pub(crate) const PROG_BTF: u32 = u32::MAX - 1;

/// What the verifier knows of one register or spilled register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RegState {
    pub ty: RegType,
    pub flags: RegFlags,
    /// The value decided something (a bound, a branch): equal states must agree on it.
    pub precise: bool,
    /// Fixed part of a pointer's offset.
    pub off: i32,
    /// By type: frame number, memory size, BTF id, function number.
    pub aux: u32,
    /// Index into the verifier's map table, or [`NO_MAP`].
    pub map: u32,
    /// Different for each lookup in an inner map (`map_uid`).
    pub map_uid: u32,
    /// Registers with the same non-zero id hold the same value (or pointers of one origin).
    pub id: u32,
    /// Reference that must be released.
    pub ref_obj_id: u32,
    /// Reference that this one was derived from by a dynptr slice (`dynptr_id`).
    pub dynptr_id: u32,
    /// What a dynptr, iterator or interrupt flag on the stack is.
    pub object: StackObject,
    /// Value of a scalar, variable part of a pointer's offset.
    pub bounds: Bounds,
}

impl Default for RegState {
    fn default() -> Self {
        RegState::not_init()
    }
}

impl RegState {
    pub fn not_init() -> RegState {
        RegState {
            ty: RegType::NotInit,
            flags: RegFlags::NONE,
            precise: false,
            off: 0,
            aux: 0,
            map: NO_MAP,
            map_uid: 0,
            id: 0,
            ref_obj_id: 0,
            dynptr_id: 0,
            object: StackObject::None,
            bounds: Bounds::unknown(),
        }
    }

    /// A number of which nothing is known.
    pub fn unknown() -> RegState {
        RegState { ty: RegType::Scalar, ..RegState::not_init() }
    }

    /// A number.
    pub fn known(value: u64) -> RegState {
        RegState { bounds: Bounds::known(value), ..RegState::unknown() }
    }

    /// A number within `bounds`.
    pub fn scalar(bounds: Bounds) -> RegState {
        RegState { bounds, ..RegState::unknown() }
    }

    /// A pointer without offset (`mark_reg_known_zero`).
    pub fn pointer(ty: RegType, flags: RegFlags) -> RegState {
        RegState { ty, flags, bounds: Bounds::known(0), ..RegState::not_init() }
    }

    pub fn maybe_null(&self) -> bool {
        self.flags.has(RegFlags::MAYBE_NULL)
    }

    pub fn is_scalar(&self) -> bool {
        self.ty == RegType::Scalar
    }

    pub fn is_pointer(&self) -> bool {
        !matches!(self.ty, RegType::Scalar | RegType::NotInit)
    }

    /// `tnum_is_const(reg->var_off)`.
    pub fn is_const(&self) -> bool {
        self.bounds.var_off.is_const()
    }

    /// A number that is one value.
    pub fn const_value(&self) -> Option<u64> {
        (self.is_scalar() && self.is_const()).then_some(self.bounds.var_off.value)
    }

    /// `register_is_null`: the number 0.
    pub fn is_null(&self) -> bool {
        self.const_value() == Some(0)
    }

    /// `type_is_pkt_pointer`.
    pub fn is_pkt_pointer(&self) -> bool {
        matches!(self.ty, RegType::PtrToPacket | RegType::PtrToPacketMeta)
    }

    /// Bytes of a packet pointer, without its offset, that are known to be there; or [`AT_PKT_END`],
    /// [`BEYOND_PKT_END`].
    pub fn range(&self) -> i32 {
        self.aux as i32
    }

    /// `type_is_sk_pointer`.
    pub fn sock_kind(&self) -> Option<stylet_catalog::SockKind> {
        use stylet_catalog::SockKind;
        Some(match self.ty {
            RegType::PtrToSocket => SockKind::Full,
            RegType::PtrToSockCommon => SockKind::Common,
            RegType::PtrToTcpSock => SockKind::Tcp,
            RegType::PtrToXdpSock => SockKind::Xdp,
            _ => return None,
        })
    }

    /// Any modifier besides those that vouch for the pointer (`bpf_type_has_unsafe_modifiers`).
    pub fn has_unsafe_flags(&self) -> bool {
        self.flags.without(RegFlags::TRUSTED_MODIFIERS) != RegFlags::NONE
    }

    /// The kernel vouches for the object behind the pointer (`is_trusted_reg`).
    pub fn is_trusted(&self) -> bool {
        let as_object = matches!(
            self.ty,
            RegType::PtrToSocket
                | RegType::PtrToSockCommon
                | RegType::PtrToTcpSock
                | RegType::ConstPtrToMap
        );
        let marked = self.flags.0 & RegFlags::TRUSTED_MODIFIERS.0 != 0;
        self.ref_obj_id != 0 || (as_object || marked) && !self.has_unsafe_flags()
    }

    /// An object that may be passed with a fixed offset (`check_func_arg_reg_off`).
    pub fn may_have_offset(&self) -> bool {
        let safe = RegFlags::TRUSTED_MODIFIERS.with(RegFlags::RCU).with(RegFlags::NON_OWN_REF);
        self.flags.without(safe) == RegFlags::NONE
    }

    /// An object that RCU keeps alive (`is_rcu_reg`).
    pub fn is_rcu(&self) -> bool {
        self.flags.has(RegFlags::RCU)
    }

    /// Frame number of a stack pointer.
    pub fn frameno(&self) -> usize {
        self.aux as usize
    }
}

/// A register's type as the log prints it (`reg_type_str`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeName {
    ty: RegType,
    flags: RegFlags,
}

impl RegState {
    /// The type, for messages.
    pub(crate) fn type_name(&self) -> TypeName {
        TypeName { ty: self.ty, flags: self.flags }
    }
}

impl TypeName {
    pub(crate) const fn new(ty: RegType, flags: RegFlags) -> TypeName {
        TypeName { ty, flags }
    }
}

impl core::fmt::Display for TypeName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let prefixes = [
            (RegFlags::RDONLY, "rdonly_"),
            (RegFlags::RINGBUF, "ringbuf_"),
            (RegFlags::USER, "user_"),
            (RegFlags::PERCPU, "percpu_"),
            (RegFlags::RCU, "rcu_"),
            (RegFlags::UNTRUSTED, "untrusted_"),
            (RegFlags::TRUSTED, "trusted_"),
        ];
        for (_, prefix) in prefixes.iter().filter(|(flag, _)| self.flags.has(*flag)) {
            f.write_str(prefix)?;
        }
        f.write_str(match self.ty {
            RegType::NotInit => "?",
            RegType::Scalar => "scalar",
            RegType::PtrToCtx => "ctx",
            RegType::ConstPtrToMap => "map_ptr",
            RegType::PtrToMapValue => "map_value",
            RegType::PtrToMapKey => "map_key",
            RegType::PtrToStack => "fp",
            RegType::PtrToMem => "mem",
            RegType::PtrToBuf => "buf",
            RegType::PtrToTpBuffer => "tp_buffer",
            RegType::PtrToBtfId => "ptr_",
            RegType::PtrToFunc => "func",
            RegType::PtrToPacket => "pkt",
            RegType::PtrToPacketMeta => "pkt_meta",
            RegType::PtrToPacketEnd => "pkt_end",
            RegType::PtrToFlowKeys => "flow_keys",
            RegType::PtrToSocket => "sock",
            RegType::PtrToSockCommon => "sock_common",
            RegType::PtrToTcpSock => "tcp_sock",
            RegType::PtrToXdpSock => "xdp_sock",
            RegType::ConstPtrToDynptr => "dynptr_ptr",
        })?;
        if self.flags.has(RegFlags::MAYBE_NULL) {
            f.write_str(if self.ty == RegType::PtrToBtfId { "or_null_" } else { "_or_null" })?;
        }
        Ok(())
    }
}
