//! Programs of the kernel.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stylet_uapi::ProgType;

use super::{Kind, btf_by_id, each, fdinfo, full_name, name_of};
use crate::Error;
use crate::kernel::Kernel;
use crate::sys::{self, DumpWish, Errno, ProgDump};

/// What the kernel says about a program; the fields are named as in bpftool's JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgEntry {
    /// Id.
    pub id: u32,
    /// Type.
    pub prog_type: ProgType,
    /// Name, whole where its BTF has it.
    pub name: String,
    /// First bytes of the SHA-1 of its instructions, as hexadecimal digits.
    pub tag: String,
    /// Its licence goes with the GPL.
    pub gpl_compatible: bool,
    /// Nanoseconds spent in it, while statistics were on (`kernel.bpf_stats_enabled`).
    pub run_time_ns: u64,
    /// Runs, while statistics were on.
    pub run_cnt: u64,
    /// Runs refused because it was under way on that CPU.
    pub recursion_misses: u64,
    /// Device whose program it is, 0 for none.
    pub ifindex: u32,
    /// When it was loaded: seconds since 1970.
    pub loaded_at: u64,
    /// Who loaded it.
    pub uid: u32,
    /// Bytes of instructions after the verifier.
    pub bytes_xlated: u32,
    /// Bytes of machine code, 0 when it is interpreted.
    pub bytes_jited: u32,
    /// Bytes of memory.
    pub bytes_memlock: Option<u64>,
    /// Maps that it uses.
    pub map_ids: Vec<u32>,
    /// Its BTF object, 0 for none.
    pub btf_id: u32,
    /// Instructions that the verifier looked at, 0 before 5.16.
    pub verified_insns: u32,
}

/// Every program, by id.
///
/// # Errors
/// [`Error::Denied`] without the rights.
pub fn progs(kernel: &Kernel) -> Result<Vec<ProgEntry>, Error> {
    let boot = boot_time();
    each(kernel, Kind::Prog, |fd| read(kernel, fd.as_fd(), boot))
}

/// What the kernel says about the program behind a descriptor.
///
/// # Errors
/// What the kernel answers.
pub fn prog(kernel: &Kernel, fd: BorrowedFd<'_>) -> Result<ProgEntry, Errno> {
    read(kernel, fd, boot_time())
}

/// Instructions, machine code and source lines of the program behind a descriptor.
///
/// # Errors
/// What the kernel answers.
pub fn dump(fd: BorrowedFd<'_>, wish: DumpWish) -> Result<ProgDump, Errno> {
    sys::prog_dump(fd, wish)
}

fn read(kernel: &Kernel, fd: BorrowedFd<'_>, boot: Duration) -> Result<ProgEntry, Errno> {
    let dump = sys::prog_dump(fd, DumpWish { lines: true, ..DumpWish::default() })?;
    let info = &dump.info;
    let short = name_of(&info.name);
    // Only a name that may have been cut is worth reading types for.
    let btf = if short.len() == 15 { btf_by_id(kernel, info.btf_id).ok().flatten() } else { None };
    Ok(ProgEntry {
        id: info.id,
        prog_type: ProgType(info.prog_type),
        name: full_name(&short, &dump.funcs, btf.as_ref()),
        tag: info.tag.iter().map(|b| format!("{b:02x}")).collect(),
        gpl_compatible: info.gpl_compatible & 1 != 0,
        run_time_ns: info.run_time_ns,
        run_cnt: info.run_cnt,
        recursion_misses: info.recursion_misses,
        ifindex: info.ifindex,
        loaded_at: (boot + Duration::from_nanos(info.load_time)).as_secs(),
        uid: info.created_by_uid,
        bytes_xlated: info.xlated_prog_len,
        bytes_jited: info.jited_prog_len,
        bytes_memlock: fdinfo(fd, "memlock"),
        map_ids: dump.map_ids,
        btf_id: info.btf_id,
        verified_insns: info.verified_insns,
    })
}

/// When the machine was started, since 1970, to a hundredth of a second (/proc/uptime).
fn boot_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = text.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or(0.0);
    now.saturating_sub(Duration::try_from_secs_f64(uptime).unwrap_or_default())
}
