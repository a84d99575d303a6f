//! `BPF_PROG_LOAD`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use stylet_object::{FuncInfo, LineInfo};
use stylet_uapi::{AttachType, Cmd, ProgType};

use super::attr::ProgLoadAttr;
use super::{Errno, bpf_fd, obj_name};

/// What `BPF_PROG_LOAD` is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgAttr<'a> {
    /// Type.
    pub prog_type: ProgType,
    /// Expected attach type, 0 when there is none.
    pub attach_type: AttachType,
    /// Name, whole; the kernel gets 15 bytes of it. Empty: none, as kernels before 4.15 want.
    pub name: &'a str,
    /// Slots as the kernel sees them, 8 bytes each.
    pub insns: &'a [[u8; 8]],
    /// Licence.
    pub license: &'a CStr,
    /// `BPF_F_*`.
    pub prog_flags: u32,
    /// `LINUX_VERSION_CODE`, which kernels before 5.0 compare.
    pub kern_version: u32,
    /// BTF of the object; `func_info` and `line_info` refer to it.
    pub btf: Option<BorrowedFd<'a>>,
    /// Functions.
    pub func_info: &'a [FuncInfo],
    /// Source lines.
    pub line_info: &'a [LineInfo],
    /// BTF id of what the program attaches to, 0 for none.
    pub attach_btf_id: u32,
    /// Program or module BTF that `attach_btf_id` is of.
    pub attach_fd: Option<BorrowedFd<'a>>,
    /// Descriptors that instructions name by index, 0 unused.
    pub fd_array: &'a [i32],
    /// Bits of the verifier's log level: 1 and 2 verbose, 4 statistics.
    pub log_level: u32,
}

/// Loads a program. `log` is written by the kernel when `log_level` is not 0; the text ends at the first NUL.
pub fn prog_load(prog: &ProgAttr<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let count = |len: usize| u32::try_from(len).map_err(|_| Errno(libc::E2BIG));
    let func_info: Vec<[u32; 2]> =
        prog.func_info.iter().map(|func| [func.insn_idx, func.type_id]).collect();
    let line_info: Vec<[u32; 4]> = prog
        .line_info
        .iter()
        .map(|line| {
            [line.insn_idx, line.file_name_off, line.line_off, line.line << 10 | line.col & 0x3ff]
        })
        .collect();
    let mut attr = ProgLoadAttr {
        prog_type: prog.prog_type.0,
        insn_cnt: count(prog.insns.len())?,
        insns: prog.insns.as_ptr() as u64,
        license: prog.license.as_ptr() as u64,
        kern_version: prog.kern_version,
        prog_flags: prog.prog_flags,
        prog_name: obj_name(prog.name),
        expected_attach_type: prog.attach_type.0,
        attach_btf_id: prog.attach_btf_id,
        attach_fd: prog.attach_fd.map_or(0, |fd| fd.as_raw_fd() as u32),
        ..ProgLoadAttr::default()
    };
    if prog.log_level != 0 {
        attr.log_level = prog.log_level;
        attr.log_size = count(log.len())?;
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    if let Some(btf) = prog.btf {
        attr.prog_btf_fd = btf.as_raw_fd() as u32;
        attr.func_info_rec_size = 8;
        attr.func_info = func_info.as_ptr() as u64;
        attr.func_info_cnt = count(func_info.len())?;
        attr.line_info_rec_size = 16;
        attr.line_info = line_info.as_ptr() as u64;
        attr.line_info_cnt = count(line_info.len())?;
    }
    if !prog.fd_array.is_empty() {
        attr.fd_array = prog.fd_array.as_ptr() as u64;
    }
    // SAFETY: all buffers are live for the call and as long as their counts say; the kernel reads `fd_array` at the
    // indices that the instructions name, and a bad one faults inside the kernel's checked copy.
    unsafe { bpf_fd(Cmd::PROG_LOAD, &mut attr) }
}
