//! RAW_TRACEPOINT_WRITABLE on the writable tracepoint that kernels have: `nbd_send_request`.

use stylet_kernel::attach::{self, RawTpMethod, RawTpOpts};
use stylet_kernel::{Kernel, Loaded, read};

use super::nbd::{BLOCK, Device};
use super::raw_tp::refused;
use crate::guest::Guest;
use crate::objects::{Object, global};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("rewrites_a_request", rewrites_a_request).limit(120),
    Test::new("past_the_buffer", past_the_buffer),
    Test::new("not_writable", not_writable),
    Test::new("by_link", by_link),
    Test::new("sizes", sizes),
];

fn load(guest: &Guest, kernel: &Kernel, prog: &str) -> Result<Loaded, Failure> {
    guest.insmod("nbd", "nbds_max=1")?;
    let object = Object::open(guest, "nbd")?;
    object.set("from_offset", 2 * BLOCK).set("to_offset", 5 * BLOCK).load(kernel, &[prog])
}

/// Block n of the device is full of bytes n. A program makes the reads of block 2 those of block 5.
fn rewrites_a_request(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load(guest, kernel, "rewrite")?;
    let counted = load(guest, kernel, "count")?;
    let device = Device::start()?;
    assert_eq!(device.read(2)?, [2; BLOCK as usize]);
    assert_eq!(device.read(5)?, [5; BLOCK as usize]);
    let prog = &loaded.progs[0];
    let link = attach::raw_tracepoint(kernel, prog, &RawTpOpts::default())?;
    let counter = attach::raw_tracepoint(kernel, &counted.progs[0], &RawTpOpts::default())?;
    assert_eq!(device.read(2)?, [5; BLOCK as usize], "rewritten");
    // What the program read of the request before it wrote.
    assert_eq!(global(&loaded, "last_magic")?, 0x2560_9513);
    assert_eq!(global(&loaded, "last_type")? & 0xffff, 0);
    assert_eq!(global(&loaded, "last_from")?, 2 * BLOCK);
    assert_eq!(global(&loaded, "last_len")?, BLOCK);
    assert_eq!(global(&loaded, "last_index")?, 0);
    assert_eq!(device.read(3)?, [3; BLOCK as usize], "other blocks are left alone");
    assert_eq!((global(&loaded, "reads")?, global(&loaded, "rewritten")?), (2, 1));
    assert_eq!(global(&counted, "seen")?, 2);
    link.detach()?;
    counter.detach()?;
    assert_eq!(device.read(2)?, [2; BLOCK as usize], "detached");
    assert_eq!(global(&loaded, "reads")?, 2);
    // The kernel runs no such program by itself.
    let error = read::test_run(kernel, prog, &read::TestRun::default()).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|error| error.contains("RAW_TRACEPOINT_WRITABLE")), "{error:?}");
    Ok(())
}

/// It loads: only the tracepoint knows how long its buffer is.
fn past_the_buffer(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load(guest, kernel, "past_end")?;
    let result = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default());
    refused(result, libc::EINVAL, "writable buffer of 28 bytes")
}

fn not_writable(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load(guest, kernel, "not_writable")?;
    let result = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default());
    refused(result, libc::EINVAL, "the tracepoint is not writable")
}

fn by_link(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = load(guest, kernel, "rewrite")?;
    let opts = RawTpOpts { method: RawTpMethod::Link, ..RawTpOpts::default() };
    refused(attach::raw_tracepoint(kernel, &loaded.progs[0], &opts), libc::EINVAL, "BPF_RAW_TRACEPOINT_OPEN")
}

fn sizes(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    guest.insmod("nbd", "nbds_max=1")?;
    assert_eq!(attach::writable_size(kernel, "nbd_send_request"), Some(28));
    assert_eq!(attach::writable_size(kernel, "sched_switch"), Some(0));
    assert_eq!(attach::writable_size(kernel, "no_such_tracepoint"), None);
    assert_eq!(attach::tracepoint_args(kernel, "nbd_send_request"), Some(3));
    Ok(())
}
