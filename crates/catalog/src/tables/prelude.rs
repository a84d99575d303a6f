//! Builders that keep the tables short.

use crate::kfuncs::{Kfunc, KfuncFlags};
use crate::proto::{ArgFlags, ArgType, FuncProto, RetType};
use crate::release::Release;

pub(super) use crate::proto::ArgBase::{self, *};
pub(super) use crate::proto::RetBase;

/// A helper and its first release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper {
    pub(crate) proto: FuncProto,
    pub(crate) since: Release,
}

macro_rules! flag_names {
    ($($name:ident)*) => { $( pub(super) const $name: ArgFlags = ArgFlags::$name; )* };
}

flag_names! {
    PTR_MAYBE_NULL MEM_RDONLY MEM_RINGBUF OBJ_RELEASE MEM_UNINIT MEM_FIXED_SIZE MEM_ALIGNED MEM_WRITE
    DYNPTR_TYPE_LOCAL DYNPTR_TYPE_RINGBUF PTR_TRUSTED
}

pub(super) const fn v(major: u8, minor: u8) -> Release {
    Release::new(major, minor)
}

const UNUSED: ArgType = ArgType { base: DontCare, flags: ArgFlags::NONE, size: 0, btf_struct: "" };

pub(super) const fn helper(id: u32, name: &'static str, since: Release) -> Helper {
    let proto = FuncProto {
        id,
        name,
        gpl_only: false,
        pkt_access: false,
        might_sleep: false,
        allow_fastcall: false,
        ret: RetType { base: RetBase::Void, flags: ArgFlags::NONE, btf_struct: "" },
        args: [UNUSED; 5],
    };
    Helper { proto, since }
}

const fn union(flags: &[ArgFlags]) -> ArgFlags {
    let mut set = ArgFlags::NONE;
    let mut n = 0;
    while n < flags.len() {
        set = set.union(flags[n]);
        n += 1;
    }
    set
}

impl Helper {
    pub(super) const fn gpl_only(mut self) -> Helper {
        self.proto.gpl_only = true;
        self
    }

    pub(super) const fn pkt_access(mut self) -> Helper {
        self.proto.pkt_access = true;
        self
    }

    pub(super) const fn might_sleep(mut self) -> Helper {
        self.proto.might_sleep = true;
        self
    }

    pub(super) const fn allow_fastcall(mut self) -> Helper {
        self.proto.allow_fastcall = true;
        self
    }

    pub(super) const fn ret(
        mut self,
        base: RetBase,
        flags: &[ArgFlags],
        btf: &'static str,
    ) -> Helper {
        self.proto.ret = RetType { base, flags: union(flags), btf_struct: btf };
        self
    }

    /// Argument `n` (from 0).
    pub(super) const fn arg(
        mut self,
        n: usize,
        base: ArgBase,
        flags: &[ArgFlags],
        btf: &'static str,
    ) -> Helper {
        self.proto.args[n] = ArgType { base, flags: union(flags), size: 0, btf_struct: btf };
        self
    }

    /// Argument `n` (from 0) is memory of `size` bytes.
    pub(super) const fn fixed(mut self, n: usize, flags: &[ArgFlags], size: u32) -> Helper {
        self.proto.args[n] = ArgType { base: PtrToMem, flags: union(flags), size, btf_struct: "" };
        self
    }
}

/// A kfunc and its flags.
pub(super) const fn kf(name: &'static str, since: Release, flags: &[KfuncFlags]) -> Kfunc {
    let mut set = KfuncFlags::empty();
    let mut n = 0;
    while n < flags.len() {
        set = set.union(flags[n]);
        n += 1;
    }
    Kfunc { name, since, flags: set }
}

macro_rules! kfunc_flag_names {
    ($($name:ident)*) => {
        /// Flags by their names without `KF_`.
        pub(super) mod kfunc_flags {
            use crate::kfuncs::KfuncFlags;
            $( pub(in crate::tables) const $name: KfuncFlags = KfuncFlags::$name; )*
        }
    };
}

kfunc_flag_names! {
    ACQUIRE RELEASE RET_NULL TRUSTED_ARGS SLEEPABLE DESTRUCTIVE RCU ITER_NEW ITER_NEXT ITER_DESTROY RCU_PROTECTED FASTCALL
    ARENA_RET ARENA_ARG2 IMPLICIT_ARGS
}
