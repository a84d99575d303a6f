//! The peer: the same program as a uprobe of this machine's kernel. Needs root.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use stylet_insn::opcode;
use stylet_object::{MapSpec, ProgSpec, Spec};

const BPF_MAP_CREATE: i64 = 0;
const BPF_PROG_LOAD: i64 = 5;
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// A program attached to a file offset of one process; detached when dropped.
pub struct KernelProbe {
    _perf: OwnedFd,
    _prog: OwnedFd,
    _maps: Vec<OwnedFd>,
}

/// Loads `prog` of `spec` and attaches it, at the return when `ret`.
pub fn attach(
    spec: &Spec,
    prog: &ProgSpec,
    pid: i32,
    offset: u64,
    ret: bool,
) -> Result<KernelProbe, String> {
    let maps = spec.maps.iter().map(create_map).collect::<Result<Vec<_>, _>>()?;
    let fd = load(prog, &maps)?;
    let perf = open_uprobe(pid, offset, ret)?;
    // SAFETY: both are valid descriptors; the request takes a descriptor by value.
    let rc = unsafe { libc::ioctl(perf.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, fd.as_raw_fd()) };
    if rc != 0 {
        return Err(format!("PERF_EVENT_IOC_SET_BPF: {}", std::io::Error::last_os_error()));
    }
    Ok(KernelProbe { _perf: perf, _prog: fd, _maps: maps })
}

fn bpf(command: i64, attr: &mut [u64]) -> Result<OwnedFd, String> {
    // SAFETY: `attr` is a valid buffer of the given size whose pointers outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if fd < 0 {
        return Err(format!("bpf({command}): {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn create_map(map: &MapSpec) -> Result<OwnedFd, String> {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let mut attr = [0u64; 9];
    attr[0] = pair(map.map_type.0, map.key_size);
    attr[1] = pair(map.value_size, map.max_entries);
    attr[2] = pair(map.map_flags, 0);
    bpf(BPF_MAP_CREATE, &mut attr)
}

fn load(prog: &ProgSpec, maps: &[OwnedFd]) -> Result<OwnedFd, String> {
    let mut insns = prog.insns.clone();
    for insn in insns.iter_mut().filter(|i| i.is_lddw() && i.src == opcode::PSEUDO_MAP_IDX) {
        insn.src = opcode::PSEUDO_MAP_FD;
        insn.imm = maps.get(insn.imm as usize).ok_or("map index out of range")?.as_raw_fd();
    }
    let code: Vec<u8> = insns.iter().flat_map(|i| i.to_bytes()).collect();
    let license = c"GPL";
    let mut attr = [0u64; 18];
    attr[0] = u64::from(prog.sec.prog_type.0) | (insns.len() as u64) << 32;
    attr[1] = code.as_ptr() as u64;
    attr[2] = license.as_ptr() as u64;
    bpf(BPF_PROG_LOAD, &mut attr)
}

fn open_uprobe(pid: i32, offset: u64, ret: bool) -> Result<OwnedFd, String> {
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")
        .map_err(|e| format!("uprobe PMU: {e}"))?;
    let kind: u64 = kind.trim().parse().map_err(|_| "uprobe PMU type")?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = CString::new(exe.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
    // struct perf_event_attr: type and size, config (retprobe is bit 0), …, config1 (path), config2 (offset).
    let mut attr = [0u64; 16];
    attr[0] = kind | 128 << 32;
    attr[1] = u64::from(ret);
    attr[7] = path.as_ptr() as u64;
    attr[8] = offset;
    const PERF_FLAG_FD_CLOEXEC: u64 = 8;
    // SAFETY: `attr` is a whole perf_event_attr of the size it states, `path` outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), pid, -1, -1, PERF_FLAG_FD_CLOEXEC)
    };
    if fd < 0 {
        return Err(format!("perf_event_open: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
