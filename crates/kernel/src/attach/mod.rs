//! Attaching, each method by itself: options in, a [`Link`](crate::Link) out.
//!
//! | function | what it uses |
//! |---|---|
//! | [`kprobe`], [`uprobe`], [`ksyscall`] | a PMU event with a link, a PMU event with an ioctl, or a tracefs event: see [`Method`] |
//! | [`kprobe_multi`], [`uprobe_multi`] | one link for many places; sessions too, by what the program was loaded as |
//! | [`usdt`] | [`uprobe_multi`] or [`uprobe`], with the records that libbpf's `usdt.bpf.h` reads |
//! | [`raw_tracepoint`], [`tracing`], [`lsm`], [`iter`()] | links of their own |
//! | [`tracepoint`], [`perf_event`()] | a perf event with a link or an ioctl: see [`PerfMethod`] |
//! | [`auto`()] | any of these, by the section name |

mod auto;
mod event;
mod file;
mod iter;
mod kprobe;
mod ksyscall;
mod lsm;
mod multi;
mod perf_event;
pub mod pmu;
mod raw_tp;
pub mod tracefs;
mod tracepoint;
mod tracing;
mod uprobe;
mod usdt;

pub use auto::{AutoOpts, auto};
pub use file::Files;
pub use iter::{IterOpts, IterTarget, iter};
pub use kprobe::{KprobeOpts, KprobePlace, kprobe};
pub use ksyscall::{KsyscallOpts, ksyscall};
pub use lsm::lsm;
pub use multi::{Functions, KprobeMultiOpts, Places, UprobeMultiOpts, kprobe_multi, uprobe_multi};
pub use perf_event::{PerfEventOpts, PerfMethod, Sampling, attach_event, perf_event};
pub use raw_tp::{RawTpMethod, RawTpOpts, raw_tracepoint, tracepoint_args, writable_size};
pub use tracefs::tracefs_root;
pub use tracepoint::{TracepointOpts, tracepoint};
pub use tracing::{TracingMethod, TracingOpts, tracing};
pub use uprobe::{UprobeOpts, UprobePlace, uprobe};
pub(crate) use usdt::Registry;
pub use usdt::{UsdtOpts, usdt};

/// How a single probe is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// The first of the others that the kernel has, in the order that libbpf tries: link, ioctl, tracefs.
    #[default]
    Auto,
    /// An event made in tracefs, perf_event_open of its id, `PERF_EVENT_IOC_SET_BPF`: any kernel. With a cookie, which an
    /// ioctl cannot carry, a link on that event (since 5.15).
    Tracefs,
    /// perf_event_open of the PMU (since 4.17), `PERF_EVENT_IOC_SET_BPF`. No cookies.
    PerfIoctl,
    /// perf_event_open of the PMU, `BPF_LINK_CREATE` of `BPF_PERF_EVENT` (since 5.15).
    PerfLink,
}

/// Every process, as `pid`.
pub const ALL_PROCESSES: i32 = -1;
/// This process, as `pid`.
pub const THIS_PROCESS: i32 = 0;
