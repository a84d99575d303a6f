//! `BPF_PROG_TEST_RUN`: a program run once, or many times, with given input.

use std::os::fd::AsFd;

use stylet_uapi::ProgType;
use stylet_uapi::flags::test_run_flags;

use crate::sys::{self, Errno, TestRunArgs};
use crate::{Error, Feature, Kernel, Prog};

/// Input of a test run; what a type does not take must be empty or 0 (EINVAL).
#[derive(Clone, Debug, Default)]
pub struct TestRun<'a> {
    /// Packet, for types that take one (at least 14 bytes).
    pub data: &'a [u8],
    /// Room for the packet afterwards, in bytes.
    pub data_out: usize,
    /// Context: a syscall program's, 64-bit arguments of a raw tracepoint, `struct __sk_buff`, `struct xdp_md` …
    pub ctx: &'a [u8],
    /// Room for the context afterwards, in bytes; a syscall program's comes back without.
    pub ctx_out: usize,
    /// Number of runs; 0 is 1.
    pub repeat: u32,
    /// CPU to run on (raw tracepoints).
    pub cpu: Option<u32>,
    /// `BPF_F_TEST_*`.
    pub flags: u32,
    /// Frames at a time (XDP, with `BPF_F_TEST_XDP_LIVE_FRAMES`).
    pub batch_size: u32,
}

/// What a test run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRunOutput {
    /// What the program returned, for types that tell.
    pub retval: u32,
    /// Nanoseconds of one run on average, for types that measure.
    pub duration_ns: u32,
    /// The packet afterwards.
    pub data: Vec<u8>,
    /// The context afterwards.
    pub ctx: Vec<u8>,
}

/// Runs a program by `BPF_PROG_TEST_RUN`. Programs on functions (fentry, fexit, fmod_ret) are run through functions that the
/// kernel keeps for this; they must be attached.
///
/// # Errors
/// [`Error::Missing`] for types that the kernel cannot run: KPROBE, TRACEPOINT, PERF_EVENT, RAW_TRACEPOINT_WRITABLE on all
/// releases. [`Error::TooLarge`] when the output did not fit. [`Error::Sys`] with what else the kernel answers.
pub fn test_run(kernel: &Kernel, prog: &Prog, run: &TestRun<'_>) -> Result<TestRunOutput, Error> {
    let mut args = TestRunArgs {
        data_in: run.data,
        data_out: vec![0; run.data_out],
        ctx_in: run.ctx.to_vec(),
        ctx_out: vec![0; run.ctx_out],
        repeat: run.repeat,
        flags: run.flags,
        cpu: 0,
        batch_size: run.batch_size,
    };
    if let Some(cpu) = run.cpu {
        args.cpu = cpu;
        args.flags |= test_run_flags::TEST_RUN_ON_CPU;
    }
    let result = sys::test_run(prog.as_fd(), &mut args);
    let what = || format!("running program '{}'", prog.name());
    let (retval, duration_ns) = result.map_err(|errno| match errno {
        Errno(stylet_uapi::errno::ENOTSUPP) => {
            kernel.missing(Feature::TestRun(prog.prog_type()), Some(errno))
        }
        Errno(libc::ENOSPC) => {
            let len = args.data_out.len().max(args.ctx_out.len());
            let limit = if args.data_out.len() > run.data_out { run.data_out } else { run.ctx_out };
            Error::TooLarge { what: format!("the output of program '{}'", prog.name()), len, limit }
        }
        Errno(libc::EPERM) => kernel.denied(&what(), errno),
        Errno(libc::EINVAL)
            if prog.prog_type() == ProgType::TRACING && !has_test_functions(prog) =>
        {
            kernel.missing(Feature::TestRun(prog.prog_type()), Some(errno))
        }
        _ => Error::sys("BPF_PROG_TEST_RUN", what())(errno),
    })?;
    let ctx = if args.ctx_out.is_empty() { args.ctx_in } else { args.ctx_out };
    Ok(TestRunOutput { retval, duration_ns, data: args.data_out, ctx })
}

/// Whether the kernel has functions to run a tracing program by (`bpf_prog_test_run_tracing`).
fn has_test_functions(prog: &Prog) -> bool {
    use stylet_uapi::AttachType;
    matches!(
        prog.attach_type(),
        AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT | AttachType::MODIFY_RETURN
    )
}
