//! Link types (`enum bpf_link_type`, include/uapi/linux/bpf.h).

crate::newtype_consts! {
    /// What a link attaches through.
    pub struct LinkType, prefix "BPF_LINK_TYPE_" {
        /// `BPF_LINK_TYPE_UNSPEC`
        UNSPEC = 0,
        /// `BPF_LINK_TYPE_RAW_TRACEPOINT`
        RAW_TRACEPOINT = 1,
        /// `BPF_LINK_TYPE_TRACING`
        TRACING = 2,
        /// `BPF_LINK_TYPE_CGROUP`
        CGROUP = 3,
        /// `BPF_LINK_TYPE_ITER`
        ITER = 4,
        /// `BPF_LINK_TYPE_NETNS`
        NETNS = 5,
        /// `BPF_LINK_TYPE_XDP`
        XDP = 6,
        /// `BPF_LINK_TYPE_PERF_EVENT`
        PERF_EVENT = 7,
        /// `BPF_LINK_TYPE_KPROBE_MULTI`
        KPROBE_MULTI = 8,
        /// `BPF_LINK_TYPE_STRUCT_OPS`
        STRUCT_OPS = 9,
        /// `BPF_LINK_TYPE_NETFILTER`
        NETFILTER = 10,
        /// `BPF_LINK_TYPE_TCX`
        TCX = 11,
        /// `BPF_LINK_TYPE_UPROBE_MULTI`
        UPROBE_MULTI = 12,
        /// `BPF_LINK_TYPE_NETKIT`
        NETKIT = 13,
        /// `BPF_LINK_TYPE_SOCKMAP`
        SOCKMAP = 14,
        /// `BPF_LINK_TYPE_TRACING_MULTI`
        TRACING_MULTI = 15,
    }
}
