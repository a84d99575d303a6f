//! The kernel by its bare system calls: what the guests can do does not depend on the library under test.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use stylet_kernel::Release;

use crate::guest::Guest;
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("kprobe_ioctl", kprobe_ioctl),
    // Linux 5.15: bpf_perf_link_attach.
    Test::new("kprobe_link", kprobe_link).since(5, 15),
];

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_PERF_EVENT: u32 = 41;
const PERF_EVENT_IOC_ENABLE: u64 = 0x2400;
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// Hits counted by a program on a PMU kprobe that is attached with the ioctl.
fn kprobe_ioctl(_: &Guest) -> Outcome {
    let (map, program, event) = prepare()?;
    for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)] {
        // SAFETY: both requests take a number.
        check(unsafe { libc::ioctl(event.as_raw_fd(), request, argument) }.into())?;
    }
    hits(&map)
}

/// The same through a link.
fn kprobe_link(guest: &Guest) -> Outcome {
    let (map, program, event) = prepare()?;
    let fields = [program.as_raw_fd().unsigned_abs(), event.as_raw_fd().unsigned_abs(), BPF_PERF_EVENT, 0];
    let linked = bpf(BPF_LINK_CREATE, &fields.map(u32::to_ne_bytes).concat());
    match linked {
        Ok(_) => {}
        Err(e) if guest.release() < Release::new(5, 15) => {
            return Err(Failure::Missing { message: "BPF_LINK_CREATE".into(), errno: e.raw_os_error(), since: None });
        }
        Err(e) => return Err(e.into()),
    }
    hits(&map)
}

/// A map, a program that counts in its first value, an event on `getppid`.
fn prepare() -> Result<(OwnedFd, OwnedFd, OwnedFd), Failure> {
    let map = bpf(BPF_MAP_CREATE, &[BPF_MAP_TYPE_ARRAY, 4, 8, 1].map(u32::to_ne_bytes).concat())?;
    let program = [
        insn(0x62, 10, 0, -4, 0),               // *(u32 *)(r10 - 4) = 0
        insn(0xbf, 2, 10, 0, 0),                // r2 = r10
        insn(0x07, 2, 0, 0, -4),                // r2 += -4
        insn(0x18, 1, 1, 0, map.as_raw_fd()),   // r1 = map
        insn(0, 0, 0, 0, 0),
        insn(0x85, 0, 0, 0, 1),                 // call map_lookup_elem
        insn(0x15, 0, 0, 2, 0),                 // if r0 == 0 goto +2
        insn(0xb7, 1, 0, 0, 1),                 // r1 = 1
        insn(0xdb, 0, 1, 0, 0),                 // lock *(u64 *)(r0 + 0) += r1
        insn(0xb7, 0, 0, 0, 0),                 // r0 = 0
        insn(0x95, 0, 0, 0, 0),                 // exit
    ];
    let mut attr = Vec::new();
    attr.extend(BPF_PROG_TYPE_KPROBE.to_ne_bytes());
    attr.extend(11_u32.to_ne_bytes());
    attr.extend((program.as_ptr() as u64).to_ne_bytes());
    attr.extend((c"GPL".as_ptr() as u64).to_ne_bytes());
    attr.resize(48, 0);
    let program = bpf(BPF_PROG_LOAD, &attr)?;
    Ok((map, program, event(c"__x64_sys_getppid")?))
}

/// A disabled event of the kprobe PMU.
fn event(function: &std::ffi::CStr) -> Result<OwnedFd, Failure> {
    let pmu = std::fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")?;
    let pmu: u32 = pmu.trim().parse()?;
    let mut attr = [0_u8; 112];
    attr[..4].copy_from_slice(&pmu.to_ne_bytes());
    attr[4..8].copy_from_slice(&112_u32.to_ne_bytes());
    attr[56..64].copy_from_slice(&(function.as_ptr() as u64).to_ne_bytes());
    // SAFETY: the structure is as long as it says and outlives the call, as does the name.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, 8) };
    Ok(own(fd)?)
}

/// Calls `getppid` and reads the count.
fn hits(map: &OwnedFd) -> Outcome {
    for _ in 0..5 {
        // SAFETY: takes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    let (key, mut count) = (0_u32, 0_u64);
    let mut attr = Vec::new();
    attr.extend(u64::from(map.as_raw_fd().unsigned_abs()).to_ne_bytes());
    attr.extend((&raw const key as u64).to_ne_bytes());
    attr.extend((&raw mut count as u64).to_ne_bytes());
    // SAFETY: the attributes point to a key and a value of the map's sizes.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, attr.as_ptr(), attr.len()) })?;
    assert_eq!(count, 5);
    Ok(())
}

/// One instruction's bytes.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let (off, imm) = (off.to_le_bytes(), imm.to_le_bytes());
    [code, src << 4 | dst, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// bpf(2) for the commands that return a descriptor.
fn bpf(command: libc::c_long, attr: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are as long as said; what they point to outlives the call.
    own(unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), attr.len()) })
}

/// A descriptor that a system call returned.
fn own(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
