//! Live events, and what is counted of them.

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventSource {
    /// A ring buffer or perf event array.
    Map {
        /// Number of the object in its session.
        object: usize,
        /// Index of the map in its `Spec::maps`.
        map: usize,
    },
    /// `bpf_trace_printk`, `bpf_trace_vprintk`.
    Printk,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it comes from.
    pub source: EventSource,
    /// CPU (in the user backend CPU slot) of a perf event, 0 otherwise.
    pub cpu: u32,
    /// What the program sent; for [`EventSource::Printk`] what the session's `printk` reads.
    pub data: Vec<u8>,
}

/// A line of `bpf_trace_printk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printk {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time_ns: u64,
    /// Process, where it is known: the kernel tells the thread only.
    pub pid: Option<u32>,
    /// Thread.
    pub tid: u32,
    /// CPU, in the user backend CPU slot.
    pub cpu: u32,
    /// The program that printed it, where it is known: the kernel does not tell.
    pub prog: Option<String>,
    /// Name of the thread.
    pub comm: String,
    /// The text.
    pub text: String,
}

/// Events lost by one source.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// The source.
    pub source: EventSource,
    /// Records that found no room.
    pub records: u64,
}

/// How often a program ran (`run_cnt`, `recursion_misses` of `struct bpf_prog_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgStats {
    /// Its name.
    pub name: String,
    /// Runs, where they are counted: in the user backend not for a program that needs no CPU slot, in the kernel only after
    /// [`Session::count_runs`](crate::Session::count_runs).
    pub runs: Option<u64>,
    /// Runs refused because a program was under way there already, or (in the user backend) no CPU slot was free.
    pub misses: u64,
}

/// What a program gave that was run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceOutput {
    /// Number of its object.
    pub object: usize,
    /// Its name.
    pub prog: String,
    /// What it returned.
    pub retval: u32,
    /// Its context afterwards.
    pub ctx: Vec<u8>,
    /// The context's type in the object's BTF, where the program's argument names one of that size.
    pub ctx_type: Option<stylet_btf::TypeId>,
}
