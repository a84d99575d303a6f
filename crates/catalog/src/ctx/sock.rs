//! `struct bpf_sock`, `struct bpf_tcp_sock` (include/uapi/linux/bpf.h).

use super::CtxAccess;
use stylet_uapi::AttachType as A;

/// `bpf_sock_is_valid_access`; the offset is a multiple of the size.
pub(super) fn bpf_sock(off: u32, a: CtxAccess) -> bool {
    const FAMILY: u32 = 4;
    const TYPE: u32 = 8;
    const PROTOCOL: u32 = 12;
    const SRC_PORT: u32 = 44;
    const STATE: u32 = 72;
    const RX_QUEUE_MAPPING: u32 = 76;
    const SIZE: u32 = 80;
    match off {
        FAMILY | TYPE | PROTOCOL | SRC_PORT | STATE | RX_QUEUE_MAPPING => a.size <= 4,
        // src_ip4, src_ip6; dst_ip4, dst_ip6.
        24..44 | 52..72 => a.size <= 4,
        // dst_port has two bytes, but may be read as four.
        48..50 => a.size <= 2 || a.size == 4,
        50..52 => false,
        _ => off < SIZE && a.size == 4,
    }
}

/// Fields that sockets of every kind have: `bpf_sock_common_is_valid_access`.
pub(super) fn is_common(off: u32) -> bool {
    // Not: type, protocol, mark, priority.
    !(8..24).contains(&off)
}

/// Which fields `BPF_PROG_TYPE_CGROUP_SOCK` has at which hook.
pub(super) fn at_hook(off: u32, write: bool, attach: A) -> bool {
    match off {
        // bound_dev_if, mark, priority.
        0 | 16 | 20 => {
            matches!(attach, A::CGROUP_INET_SOCK_CREATE | A::CGROUP_INET_SOCK_RELEASE)
        }
        24..28 => attach == A::CGROUP_INET4_POST_BIND && !write,
        28..44 => attach == A::CGROUP_INET6_POST_BIND && !write,
        44..48 => matches!(attach, A::CGROUP_INET4_POST_BIND | A::CGROUP_INET6_POST_BIND) && !write,
        _ => !write,
    }
}

/// `bpf_tcp_sock_is_valid_access`; the offset is a multiple of the size.
pub(super) fn bpf_tcp_sock(off: u32, size: u32) -> bool {
    const BYTES_RECEIVED: u32 = 80;
    const BYTES_ACKED: u32 = 88;
    const END: u32 = 112;
    match off {
        BYTES_RECEIVED | BYTES_ACKED => size == 8,
        _ => off < END && size == 4,
    }
}
