//! BPF_PROG_LOAD and BPF_MAP_CREATE, as little of them as the tests against the kernel need.
#![allow(dead_code)]

use stylet_insn::Insn;

pub const PROG_TYPE_KPROBE: u32 = 2;
pub const MAP_TYPE_ARRAY: u32 = 2;

const BPF_MAP_CREATE: i64 = 0;
const BPF_PROG_LOAD: i64 = 5;

/// The start of `union bpf_attr` for BPF_PROG_LOAD, up to `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// A descriptor, closed when dropped.
pub struct Fd(pub i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed once.
        unsafe { libc::close(self.0) };
    }
}

/// Why the kernel cannot be asked; it must be at least of release `least`.
pub fn available(least: (u32, u32)) -> Result<(), String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|n| n.trim().parse::<u32>().unwrap_or(0));
    let this = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if this < least {
        let release = release.trim();
        return Err(format!("this kernel is {release}, older than {}.{}", least.0, least.1));
    }
    let exit0 = [Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
    let loaded = load(PROG_TYPE_KPROBE, 0, &exit0, 0).0;
    loaded.map_err(|e| format!("loading a BPF program gives errno {e}"))
}

/// Makes a map; `Err` is the errno.
pub fn map_create(map_type: u32, key_size: u32, value_size: u32, max: u32) -> Result<Fd, i32> {
    let attr = [map_type, key_size, value_size, max, 0, 0];
    // SAFETY: the attribute lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &attr, size_of_val(&attr)) };
    if fd < 0 { Err(last_errno()) } else { Ok(Fd(fd as i32)) }
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Loads a program and closes it again: `Err` is the errno; the log comes with both.
pub fn load(
    prog_type: u32,
    attach_type: u32,
    insns: &[Insn],
    log_level: u32,
) -> (Result<(), i32>, String) {
    let bytes: Vec<u8> = insns.iter().flat_map(|i| i.to_bytes()).collect();
    let mut log = vec![0u8; if log_level == 0 { 0 } else { 4 << 20 }];
    let license = c"GPL";
    let attr = ProgLoad {
        prog_type,
        insn_cnt: insns.len() as u32,
        insns: bytes.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level,
        log_size: log.len() as u32,
        log_buf: if log_level == 0 { 0 } else { log.as_mut_ptr() as u64 },
        expected_attach_type: attach_type,
        ..ProgLoad::default()
    };
    // SAFETY: the attribute and all that it points to live until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &attr, size_of::<ProgLoad>()) };
    let errno = last_errno();
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]).into_owned();
    if fd < 0 {
        return (Err(errno), text);
    }
    drop(Fd(fd as i32));
    (Ok(()), text)
}
