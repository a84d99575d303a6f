//! What the tests of links, maps and readers share.
#![allow(dead_code)]

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use stylet_kernel::read::{TestRun, TestRunOutput, test_run};
use stylet_kernel::{Feature, Kernel, LoadOptions, Loaded, Prog, load};
use stylet_object::{Options, Spec};
use stylet_uapi::ProgType;

/// The kernel, if it lets us load programs.
pub fn kernel() -> Option<Kernel> {
    let kernel = Kernel::open().unwrap();
    match kernel.require(Feature::ProgType(ProgType::SOCKET_FILTER)) {
        Ok(()) => Some(kernel),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Loads programs of an object in `filetests/kernel`, with constants set.
pub fn load_object(
    kernel: &Kernel,
    name: &str,
    constants: &[(&str, u64)],
    progs: &[&str],
) -> Loaded {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../filetests/kernel/{name}.bpf.o"));
    let bytes = std::fs::read(file).unwrap();
    let mut spec = Spec::parse_with(&bytes, &Options { name, ..Options::default() }).unwrap();
    for (name, value) in constants {
        assert!(spec.set_global(name, &value.to_ne_bytes()), "{name}");
    }
    for prog in &mut spec.progs {
        prog.autoload = progs.contains(&prog.name.as_str());
    }
    load(kernel, &spec, &LoadOptions::default()).unwrap()
}

/// The value of a global variable, zero-extended.
pub fn global(loaded: &Loaded, name: &str) -> u64 {
    let value = loaded.read_global(name).unwrap();
    let mut word = [0; 8];
    word[..value.len()].copy_from_slice(&value);
    u64::from_ne_bytes(word)
}

/// Runs a program of type RAW_TRACEPOINT once.
pub fn run_raw_tp(kernel: &Kernel, prog: &Prog, args: &[u64]) -> TestRunOutput {
    let ctx: Vec<u8> = args.iter().flat_map(|arg| arg.to_ne_bytes()).collect();
    test_run(kernel, prog, &TestRun { ctx: &ctx, ..TestRun::default() }).unwrap()
}

/// Runs a program of type RAW_TRACEPOINT once, on a CPU.
pub fn run_raw_tp_on(kernel: &Kernel, prog: &Prog, args: &[u64], cpu: u32) -> TestRunOutput {
    let ctx: Vec<u8> = args.iter().flat_map(|arg| arg.to_ne_bytes()).collect();
    test_run(kernel, prog, &TestRun { ctx: &ctx, cpu: Some(cpu), ..TestRun::default() }).unwrap()
}

/// A descriptor of a process.
pub fn pidfd(pid: u32) -> OwnedFd {
    // SAFETY: the call takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(fd >= 0);
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Uses the CPU until something holds; gives up after a minute.
pub fn spin_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not happen");
        std::hint::black_box((0..10_000).sum::<u64>());
    }
}

/// Uses the CPU for many periods of any clock sampled here.
pub fn spin_for_a_while() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        std::hint::black_box((0..10_000).sum::<u64>());
    }
}
