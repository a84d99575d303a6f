//! perf_event_open (include/uapi/linux/perf_event.h): what probes and BPF output use of it.

/// `attr.type`: software events (`PERF_TYPE_SOFTWARE`).
pub const TYPE_SOFTWARE: u32 = 1;
/// `attr.type`: tracepoints, `config` is the id (`PERF_TYPE_TRACEPOINT`).
pub const TYPE_TRACEPOINT: u32 = 2;
/// `attr.config` of events written by `perf_event_output` (`PERF_COUNT_SW_BPF_OUTPUT`).
pub const COUNT_SW_BPF_OUTPUT: u64 = 10;
/// `attr.config` of the CPU clock (`PERF_COUNT_SW_CPU_CLOCK`).
pub const COUNT_SW_CPU_CLOCK: u64 = 0;
/// `attr.sample_type`: raw bytes (`PERF_SAMPLE_RAW`).
pub const SAMPLE_RAW: u64 = 1 << 10;
/// Close on exec (`PERF_FLAG_FD_CLOEXEC`).
pub const FLAG_FD_CLOEXEC: u64 = 1 << 3;
/// ioctl: enable (`PERF_EVENT_IOC_ENABLE`).
pub const IOC_ENABLE: u32 = 0x2400;
/// ioctl: disable (`PERF_EVENT_IOC_DISABLE`).
pub const IOC_DISABLE: u32 = 0x2401;
/// ioctl: attach a program (`PERF_EVENT_IOC_SET_BPF`, `_IOW('$', 8, __u32)`).
pub const IOC_SET_BPF: u32 = 0x4004_2408;
