//! perf_event_open(2) and its ioctls.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use stylet_uapi::perf;

use super::Errno;

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER5`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct PerfEventAttr {
    pub type_: u32,
    /// Filled in by [`perf_event_open`].
    pub size: u32,
    pub config: u64,
    /// `sample_period` or `sample_freq`.
    pub sample_period: u64,
    pub sample_type: u64,
    pub read_format: u64,
    /// The bit field: bit 0 is `disabled`, bit 10 `freq`.
    pub flags: u64,
    /// `wakeup_events` or `wakeup_watermark`.
    pub wakeup_events: u32,
    pub bp_type: u32,
    /// Or `kprobe_func`, `uprobe_path`: an address in this process.
    pub config1: u64,
    /// Or `kprobe_addr`, `probe_offset`.
    pub config2: u64,
    pub branch_sample_type: u64,
    pub sample_regs_user: u64,
    pub sample_stack_user: u32,
    pub clockid: i32,
    pub sample_regs_intr: u64,
    pub aux_watermark: u32,
    pub sample_max_stack: u16,
    pub reserved_2: u16,
}

const _: () = assert!(size_of::<PerfEventAttr>() == 112);

/// Opens an event, closed on exec. `pid` -1 is every process, `cpu` -1 every CPU (not both).
///
/// `config1` may be the address of a NUL-terminated string: the kernel copies it with its own checks, so that a bad
/// one is EFAULT, but it must live until the call is over.
pub fn perf_event_open(attr: &PerfEventAttr, pid: i32, cpu: i32) -> Result<OwnedFd, Errno> {
    let attr = PerfEventAttr { size: size_of::<PerfEventAttr>() as u32, ..*attr };
    let group = -1;
    // SAFETY: `attr` is live and says its size; the kernel only reads through it, and reads strings it points to by checked copies.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            pid,
            cpu,
            group,
            perf::FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes an event run a program (`PERF_EVENT_IOC_SET_BPF`).
pub fn perf_event_set_bpf(event: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> Result<(), Errno> {
    ioctl(event, perf::IOC_SET_BPF, prog.as_raw_fd())
}

/// `PERF_EVENT_IOC_ENABLE`
pub fn perf_event_enable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    ioctl(event, perf::IOC_ENABLE, 0)
}

/// `PERF_EVENT_IOC_DISABLE`
pub fn perf_event_disable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    ioctl(event, perf::IOC_DISABLE, 0)
}

/// An ioctl whose argument is a number.
fn ioctl(fd: BorrowedFd<'_>, request: u32, arg: i32) -> Result<(), Errno> {
    // SAFETY: these requests take numbers, no pointers.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, arg) };
    if ret < 0 { Err(Errno::last()) } else { Ok(()) }
}
