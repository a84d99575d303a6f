//! What programs may access of a context made of fields, and what they find there (`is_valid_access` of the program types
//! in net/core/filter.c, kernel/bpf/cgroup.c and drivers/media/rc/bpf-lirc.c).

mod fields;
mod skb;
mod sock;

use stylet_uapi::{AttachType, ProgType};

/// One access of a context or of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtxAccess {
    /// Byte offset; may be negative.
    pub off: i64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// A store.
    pub write: bool,
    /// A sign-extending load.
    pub sign: bool,
}

/// What a load from a context gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtxLoad {
    /// A number.
    Scalar,
    /// The packet's first byte.
    Packet,
    /// Its end.
    PacketEnd,
    /// The metadata before it.
    PacketMeta,
    /// `struct bpf_flow_keys`.
    FlowKeys,
    /// `struct bpf_sock`, of a full socket.
    Socket,
    /// The same or NULL.
    SocketOrNull,
    /// `struct bpf_sock` of any socket, or NULL.
    SockCommonOrNull,
}

/// Sockets that programs see by fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SockKind {
    /// `struct bpf_sock`, the fields that every socket has.
    Common,
    /// `struct bpf_sock`.
    Full,
    /// `struct bpf_tcp_sock`.
    Tcp,
    /// `struct bpf_xdp_sock`.
    Xdp,
}

/// What an access of a program type's context gives; `None` when it is refused.
pub(crate) fn access(prog_type: ProgType, attach: AttachType, a: CtxAccess) -> Option<CtxLoad> {
    if a.off < 0 || a.off % i64::from(a.size) != 0 {
        return None;
    }
    let off = u32::try_from(a.off).ok()?;
    if let Some(rules) = skb::rules(prog_type) {
        return rules.access(off, a);
    }
    match prog_type {
        ProgType::FLOW_DISSECTOR => skb::flow_dissector(off, a),
        ProgType::CGROUP_SOCK => (sock::bpf_sock(off, a) && sock::at_hook(off, a.write, attach))
            .then_some(CtxLoad::Scalar),
        _ => fields::find(prog_type, attach, off, a),
    }
}

/// Whether a field of a socket may be read.
pub(crate) fn sock_access(kind: SockKind, a: CtxAccess) -> bool {
    let Some(off) = u32::try_from(a.off).ok().filter(|off| off % a.size == 0) else {
        return false;
    };
    match kind {
        SockKind::Common => sock::is_common(off) && sock::bpf_sock(off, a),
        SockKind::Full => sock::bpf_sock(off, a),
        SockKind::Tcp => sock::bpf_tcp_sock(off, a.size),
        SockKind::Xdp => off < 4 && a.size == 4,
    }
}
