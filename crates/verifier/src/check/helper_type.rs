//! Register types that helpers' arguments take (`check_reg_type`, `compatible_reg_types`).

use stylet_btf::Kind as BtfKind;
use stylet_catalog::{ArgBase, ArgFlags, ArgType, FuncProto};
use stylet_uapi::HelperId;

use crate::btf_walk::ids_match;
use crate::env::Verifier;
use crate::kind::{Expected, RejectionKind as Kind};
use crate::regs::{RegFlags, RegState, RegType, TypeName};
use crate::rejection::{Reject, Res};

const fn ty(ty: RegType, flags: RegFlags) -> TypeName {
    TypeName::new(ty, flags)
}

const PLAIN: RegFlags = RegFlags::NONE;

/// `mem_types`, as far as this verifier makes such registers, and the kernel's list for messages.
static MEM: Expected = Expected {
    types: &[
        ty(RegType::PtrToStack, PLAIN),
        ty(RegType::PtrToPacket, PLAIN),
        ty(RegType::PtrToPacketMeta, PLAIN),
        ty(RegType::PtrToMapKey, PLAIN),
        ty(RegType::PtrToMapValue, PLAIN),
        ty(RegType::PtrToMem, PLAIN),
        ty(RegType::PtrToMem, RegFlags::RINGBUF),
        ty(RegType::PtrToBuf, PLAIN),
        ty(RegType::PtrToBtfId, RegFlags::TRUSTED),
    ],
    text: "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
};
static SOCK: Expected = Expected {
    types: &[
        ty(RegType::PtrToSockCommon, PLAIN),
        ty(RegType::PtrToSocket, PLAIN),
        ty(RegType::PtrToTcpSock, PLAIN),
        ty(RegType::PtrToXdpSock, PLAIN),
    ],
    text: "sock_common, sock, tcp_sock, xdp_sock",
};
static BTF_SOCK: Expected = Expected {
    types: &[
        ty(RegType::PtrToSockCommon, PLAIN),
        ty(RegType::PtrToSocket, PLAIN),
        ty(RegType::PtrToTcpSock, PLAIN),
        ty(RegType::PtrToXdpSock, PLAIN),
        ty(RegType::PtrToBtfId, PLAIN),
        ty(RegType::PtrToBtfId, RegFlags::TRUSTED),
    ],
    text: "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_",
};
static BTF_PTR: Expected = Expected {
    types: &[
        ty(RegType::PtrToBtfId, PLAIN),
        ty(RegType::PtrToBtfId, RegFlags::TRUSTED),
        ty(RegType::PtrToBtfId, RegFlags::RCU),
    ],
    text: "ptr_, trusted_ptr_, rcu_ptr_",
};
static PERCPU_BTF_PTR: Expected = Expected {
    types: &[
        ty(RegType::PtrToBtfId, RegFlags::PERCPU),
        ty(RegType::PtrToBtfId, RegFlags::PERCPU.with(RegFlags::RCU)),
        ty(RegType::PtrToBtfId, RegFlags::PERCPU.with(RegFlags::TRUSTED)),
    ],
    text: "percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_",
};
static FULLSOCK: Expected = Expected {
    types: &[ty(RegType::PtrToSocket, PLAIN)],
    text: "sock, ptr_, trusted_ptr_, rcu_ptr_",
};
static SCALAR: Expected = Expected { types: &[ty(RegType::Scalar, PLAIN)], text: "scalar" };
static CTX: Expected = Expected { types: &[ty(RegType::PtrToCtx, PLAIN)], text: "ctx" };
static MAP: Expected = Expected { types: &[ty(RegType::ConstPtrToMap, PLAIN)], text: "map_ptr" };
static RINGBUF: Expected =
    Expected { types: &[ty(RegType::PtrToMem, RegFlags::RINGBUF)], text: "ringbuf_mem" };
static FUNC: Expected = Expected { types: &[ty(RegType::PtrToFunc, PLAIN)], text: "func" };
static STACK: Expected = Expected { types: &[ty(RegType::PtrToStack, PLAIN)], text: "fp" };
static CONST_STR: Expected =
    Expected { types: &[ty(RegType::PtrToMapValue, PLAIN)], text: "map_value" };

static TIMER: Expected =
    Expected { types: &[ty(RegType::PtrToMapValue, PLAIN)], text: "map_value" };
static SPIN_LOCK: Expected = Expected {
    types: &[ty(RegType::PtrToMapValue, PLAIN), ty(RegType::PtrToBtfId, RegFlags::ALLOC)],
    text: "map_value, ptr_",
};
static KPTR_XCHG_DEST: Expected = Expected {
    types: &[ty(RegType::PtrToMapValue, PLAIN), ty(RegType::PtrToBtfId, RegFlags::ALLOC)],
    text: "map_value, ptr_",
};

static DYNPTR: Expected = Expected {
    types: &[ty(RegType::PtrToStack, PLAIN), ty(RegType::ConstPtrToDynptr, PLAIN)],
    text: "fp, dynptr_ptr",
};

/// Register types that an argument takes (`compatible_reg_types`).
fn compatible(base: ArgBase) -> Res<&'static Expected> {
    Ok(match base {
        ArgBase::PtrToMapKey | ArgBase::PtrToMapValue | ArgBase::PtrToMem => &MEM,
        ArgBase::ConstSize | ArgBase::ConstSizeOrZero | ArgBase::ConstAllocSizeOrZero => &SCALAR,
        ArgBase::ConstMapPtr => &MAP,
        ArgBase::PtrToCtx => &CTX,
        ArgBase::PtrToRingbufMem => &RINGBUF,
        ArgBase::PtrToFunc => &FUNC,
        ArgBase::PtrToStack => &STACK,
        ArgBase::PtrToConstStr => &CONST_STR,
        ArgBase::PtrToDynptr => &DYNPTR,
        ArgBase::PtrToSockCommon => &SOCK,
        ArgBase::PtrToBtfIdSockCommon => &BTF_SOCK,
        ArgBase::PtrToSocket => &FULLSOCK,
        ArgBase::PtrToSpinLock => &SPIN_LOCK,
        ArgBase::PtrToTimer => &TIMER,
        ArgBase::PtrToBtfId => &BTF_PTR,
        ArgBase::PtrToPercpuBtfId => &PERCPU_BTF_PTR,
        ArgBase::KptrXchgDest => &KPTR_XCHG_DEST,
        _ => return Err(Reject::unsupported("arguments of this kind")),
    })
}

impl Verifier<'_> {
    /// The register's type is one that the argument takes.
    pub(super) fn check_reg_type(
        &self,
        reg: &RegState,
        regno: u8,
        arg: &ArgType,
        proto: &FuncProto,
    ) -> Res<()> {
        let expected = compatible(arg.base)?;
        let mut flags = reg.flags;
        if arg.flags.contains(ArgFlags::MEM_RDONLY) {
            flags = flags.without(RegFlags::RDONLY);
        }
        if arg.flags.contains(ArgFlags::PTR_MAYBE_NULL) {
            flags = flags.without(RegFlags::MAYBE_NULL);
        }
        if arg.base == ArgBase::PtrToMem {
            flags = flags.without(RegFlags::DYNPTR_MASK);
        }
        if !expected.types.contains(&TypeName::new(reg.ty, flags)) {
            return Err(Reject::acces(Kind::ArgType {
                reg: regno,
                ty: reg.type_name(),
                expected: expected.text,
            }));
        }
        if reg.ty != RegType::PtrToBtfId {
            return Ok(());
        }
        if core::ptr::eq(expected, &MEM) {
            return match arg.flags.contains(ArgFlags::MEM_RDONLY) {
                true => Ok(()),
                false => Err(Reject::acces(Kind::HelperMayWrite {
                    helper: proto.name,
                    reg: regno,
                    ty: reg.type_name(),
                })),
            };
        }
        self.check_helper_object(reg, regno, arg, proto)
    }

    /// The object is of the type that the helper wants, or has one at its offset.
    fn check_helper_object(
        &self,
        reg: &RegState,
        regno: u8,
        arg: &ArgType,
        proto: &FuncProto,
    ) -> Res<()> {
        // What these do with an object is up to them.
        let any = matches!(
            arg.base,
            ArgBase::PtrToPercpuBtfId | ArgBase::PtrToSpinLock | ArgBase::KptrXchgDest
        );
        if any {
            return Ok(());
        }
        let release = arg.flags.contains(ArgFlags::OBJ_RELEASE);
        if reg.maybe_null() && (!arg.flags.contains(ArgFlags::PTR_MAYBE_NULL) || release) {
            return Err(Reject::acces(Kind::NullToHelper { arg: regno }));
        }
        let want = match arg.base {
            ArgBase::PtrToBtfIdSockCommon => "sock_common",
            // The table has the structures of the first three arguments only.
            _ if HelperId(proto.id) == HelperId::COPY_FROM_USER_TASK => "task_struct",
            _ => arg.btf_struct,
        };
        self.check_ptr_off_reg(reg, regno, true)?;
        let btf = self.btf_of(reg)?;
        let Some(want_id) =
            btf.find_by_name_kind(want, BtfKind::Struct).filter(|_| !want.is_empty())
        else {
            return Err(Reject::unsupported(proto.name));
        };
        let strict = release && HelperId(proto.id) != HelperId::SK_RELEASE;
        let have = btf.skip_mods_and_typedefs(reg.aux);
        ids_match(btf, have, reg.off.into(), want_id, strict).map_err(|note| {
            let have = btf.type_name(have).into();
            Reject::acces(Kind::HelperObject { reg: regno, have, want }).after(note)
        })
    }
}
