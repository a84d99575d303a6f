//! What comes back from the kernel: ring buffers, perf buffers, trace_pipe, test runs, statistics; and the ring buffer that
//! user space writes.

mod perf_buf;
mod perf_record;
mod poll;
mod ring_buf;
mod run;
mod stats;
mod trace_pipe;
mod user_ring_buf;

pub use perf_buf::{PerfBuf, PerfBufOptions, PerfEvent};
pub use ring_buf::RingBuf;
pub use run::{TestRun, TestRunOutput, test_run};
pub use stats::{ProgStats, StatsGuard, enable_stats, prog_stats};
pub use trace_pipe::TracePipe;
pub use user_ring_buf::{Reservation, UserRingBuf};
