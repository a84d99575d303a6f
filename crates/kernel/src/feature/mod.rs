//! What a kernel may have, since when, and how to find out.

mod probe;
mod types;

pub(crate) use probe::Probed;

use stylet_catalog::{Env, HelperRefusal, Release};
use stylet_uapi::{AttachType, HelperId, MapType, ProgType};

const EVENTS: Option<&str> = Some("CONFIG_BPF_EVENTS");
const FPROBE: Option<&str> = Some("CONFIG_FPROBE");
const KPROBES: Option<&str> = Some("CONFIG_KPROBE_EVENTS");
const UPROBES: Option<&str> = Some("CONFIG_UPROBE_EVENTS");
const DEBUG_INFO: Option<&str> = Some("CONFIG_DEBUG_INFO_BTF");

macro_rules! features {
    ($( $(#[$meta:meta])* $name:ident, $text:literal, $since:literal, $config:expr; )*) => {
        /// Something that not every kernel has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Feature {
            /// Programs of a type.
            ProgType(ProgType),
            /// Maps of a type.
            MapType(MapType),
            /// A helper, for programs of a type.
            Helper(HelperId, ProgType),
            /// A kernel function that programs may call.
            Kfunc(&'static str),
            /// `BPF_PROG_TEST_RUN` of a type.
            TestRun(ProgType),
            $( #[doc = $text] $(#[$meta])* $name, )*
        }

        impl Feature {
            /// Every feature that is no program type, map type, helper or kfunc.
            pub const ALL: &'static [Feature] = &[$( Feature::$name, )*];

            /// Text, first release and config option.
            fn facts(self) -> Option<(&'static str, Option<Release>, Option<&'static str>)> {
                match self {
                    $( Feature::$name => Some(($text, release($since), $config)), )*
                    _ => None,
                }
            }
        }
    };
}

// Releases: those that brought the commit in which libbpf's probe of the same name, or the kernel file that is named in
// the probe here, first finds it.
features! {
    ObjName, "names of maps and programs", "4.15", None;
    ExpectedAttachType, "expected attach types", "4.17", None;
    Btf, "BTF (BPF_BTF_LOAD)", "4.18", None;
    BtfFunc, "BTF of functions", "5.0", None;
    BtfDatasec, "BTF of data sections", "5.2", None;
    BtfFuncGlobal, "BTF of global functions", "5.6", None;
    BtfFloat, "BTF of floating-point types", "5.13", None;
    BtfDeclTag, "BTF declaration tags", "5.16", None;
    BtfTypeTag, "BTF type tags", "5.17", None;
    BtfEnum64, "BTF of 64-bit enumerations", "6.0", None;
    BtfQmarkDatasec, "BTF of data sections named with '?'", "6.9", None;
    ArgCtxTag, "context arguments of global functions by tag (arg:ctx)", "6.8", None;
    Vmlinux, "types of the kernel (/sys/kernel/btf/vmlinux)", "5.4", DEBUG_INFO;
    ModuleBtf, "types of kernel modules", "5.11", Some("CONFIG_DEBUG_INFO_BTF_MODULES");
    GlobalData, "global variables", "5.2", None;
    MapFreeze, "frozen maps (BPF_MAP_FREEZE)", "5.2", None;
    MmapableArray, "arrays that processes can map (BPF_F_MMAPABLE)", "5.5", None;
    BatchOps, "batch operations on maps", "5.6", None;
    InnerMapSize, "inner arrays of any size (BPF_F_INNER_MAP)", "5.10", None;
    ProbeReadKernel, "probe_read_kernel and probe_read_user", "5.5", None;
    BpfCookie, "cookies (get_attach_cookie)", "5.15", EVENTS;
    ProgBindMap, "maps bound to programs (BPF_PROG_BIND_MAP)", "5.10", None;
    MemcgAccounting, "memory charged to cgroups instead of RLIMIT_MEMLOCK", "5.11", None;
    SleepableUprobe, "sleepable uprobes (uprobe.s)", "6.0", UPROBES;
    SyscallWrapper, "system calls as functions with an architecture's prefix", "4.17", None;
    LinkCreate, "links (BPF_LINK_CREATE)", "5.7", None;
    LinkDetach, "detaching links (BPF_LINK_DETACH)", "5.9", None;
    LinkIter, "iterators (BPF_ITER_CREATE)", "5.8", None;
    LinkInfo, "ids of links", "5.8", None;
    PerfLink, "links and cookies of perf events", "5.15", EVENTS;
    KprobeEvents, "kprobe events in tracefs", "2.6", KPROBES;
    UprobeEvents, "uprobe events in tracefs", "3.5", UPROBES;
    KprobePmu, "kprobes by perf_event_open alone", "4.17", KPROBES;
    UprobePmu, "uprobes by perf_event_open alone", "4.17", UPROBES;
    RefCtr, "reference counters of uprobes", "4.20", UPROBES;
    KprobeMulti, "kprobe.multi", "5.18", FPROBE;
    KprobeSession, "kprobe.session", "6.10", FPROBE;
    UprobeMulti, "uprobe.multi", "6.6", UPROBES;
    UprobeSession, "uprobe.session", "6.13", UPROBES;
    RawTpCookie, "cookies of raw tracepoints", "6.10", EVENTS;
    TracingCookie, "cookies of TRACING and LSM programs", "5.19", None;
    IterTarget, "iterators over one task or cgroup", "6.1", None;
    EnableStats, "run-time statistics by BPF_ENABLE_STATS", "5.8", None;
}

/// A release of the table here; a text that is none would be `None` everywhere, which a test sees.
fn release(text: &str) -> Option<Release> {
    text.parse().ok()
}

impl Feature {
    /// The kfunc of this name; `None` when no release is known to have it.
    pub fn kfunc(name: &str) -> Option<Feature> {
        Env::kfunc_by_name(name).map(|kfunc| Feature::Kfunc(kfunc.name))
    }

    /// What a program of this expected attach type needs of the kernel, besides its program type.
    pub fn of_attach_type(attach_type: AttachType) -> Option<Feature> {
        match attach_type {
            AttachType::TRACE_KPROBE_MULTI => Some(Feature::KprobeMulti),
            AttachType::TRACE_KPROBE_SESSION => Some(Feature::KprobeSession),
            AttachType::TRACE_UPROBE_MULTI => Some(Feature::UprobeMulti),
            AttachType::TRACE_UPROBE_SESSION => Some(Feature::UprobeSession),
            _ => None,
        }
    }

    /// First release that has it; `None` for what is not known here.
    pub fn since(self) -> Option<Release> {
        match self {
            Feature::ProgType(prog_type) => Env::prog_type_since(prog_type),
            Feature::MapType(map_type) => Env::map_type_since(map_type),
            Feature::Helper(id, prog_type) => {
                match Env::kernel(Release::new(0, 0)).helper(id.0, prog_type, AttachType(0), true) {
                    Err(HelperRefusal::SinceRelease { since, .. }) => Some(since),
                    _ => None,
                }
            }
            Feature::Kfunc(name) => Env::kfunc_since(name),
            Feature::TestRun(prog_type) => test_run_since(prog_type),
            _ => self.facts().and_then(|(_, since, _)| since),
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
            ) => EVENTS,
            Feature::Helper(HelperId::OVERRIDE_RETURN, _) => Some("CONFIG_BPF_KPROBE_OVERRIDE"),
            Feature::Kfunc(_) => DEBUG_INFO,
            _ => self.facts().and_then(|(_, _, config)| config),
        }
    }

    /// What it is, for messages: `programs of type KPROBE`.
    pub fn describe(self) -> String {
        match self {
            Feature::ProgType(prog_type) => format!("programs of type {prog_type}"),
            Feature::MapType(map_type) => format!("maps of type {map_type}"),
            Feature::Helper(id, prog_type) => {
                format!(
                    "helper bpf_{} in programs of type {prog_type}",
                    id.to_string().to_lowercase()
                )
            }
            Feature::Kfunc(name) => format!("kfunc {name}"),
            Feature::TestRun(prog_type) => {
                format!("BPF_PROG_TEST_RUN of programs of type {prog_type}")
            }
            _ => self.facts().map_or("", |(text, _, _)| text).to_string(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_release_and_words() {
        for &feature in Feature::ALL {
            assert!(feature.since().is_some(), "{feature:?}");
            assert!(!feature.describe().is_empty(), "{feature:?}");
        }
    }

    #[test]
    fn kfuncs_are_found_by_name() {
        let feature = Feature::kfunc("bpf_copy_from_user_str_dynptr").unwrap();
        assert_eq!(feature.since(), Some(Release::new(6, 16)));
        assert_eq!(Feature::kfunc("no_such_kfunc"), None);
    }

    #[test]
    fn a_helper_is_as_old_as_in_its_program_type() {
        let since = |id| Feature::Helper(id, ProgType::KPROBE).since();
        assert_eq!(since(HelperId::PROBE_WRITE_USER), Some(Release::new(4, 8)));
        // No kprobe ever called it.
        assert_eq!(since(HelperId::XDP_ADJUST_TAIL), None);
    }
}
