//! Prototypes of helpers (`struct bpf_func_proto`, include/linux/bpf.h).

/// What an argument must be (`enum bpf_arg_type`, base part).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[allow(missing_docs)]
pub enum ArgBase {
    DontCare,
    ConstMapPtr,
    PtrToMapKey,
    PtrToMapValue,
    PtrToMem,
    PtrToArena,
    ConstSize,
    ConstSizeOrZero,
    PtrToCtx,
    Anything,
    PtrToSpinLock,
    PtrToSockCommon,
    PtrToSocket,
    PtrToBtfId,
    PtrToRingbufMem,
    ConstAllocSizeOrZero,
    PtrToBtfIdSockCommon,
    PtrToPercpuBtfId,
    PtrToFunc,
    PtrToStack,
    PtrToConstStr,
    PtrToTimer,
    KptrXchgDest,
    PtrToDynptr,
}

/// Modifiers of argument and return types (`enum bpf_type_flag`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct ArgFlags(pub u32);

#[allow(missing_docs)]
impl ArgFlags {
    pub const NONE: ArgFlags = ArgFlags(0);
    pub const PTR_MAYBE_NULL: ArgFlags = ArgFlags(1 << 0);
    pub const MEM_RDONLY: ArgFlags = ArgFlags(1 << 1);
    pub const MEM_RINGBUF: ArgFlags = ArgFlags(1 << 2);
    pub const MEM_USER: ArgFlags = ArgFlags(1 << 3);
    pub const MEM_PERCPU: ArgFlags = ArgFlags(1 << 4);
    pub const OBJ_RELEASE: ArgFlags = ArgFlags(1 << 5);
    pub const PTR_UNTRUSTED: ArgFlags = ArgFlags(1 << 6);
    pub const MEM_UNINIT: ArgFlags = ArgFlags(1 << 7);
    pub const DYNPTR_TYPE_LOCAL: ArgFlags = ArgFlags(1 << 8);
    pub const DYNPTR_TYPE_RINGBUF: ArgFlags = ArgFlags(1 << 9);
    pub const MEM_FIXED_SIZE: ArgFlags = ArgFlags(1 << 10);
    pub const PTR_TRUSTED: ArgFlags = ArgFlags(1 << 11);
    pub const MEM_RCU: ArgFlags = ArgFlags(1 << 12);
    pub const NON_OWN_REF: ArgFlags = ArgFlags(1 << 13);
    pub const DYNPTR_TYPE_SKB: ArgFlags = ArgFlags(1 << 14);
    pub const DYNPTR_TYPE_XDP: ArgFlags = ArgFlags(1 << 15);
    pub const MEM_ALIGNED: ArgFlags = ArgFlags(1 << 16);
    pub const MEM_WRITE: ArgFlags = ArgFlags(1 << 17);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: ArgFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub const fn union(self, other: ArgFlags) -> ArgFlags {
        ArgFlags(self.0 | other.0)
    }
}

/// One argument of a helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArgType {
    /// What it must be.
    pub base: ArgBase,
    /// Modifiers.
    pub flags: ArgFlags,
    /// Size in bytes where `MEM_FIXED_SIZE` is set, otherwise 0.
    pub size: u32,
    /// Kernel struct that `PtrToBtfId` asks for, otherwise empty.
    pub btf_struct: &'static str,
}

/// What a helper returns (`enum bpf_return_type`, base part).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RetBase {
    Integer,
    Void,
    PtrToMapValue,
    PtrToSocket,
    PtrToTcpSock,
    PtrToSockCommon,
    PtrToMem,
    PtrToMemOrBtfId,
    PtrToBtfId,
}

/// The return value of a helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetType {
    /// What it is.
    pub base: RetBase,
    /// Modifiers (`PTR_MAYBE_NULL` for the kernel's `_OR_NULL`).
    pub flags: ArgFlags,
    /// Kernel struct of `PtrToBtfId`, otherwise empty.
    pub btf_struct: &'static str,
}

/// A helper's prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncProto {
    /// Helper number (`enum bpf_func_id`).
    pub id: u32,
    /// Name with `bpf_`, as users write it.
    pub name: &'static str,
    /// Only for programs with a GPL-compatible licence.
    pub gpl_only: bool,
    /// May read or write packet memory.
    pub pkt_access: bool,
    /// May sleep: only in sleepable programs.
    pub might_sleep: bool,
    /// `bpf_fastcall`: clobbers only R0 and used argument registers.
    pub allow_fastcall: bool,
    /// Return value.
    pub ret: RetType,
    /// Arguments R1 to R5.
    pub args: [ArgType; 5],
}
