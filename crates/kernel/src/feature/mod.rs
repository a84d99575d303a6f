//! What a kernel may have, since when, and how to find out.

mod probe;

pub(crate) use probe::Probed;

use stylet_catalog::{Env, Release};
use stylet_uapi::{MapType, ProgType};

/// Something that not every kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Programs of a type.
    ProgType(ProgType),
    /// Maps of a type.
    MapType(MapType),
    /// Names of maps and programs.
    ObjName,
    /// `BPF_BTF_LOAD`
    Btf,
    /// Names of map BTF: `.data`, `.bss`, `.rodata`: direct access to the value of an array.
    GlobalData,
    /// Tracefs events on kernel functions (`kprobe_events`).
    KprobeEvents,
    /// Tracefs events on places in files (`uprobe_events`).
    UprobeEvents,
    /// Kernel functions by perf_event_open.
    KprobePmu,
    /// Places in files by perf_event_open.
    UprobePmu,
    /// Reference counters of uprobes, as the semaphores of USDT markers.
    RefCtr,
    /// `BPF_LINK_CREATE` of perf events (`BPF_LINK_TYPE_PERF_EVENT`), with cookies.
    PerfLink,
    /// kprobe.multi: many kernel functions by one link.
    KprobeMulti,
    /// kprobe.session: entry and return by one program.
    KprobeSession,
    /// uprobe.multi: many places of a file by one link.
    UprobeMulti,
    /// uprobe.session: entry and return by one program.
    UprobeSession,
    /// Cookies of raw tracepoints, tp_btf among them.
    RawTpCookie,
    /// Cookies of fentry and its neighbours, and of LSM programs.
    TracingCookie,
    /// Iterators over one task's or one cgroup's things.
    IterTarget,
    /// `BPF_ENABLE_STATS`
    EnableStats,
    /// `BPF_PROG_TEST_RUN` of a type.
    TestRun(ProgType),
}

/// Text, first release and config option of a feature.
struct Facts {
    text: &'static str,
    since: (u8, u8),
    config: Option<&'static str>,
}

const fn facts(text: &'static str, since: (u8, u8), config: Option<&'static str>) -> Facts {
    Facts { text, since, config }
}

impl Feature {
    /// First release that has it; `None` for types that we do not know.
    pub fn since(self) -> Option<Release> {
        match self {
            Feature::ProgType(prog_type) => Env::prog_type_since(prog_type),
            Feature::MapType(map_type) => Env::map_type_since(map_type),
            Feature::TestRun(prog_type) => test_run_since(prog_type),
            _ => self.facts().map(|facts| Release::new(facts.since.0, facts.since.1)),
        }
    }

    /// The config option that it depends on, besides CONFIG_BPF_SYSCALL.
    pub fn config(self) -> Option<&'static str> {
        match self {
            Feature::ProgType(ProgType::LSM) => Some("CONFIG_BPF_LSM"),
            Feature::ProgType(
                ProgType::KPROBE
                | ProgType::TRACEPOINT
                | ProgType::PERF_EVENT
                | ProgType::RAW_TRACEPOINT
                | ProgType::RAW_TRACEPOINT_WRITABLE
                | ProgType::TRACING,
            ) => Some("CONFIG_BPF_EVENTS"),
            _ => self.facts().and_then(|facts| facts.config),
        }
    }

    /// What it is, for messages: `programs of type KPROBE`.
    pub fn describe(self) -> String {
        match self {
            Feature::ProgType(prog_type) => format!("programs of type {prog_type}"),
            Feature::MapType(map_type) => format!("maps of type {map_type}"),
            Feature::TestRun(prog_type) => {
                format!("BPF_PROG_TEST_RUN of programs of type {prog_type}")
            }
            _ => self.facts().map_or("", |facts| facts.text).to_string(),
        }
    }

    fn facts(self) -> Option<Facts> {
        Some(match self {
            Feature::ProgType(_) | Feature::MapType(_) | Feature::TestRun(_) => return None,
            Feature::ObjName => facts("names of maps and programs", (4, 15), None),
            Feature::Btf => facts("BTF (BPF_BTF_LOAD)", (4, 18), None),
            Feature::GlobalData => facts("global variables", (5, 2), None),
            Feature::KprobeEvents => {
                facts("kprobe events in tracefs", (2, 6), Some("CONFIG_KPROBE_EVENTS"))
            }
            Feature::UprobeEvents => {
                facts("uprobe events in tracefs", (3, 5), Some("CONFIG_UPROBE_EVENTS"))
            }
            Feature::KprobePmu => {
                facts("perf PMU of kprobes", (4, 17), Some("CONFIG_KPROBE_EVENTS"))
            }
            Feature::UprobePmu => {
                facts("perf PMU of uprobes", (4, 17), Some("CONFIG_UPROBE_EVENTS"))
            }
            Feature::RefCtr => {
                facts("reference counters of uprobes", (4, 20), Some("CONFIG_UPROBE_EVENTS"))
            }
            Feature::PerfLink => {
                facts("links and cookies of perf events", (5, 15), Some("CONFIG_BPF_EVENTS"))
            }
            Feature::KprobeMulti => facts("kprobe.multi", (5, 18), Some("CONFIG_FPROBE")),
            Feature::KprobeSession => facts("kprobe.session", (6, 10), Some("CONFIG_FPROBE")),
            Feature::UprobeMulti => facts("uprobe.multi", (6, 6), Some("CONFIG_UPROBES")),
            Feature::UprobeSession => facts("uprobe.session", (6, 13), Some("CONFIG_UPROBES")),
            Feature::RawTpCookie => facts("cookies of raw tracepoints", (6, 10), None),
            Feature::TracingCookie => facts("cookies of TRACING and LSM programs", (5, 19), None),
            Feature::IterTarget => facts("iterators over one task or cgroup", (6, 1), None),
            Feature::EnableStats => facts("run-time statistics by BPF_ENABLE_STATS", (5, 8), None),
        })
    }
}

/// First release whose kernel runs programs of a type by `BPF_PROG_TEST_RUN` (`test_run` of its `struct bpf_prog_ops`);
/// `None` for those that none does.
fn test_run_since(prog_type: ProgType) -> Option<Release> {
    let (major, minor) = match prog_type {
        ProgType::SOCKET_FILTER
        | ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::XDP
        | ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL => (4, 12),
        ProgType::FLOW_DISSECTOR => (5, 1),
        ProgType::TRACING => (5, 5),
        ProgType::RAW_TRACEPOINT => (5, 10),
        ProgType::SK_LOOKUP | ProgType::SYSCALL => (5, 14),
        ProgType::STRUCT_OPS => (5, 17),
        ProgType::NETFILTER => (6, 4),
        _ => return None,
    };
    Some(Release::new(major, minor))
}
