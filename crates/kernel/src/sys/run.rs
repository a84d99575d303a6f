//! `BPF_PROG_TEST_RUN` and `BPF_ENABLE_STATS`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::Cmd;

use super::attr::{EnableStatsAttr, TestRunAttr};
use super::{Errno, bpf, bpf_fd};

/// What `BPF_PROG_TEST_RUN` is given and gives back; empty buffers are none.
#[derive(Debug, Default)]
pub struct TestRunArgs<'a> {
    /// Input packet.
    pub data_in: &'a [u8],
    /// Output packet: its length is the room, afterwards what was written.
    pub data_out: Vec<u8>,
    /// Context; a syscall program's is written back.
    pub ctx_in: Vec<u8>,
    /// Output context: its length is the room, afterwards what was written.
    pub ctx_out: Vec<u8>,
    /// Runs, 0 as 1.
    pub repeat: u32,
    /// `BPF_F_TEST_*`.
    pub flags: u32,
    /// CPU, with `BPF_F_TEST_RUN_ON_CPU`.
    pub cpu: u32,
    /// XDP: frames at a time.
    pub batch_size: u32,
}

/// Runs a program; returns its return value and the nanoseconds that one run took on average.
pub fn test_run(prog: BorrowedFd<'_>, args: &mut TestRunArgs<'_>) -> Result<(u32, u32), Errno> {
    let len = |len: usize| u32::try_from(len).map_err(|_| Errno(libc::E2BIG));
    let address =
        |buffer: &mut Vec<u8>| if buffer.is_empty() { 0 } else { buffer.as_mut_ptr() as u64 };
    let mut attr = TestRunAttr {
        prog_fd: prog.as_raw_fd() as u32,
        data_size_in: len(args.data_in.len())?,
        data_size_out: len(args.data_out.len())?,
        data_in: if args.data_in.is_empty() { 0 } else { args.data_in.as_ptr() as u64 },
        data_out: address(&mut args.data_out),
        repeat: args.repeat,
        ctx_size_in: len(args.ctx_in.len())?,
        ctx_size_out: len(args.ctx_out.len())?,
        ctx_in: address(&mut args.ctx_in),
        ctx_out: address(&mut args.ctx_out),
        flags: args.flags,
        cpu: args.cpu,
        batch_size: args.batch_size,
        ..TestRunAttr::default()
    };
    // SAFETY: each buffer is live and as long as said, or null; with room for output the kernel writes no more than that
    // (`bpf_test_finish`, `bpf_ctx_finish`), and of input only a syscall program's context, which is ours to change.
    let result = unsafe { bpf(Cmd::PROG_TEST_RUN, &mut attr) };
    // Where there was too little room, the kernel says how much it takes.
    args.data_out.resize(attr.data_size_out as usize, 0);
    args.ctx_out.resize(attr.ctx_size_out as usize, 0);
    result.map(|_| (attr.retval, attr.duration))
}

/// `BPF_ENABLE_STATS` of run times (`BPF_STATS_RUN_TIME`): the kernel counts while the descriptor is open.
pub fn enable_stats() -> Result<OwnedFd, Errno> {
    let mut attr = EnableStatsAttr { stats_type: 0 };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf_fd(Cmd::ENABLE_STATS, &mut attr) }
}
