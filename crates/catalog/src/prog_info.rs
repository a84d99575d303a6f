//! Contexts, return values and attach types of program types.

use crate::{Features, Release};
use stylet_uapi::{AttachType as A, ProgType};

/// What R1 points to when a program starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtxKind {
    /// `struct pt_regs`.
    PtRegs,
    /// An array of `u64` arguments.
    RawArgs,
    /// An array of `u64` arguments; the first is a pointer to a buffer that may be written.
    RawArgsWritable,
    /// An array of `u64` arguments with the types of a traced function (BTF).
    BtfArgs,
    /// A tracepoint's record, after the eight bytes that hide `struct pt_regs *`.
    Record,
    /// `struct bpf_perf_event_data`: registers in whole eight bytes, the fields after them in parts too.
    PerfEvent,
    /// The caller's buffer (`ctx_in` of BPF_PROG_TEST_RUN).
    Syscall,
    /// `struct bpf_nf_ctx`: two pointers to objects of the kernel.
    Netfilter,
    /// Fields, see `Env::ctx_access`.
    Fields,
}

/// Facts about a program type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgTypeInfo {
    /// Program type.
    pub prog_type: ProgType,
    /// What the context is.
    pub ctx: CtxKind,
    /// First readable byte of the context.
    pub ctx_start: u32,
    /// One past the last byte of the context that may be read.
    pub ctx_size: u32,
    /// Expected attach types, the default one first.
    pub attach_types: &'static [A],
    /// May be loaded as sleepable from this release on (TRACING: some attach types).
    pub sleepable_since: Option<Release>,
}

/// `PERF_MAX_TRACE_SIZE` (include/linux/trace_events.h).
const PERF_MAX_TRACE_SIZE: u32 = 8192;
/// `sizeof(u64) * MAX_BPF_FUNC_ARGS`.
const RAW_ARGS_SIZE: u32 = 8 * 12;
/// `sizeof(struct pt_regs)` on x86-64.
const PT_REGS_SIZE: u32 = 168;

const fn info(
    prog_type: ProgType,
    ctx: CtxKind,
    ctx_size: u32,
    attach_types: &'static [A],
) -> ProgTypeInfo {
    ProgTypeInfo { prog_type, ctx, ctx_start: 0, ctx_size, attach_types, sleepable_since: None }
}

/// Attach type of program types that have none.
const NONE: &[A] = &[A(0)];
/// Of program types that the kernel does not ask for it.
const ANY: &[A] = &[];

const SOCK_ADDR_HOOKS: &[A] = &[
    A::CGROUP_INET4_BIND,
    A::CGROUP_INET6_BIND,
    A::CGROUP_INET4_CONNECT,
    A::CGROUP_INET6_CONNECT,
    A::CGROUP_UNIX_CONNECT,
    A::CGROUP_INET4_GETPEERNAME,
    A::CGROUP_INET6_GETPEERNAME,
    A::CGROUP_UNIX_GETPEERNAME,
    A::CGROUP_INET4_GETSOCKNAME,
    A::CGROUP_INET6_GETSOCKNAME,
    A::CGROUP_UNIX_GETSOCKNAME,
    A::CGROUP_UDP4_SENDMSG,
    A::CGROUP_UDP6_SENDMSG,
    A::CGROUP_UNIX_SENDMSG,
    A::CGROUP_UDP4_RECVMSG,
    A::CGROUP_UDP6_RECVMSG,
    A::CGROUP_UNIX_RECVMSG,
];

/// A program type whose context is fields.
const fn fields(prog_type: ProgType, attach_types: &'static [A]) -> ProgTypeInfo {
    info(prog_type, CtxKind::Fields, 0, attach_types)
}

static INFO: &[ProgTypeInfo] = &[
    ProgTypeInfo {
        sleepable_since: Some(Release::new(6, 0)),
        ..info(
            ProgType::KPROBE,
            CtxKind::PtRegs,
            PT_REGS_SIZE,
            &[
                A(0),
                A::TRACE_KPROBE_MULTI,
                A::TRACE_UPROBE_MULTI,
                A::TRACE_KPROBE_SESSION,
                A::TRACE_UPROBE_SESSION,
            ],
        )
    },
    ProgTypeInfo {
        ctx_start: 8,
        ..info(ProgType::TRACEPOINT, CtxKind::Record, PERF_MAX_TRACE_SIZE, NONE)
    },
    // struct bpf_perf_event_data: pt_regs, u64 sample_period, u64 addr.
    info(ProgType::PERF_EVENT, CtxKind::PerfEvent, PT_REGS_SIZE + 16, NONE),
    fields(ProgType::SOCKET_FILTER, ANY),
    fields(ProgType::SCHED_CLS, ANY),
    fields(ProgType::SCHED_ACT, ANY),
    fields(ProgType::XDP, ANY),
    fields(ProgType::CGROUP_SKB, &[A::CGROUP_INET_INGRESS, A::CGROUP_INET_EGRESS]),
    fields(
        ProgType::CGROUP_SOCK,
        &[
            A::CGROUP_INET_SOCK_CREATE,
            A::CGROUP_INET_SOCK_RELEASE,
            A::CGROUP_INET4_POST_BIND,
            A::CGROUP_INET6_POST_BIND,
        ],
    ),
    fields(ProgType::CGROUP_SOCK_ADDR, SOCK_ADDR_HOOKS),
    fields(ProgType::LWT_IN, ANY),
    fields(ProgType::LWT_OUT, ANY),
    fields(ProgType::LWT_XMIT, ANY),
    fields(ProgType::LWT_SEG6LOCAL, ANY),
    fields(ProgType::SOCK_OPS, ANY),
    fields(ProgType::SK_SKB, ANY),
    fields(ProgType::SK_MSG, ANY),
    fields(ProgType::SK_REUSEPORT, &[A::SK_REUSEPORT_SELECT, A::SK_REUSEPORT_SELECT_OR_MIGRATE]),
    fields(ProgType::SK_LOOKUP, &[A::SK_LOOKUP]),
    fields(ProgType::FLOW_DISSECTOR, ANY),
    fields(ProgType::CGROUP_DEVICE, ANY),
    fields(ProgType::CGROUP_SYSCTL, ANY),
    fields(ProgType::CGROUP_SOCKOPT, &[A::CGROUP_SETSOCKOPT, A::CGROUP_GETSOCKOPT]),
    fields(ProgType::LIRC_MODE2, ANY),
    info(ProgType::NETFILTER, CtxKind::Netfilter, 16, &[A::NETFILTER]),
    info(ProgType::RAW_TRACEPOINT, CtxKind::RawArgs, RAW_ARGS_SIZE, NONE),
    info(ProgType::RAW_TRACEPOINT_WRITABLE, CtxKind::RawArgsWritable, RAW_ARGS_SIZE, NONE),
    ProgTypeInfo {
        sleepable_since: Some(Release::V5_10),
        ..info(
            ProgType::TRACING,
            CtxKind::BtfArgs,
            RAW_ARGS_SIZE,
            &[
                A::TRACE_RAW_TP,
                A::TRACE_FENTRY,
                A::TRACE_FEXIT,
                A::MODIFY_RETURN,
                A::TRACE_ITER,
                A::TRACE_FSESSION,
            ],
        )
    },
    ProgTypeInfo {
        sleepable_since: Some(Release::new(5, 11)),
        ..info(ProgType::LSM, CtxKind::BtfArgs, RAW_ARGS_SIZE, &[A::LSM_MAC, A::LSM_CGROUP])
    },
    ProgTypeInfo {
        sleepable_since: Some(Release::new(6, 2)),
        ..info(ProgType::STRUCT_OPS, CtxKind::BtfArgs, RAW_ARGS_SIZE, ANY)
    },
    ProgTypeInfo {
        sleepable_since: Some(Release::new(5, 14)),
        ..info(ProgType::SYSCALL, CtxKind::Syscall, u16::MAX as u32, NONE)
    },
];

/// Hooks whose programs cannot refuse (`check_return_code`).
const ONLY_ONE: &[A] = &[
    A::CGROUP_UDP4_RECVMSG,
    A::CGROUP_UDP6_RECVMSG,
    A::CGROUP_UNIX_RECVMSG,
    A::CGROUP_INET4_GETPEERNAME,
    A::CGROUP_INET6_GETPEERNAME,
    A::CGROUP_UNIX_GETPEERNAME,
    A::CGROUP_INET4_GETSOCKNAME,
    A::CGROUP_INET6_GETSOCKNAME,
    A::CGROUP_UNIX_GETSOCKNAME,
];

/// Facts about a program type, `None` for those that are not known.
pub(crate) fn of(prog_type: ProgType) -> Option<&'static ProgTypeInfo> {
    INFO.iter().find(|i| i.prog_type == prog_type)
}

impl ProgTypeInfo {
    /// Whether a program may store into the context itself (not into what it points to).
    pub fn ctx_writable(&self, features: Features) -> bool {
        match self.ctx {
            CtxKind::Syscall => true,
            CtxKind::PtRegs => features.contains(Features::KPROBE_WRITE_CTX),
            _ => false,
        }
    }

    /// Values that R0 may have at exit, inclusive; `None` when any value will do
    /// (`check_return_code`, kernel/bpf/verifier.c).
    pub fn return_range(&self, attach_type: A) -> Option<(i32, i32)> {
        match (self.prog_type, attach_type) {
            (ProgType::KPROBE, A::TRACE_KPROBE_SESSION | A::TRACE_UPROBE_SESSION) => Some((0, 1)),
            (ProgType::TRACING, A::TRACE_FENTRY | A::TRACE_FEXIT | A::TRACE_FSESSION) => {
                Some((0, 0))
            }
            (ProgType::TRACING, A::TRACE_ITER) => Some((0, 1)),
            (ProgType::CGROUP_SOCK_ADDR, A::CGROUP_INET4_BIND | A::CGROUP_INET6_BIND)
            | (ProgType::CGROUP_SKB, A::CGROUP_INET_EGRESS) => Some((0, 3)),
            (ProgType::CGROUP_SOCK_ADDR, hook) if ONLY_ONE.contains(&hook) => Some((1, 1)),
            (
                ProgType::CGROUP_SKB
                | ProgType::CGROUP_SOCK
                | ProgType::CGROUP_SOCK_ADDR
                | ProgType::SOCK_OPS
                | ProgType::CGROUP_DEVICE
                | ProgType::CGROUP_SYSCTL
                | ProgType::CGROUP_SOCKOPT
                | ProgType::SK_LOOKUP
                | ProgType::NETFILTER,
                _,
            ) => Some((0, 1)),
            _ => None,
        }
    }

    /// Whether this attach type is one of the program type's.
    pub fn takes_attach_type(&self, attach_type: A) -> bool {
        self.attach_types.is_empty() || self.attach_types.contains(&attach_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_as_large_as_kernels_say() {
        let size = |t| of(t).map(|i| (i.ctx_start, i.ctx_size));
        assert_eq!(size(ProgType::KPROBE), Some((0, 168)));
        assert_eq!(size(ProgType::TRACEPOINT), Some((8, 8192)));
        assert_eq!(size(ProgType::PERF_EVENT), Some((0, 184)));
        assert_eq!(size(ProgType::RAW_TRACEPOINT), Some((0, 96)));
        assert_eq!(size(ProgType::EXT), None);
    }

    #[test]
    fn writes_and_return_values_follow_the_attach_type() {
        let kprobe = of(ProgType::KPROBE).unwrap();
        assert!(!kprobe.ctx_writable(Features::of(Release::V6_12)));
        assert!(kprobe.ctx_writable(Features::of(Release::V7_3)));
        assert_eq!(kprobe.return_range(A(0)), None);
        assert_eq!(kprobe.return_range(A::TRACE_UPROBE_SESSION), Some((0, 1)));
        assert!(of(ProgType::SYSCALL).unwrap().ctx_writable(Features::empty()));
    }
}
