//! Record types of perf ring buffers (`enum perf_event_type`, include/uapi/linux/perf_event.h).

crate::newtype_consts! {
    /// Type of a record in a perf ring buffer.
    pub struct PerfRecord, prefix "PERF_RECORD_" {
        /// `PERF_RECORD_MMAP`
        MMAP = 1,
        /// `PERF_RECORD_LOST`
        LOST = 2,
        /// `PERF_RECORD_COMM`
        COMM = 3,
        /// `PERF_RECORD_EXIT`
        EXIT = 4,
        /// `PERF_RECORD_THROTTLE`
        THROTTLE = 5,
        /// `PERF_RECORD_UNTHROTTLE`
        UNTHROTTLE = 6,
        /// `PERF_RECORD_FORK`
        FORK = 7,
        /// `PERF_RECORD_READ`
        READ = 8,
        /// `PERF_RECORD_SAMPLE`
        SAMPLE = 9,
        /// `PERF_RECORD_MMAP2`
        MMAP2 = 10,
        /// `PERF_RECORD_AUX`
        AUX = 11,
        /// `PERF_RECORD_ITRACE_START`
        ITRACE_START = 12,
        /// `PERF_RECORD_LOST_SAMPLES`
        LOST_SAMPLES = 13,
        /// `PERF_RECORD_SWITCH`
        SWITCH = 14,
        /// `PERF_RECORD_SWITCH_CPU_WIDE`
        SWITCH_CPU_WIDE = 15,
        /// `PERF_RECORD_NAMESPACES`
        NAMESPACES = 16,
        /// `PERF_RECORD_KSYMBOL`
        KSYMBOL = 17,
        /// `PERF_RECORD_BPF_EVENT`
        BPF_EVENT = 18,
        /// `PERF_RECORD_CGROUP`
        CGROUP = 19,
        /// `PERF_RECORD_TEXT_POKE`
        TEXT_POKE = 20,
        /// `PERF_RECORD_AUX_OUTPUT_HW_ID`
        AUX_OUTPUT_HW_ID = 21,
        /// `PERF_RECORD_CALLCHAIN_DEFERRED`
        CALLCHAIN_DEFERRED = 22,
    }
}
