//! Sizes and bounds that programs can observe.

/// Calls of `tail_call` before it fails (`MAX_TAIL_CALL_CNT`, include/linux/bpf.h).
pub const MAX_TAIL_CALL_CNT: u32 = 33;
/// Iterations of `loop` and of `may_goto` (`BPF_MAX_LOOPS`, include/linux/bpf.h).
pub const MAX_LOOPS: u32 = 8 << 20;
/// Bytes of an object's name with its NUL (`BPF_OBJ_NAME_LEN`).
pub const OBJ_NAME_LEN: usize = 16;
/// Bytes of a task's name with its NUL (`TASK_COMM_LEN`, include/linux/sched.h).
pub const TASK_COMM_LEN: usize = 16;
/// Bytes of a program's tag (`BPF_TAG_SIZE`).
pub const TAG_SIZE: usize = 8;
/// Bytes of a build id in a stack trace (`BPF_BUILD_ID_SIZE`).
pub const BUILD_ID_SIZE: usize = 20;
/// Frames of a stack trace (`PERF_MAX_STACK_DEPTH`, include/uapi/linux/perf_event.h).
pub const PERF_MAX_STACK_DEPTH: u32 = 127;
/// Arguments of a formatting helper's format (`MAX_BPRINTF_VARARGS`, include/linux/bpf.h).
pub const MAX_BPRINTF_VARARGS: u32 = 12;
/// Bytes of formatted text of `trace_printk` (`MAX_BPRINTF_BUF`, include/linux/bpf.h).
pub const MAX_BPRINTF_BUF: usize = 1024;
/// Largest dynptr in bytes (`DYNPTR_MAX_SIZE`, include/linux/bpf.h).
pub const DYNPTR_MAX_SIZE: u32 = (1 << 24) - 1;
/// Samples that one `user_ringbuf_drain` takes (`BPF_MAX_USER_RINGBUF_SAMPLES`, include/linux/bpf.h).
pub const MAX_USER_RINGBUF_SAMPLES: u32 = 128 * 1024;
