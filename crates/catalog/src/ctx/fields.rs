//! Contexts that are no more than a list of fields.

use super::{CtxAccess, CtxLoad};
use core::ops::Range;
use stylet_uapi::{AttachType as A, ProgType};

/// Which sizes go with a field of `n` bytes.
#[derive(Clone, Copy)]
enum Sizes {
    /// `n`.
    Exact(u32),
    /// Loads of up to `n`, stores of `n`.
    Narrow(u32),
    /// The same, and eight bytes of an array.
    NarrowOrWide(u32),
}
use Sizes::{Exact, Narrow, NarrowOrWide};

#[derive(Clone)]
struct Field {
    at: Range<u32>,
    sizes: Sizes,
    load: CtxLoad,
    /// May be written; where only some hooks allow it, see `hooks_write`.
    write: bool,
    /// Hooks that have it; empty for all.
    hooks: &'static [A],
    /// Hooks that may write it; empty for all.
    hooks_write: &'static [A],
}

const fn field(at: Range<u32>, sizes: Sizes) -> Field {
    Field { at, sizes, load: CtxLoad::Scalar, write: false, hooks: &[], hooks_write: &[] }
}

const fn pointer(at: u32, load: CtxLoad) -> Field {
    Field { load, ..field(at..at + 8, Exact(8)) }
}

const fn packet32(at: u32, load: CtxLoad) -> Field {
    Field { load, ..field(at..at + 4, Exact(4)) }
}

impl Field {
    const fn writable(self) -> Field {
        Field { write: true, ..self }
    }

    const fn hooks(self, hooks: &'static [A]) -> Field {
        Field { hooks, ..self }
    }

    const fn written_at(self, hooks_write: &'static [A]) -> Field {
        Field { write: true, hooks_write, ..self }
    }

    fn takes(&self, off: u32, a: CtxAccess, attach: A) -> bool {
        let at = |hooks: &[A]| hooks.is_empty() || hooks.contains(&attach);
        let (size, wide) = match self.sizes {
            Exact(n) => return self.allows(a, attach) && a.size == n && at(self.hooks),
            Narrow(n) => (n, false),
            NarrowOrWide(n) => (n, a.size == 8 && off + 8 <= self.at.end),
        };
        let fits = wide || if a.write { a.size == size } else { a.size <= size };
        self.allows(a, attach) && fits && at(self.hooks)
    }

    fn allows(&self, a: CtxAccess, attach: A) -> bool {
        let hook = self.hooks_write.is_empty() || self.hooks_write.contains(&attach);
        !a.write || self.write && hook
    }
}

static XDP: &[Field] = &[
    packet32(0, CtxLoad::Packet),
    packet32(4, CtxLoad::PacketEnd),
    packet32(8, CtxLoad::PacketMeta),
    field(12..20, Exact(4)),
    field(20..24, Exact(4)).hooks(&[A::XDP_DEVMAP]),
];

const IP4_HOOKS: &[A] = &[
    A::CGROUP_INET4_BIND,
    A::CGROUP_INET4_CONNECT,
    A::CGROUP_INET4_GETPEERNAME,
    A::CGROUP_INET4_GETSOCKNAME,
    A::CGROUP_UDP4_SENDMSG,
    A::CGROUP_UDP4_RECVMSG,
];
const IP6_HOOKS: &[A] = &[
    A::CGROUP_INET6_BIND,
    A::CGROUP_INET6_CONNECT,
    A::CGROUP_INET6_GETPEERNAME,
    A::CGROUP_INET6_GETSOCKNAME,
    A::CGROUP_UDP6_SENDMSG,
    A::CGROUP_UDP6_RECVMSG,
];

static SOCK_ADDR: &[Field] = &[
    field(0..4, Exact(4)),
    field(4..8, Narrow(4)).writable().hooks(IP4_HOOKS),
    field(8..24, NarrowOrWide(4)).writable().hooks(IP6_HOOKS),
    field(24..28, Narrow(4)).writable(),
    field(28..40, Exact(4)),
    field(40..44, Narrow(4)).writable().hooks(&[A::CGROUP_UDP4_SENDMSG]),
    field(44..60, NarrowOrWide(4)).writable().hooks(&[A::CGROUP_UDP6_SENDMSG]),
    pointer(64, CtxLoad::Socket),
];

static SOCK_OPS: &[Field] = &[
    field(0..4, Exact(4)),
    // `reply`
    field(4..8, Exact(4)).writable(),
    field(8..164, Exact(4)),
    // `sk_txhash`
    field(164..168, Exact(4)).writable(),
    field(168..184, Exact(8)),
    pointer(184, CtxLoad::SocketOrNull),
    pointer(192, CtxLoad::Packet),
    pointer(200, CtxLoad::PacketEnd),
    field(208..212, Exact(4)),
    // `skb_tcp_flags`, narrow at its first byte only.
    field(212..213, Narrow(4)),
    field(213..216, Exact(4)),
    field(216..224, Exact(8)),
];

static SK_MSG: &[Field] = &[
    pointer(0, CtxLoad::Packet),
    pointer(8, CtxLoad::PacketEnd),
    field(16..72, Exact(4)),
    pointer(72, CtxLoad::Socket),
];

static SK_REUSEPORT: &[Field] = &[
    pointer(0, CtxLoad::Packet),
    pointer(8, CtxLoad::PacketEnd),
    field(16..20, Narrow(4)),
    field(20..24, Narrow(4)),
    field(24..32, Narrow(4)),
    field(32..33, Exact(4)),
    pointer(40, CtxLoad::Socket),
    pointer(48, CtxLoad::SockCommonOrNull),
];

static SK_LOOKUP: &[Field] = &[
    pointer(0, CtxLoad::SocketOrNull),
    field(8..36, Narrow(4)),
    field(36..38, Narrow(4)),
    field(38..40, Narrow(2)),
    field(40..68, Narrow(4)),
];

static CGROUP_DEVICE: &[Field] = &[field(0..4, Narrow(4)), field(4..12, Exact(4))];

static CGROUP_SYSCTL: &[Field] = &[field(0..4, Narrow(4)), field(4..8, Narrow(4)).writable()];

static CGROUP_SOCKOPT: &[Field] = &[
    pointer(0, CtxLoad::Socket),
    pointer(8, CtxLoad::Packet),
    pointer(16, CtxLoad::PacketEnd),
    field(24..32, Exact(4)).written_at(&[A::CGROUP_SETSOCKOPT]),
    field(32..36, Exact(4)).writable(),
    field(36..40, Exact(4)).writable().hooks(&[A::CGROUP_GETSOCKOPT]),
];

static LIRC_MODE2: &[Field] = &[field(0..4, Exact(4))];

fn of(prog_type: ProgType) -> Option<&'static [Field]> {
    Some(match prog_type {
        ProgType::XDP => XDP,
        ProgType::CGROUP_SOCK_ADDR => SOCK_ADDR,
        ProgType::SOCK_OPS => SOCK_OPS,
        ProgType::SK_MSG => SK_MSG,
        ProgType::SK_REUSEPORT => SK_REUSEPORT,
        ProgType::SK_LOOKUP => SK_LOOKUP,
        ProgType::CGROUP_DEVICE => CGROUP_DEVICE,
        ProgType::CGROUP_SYSCTL => CGROUP_SYSCTL,
        ProgType::CGROUP_SOCKOPT => CGROUP_SOCKOPT,
        ProgType::LIRC_MODE2 => LIRC_MODE2,
        _ => return None,
    })
}

/// The field at `off`, which is a multiple of the size.
pub(super) fn find(prog_type: ProgType, attach: A, off: u32, a: CtxAccess) -> Option<CtxLoad> {
    let field = of(prog_type)?.iter().find(|f| f.at.contains(&off))?;
    // `eth_protocol`: bytes of it are nothing.
    if prog_type == ProgType::SK_REUSEPORT && (20..24).contains(&off) && a.size < 2 {
        return None;
    }
    // A packet's address is never sign-extended.
    if a.sign && prog_type == ProgType::XDP && field.load != CtxLoad::Scalar {
        return None;
    }
    // Pointers are loaded from where they begin.
    if a.size == 8 && matches!(field.sizes, Exact(8)) && !off.is_multiple_of(8) {
        return None;
    }
    // remote_port of SK_LOOKUP has two bytes, but may be read as four.
    if prog_type == ProgType::SK_LOOKUP && off == 36 && a.size == 4 {
        return (!a.write).then_some(CtxLoad::Scalar);
    }
    let narrow_port = prog_type == ProgType::SK_LOOKUP && (36..38).contains(&off) && a.size > 2;
    (!narrow_port && field.takes(off, a, attach)).then_some(field.load)
}
