//! A program in the kernel.

mod refused;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use stylet_catalog::Release;
use stylet_insn::Insn;
use stylet_object::{FuncInfo, LineInfo, SecSpec};
use stylet_uapi::flags::prog_flags;
use stylet_uapi::{AttachType, ProgType};

use crate::Error;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::sys::{self, Errno, ProgAttr};

/// Bytes of the first log buffer that a refused program is loaded again with.
const LOG_START: usize = 1 << 16;
/// Bytes of the largest log buffer that a kernel takes (`bpf_verifier_log_attr_valid`), since 5.2 and before.
const LOG_MAX: usize = (u32::MAX >> 2) as usize;
const LOG_MAX_BEFORE_5_2: usize = (u32::MAX >> 8) as usize;
/// How often a load is tried again that the kernel interrupts (`PROG_LOAD_ATTEMPTS` of libbpf).
const ATTEMPTS: u32 = 10;

/// A program to load: instructions as the kernel sees them, with descriptors in them.
#[derive(Clone, Debug, Default)]
pub struct ProgLoad<'a> {
    /// Name.
    pub name: &'a str,
    /// Type.
    pub prog_type: ProgType,
    /// Expected attach type, 0 when there is none.
    pub attach_type: AttachType,
    /// Instructions.
    pub insns: &'a [Insn],
    /// Licence.
    pub license: &'a str,
    /// `BPF_F_*` of BPF_PROG_LOAD.
    pub prog_flags: u32,
    /// The object's BTF, in the kernel.
    pub btf: Option<BorrowedFd<'a>>,
    /// Functions, in that BTF.
    pub func_info: &'a [FuncInfo],
    /// Source lines, in that BTF.
    pub line_info: &'a [LineInfo],
    /// BTF id of what it attaches to, 0 for none.
    pub attach_btf_id: u32,
    /// Program or module that this id is of.
    pub attach_fd: Option<BorrowedFd<'a>>,
    /// BTFs of modules that kfunc calls name by index; index 0 is not used.
    pub fd_array: &'a [BorrowedFd<'a>],
    /// Verifier's log level even if the program is accepted: 0 none, 1 and 2 verbose, 4 statistics.
    pub log_level: u32,
}

/// A program in the kernel, owned by descriptor.
#[derive(Debug)]
pub struct Prog {
    pub(crate) fd: OwnedFd,
    pub(crate) name: String,
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: AttachType,
    pub(crate) sleepable: bool,
    pub(crate) section: String,
    pub(crate) sec: SecSpec,
    pub(crate) log: String,
}

impl Prog {
    /// Loads raw instructions.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the whole log when the verifier refuses; [`Error::Missing`] when the kernel does not
    /// know the type; [`Error::Denied`] without the rights.
    pub fn load(kernel: &Kernel, load: &ProgLoad<'_>) -> Result<Prog, Error> {
        let insns: Vec<[u8; 8]> = load.insns.iter().map(|insn| insn.to_bytes()).collect();
        // A licence ends at its first NUL, as the kernel sees it.
        let license = load.license.split('\0').next().unwrap_or_default();
        let license = CString::new(license).unwrap_or_default();
        let fd_array: Vec<i32> = if load.fd_array.is_empty() {
            Vec::new()
        } else {
            core::iter::once(0).chain(load.fd_array.iter().map(AsRawFd::as_raw_fd)).collect()
        };
        let attr = ProgAttr {
            prog_type: load.prog_type,
            attach_type: load.attach_type,
            name: if kernel.has(Feature::ObjName) { load.name } else { "" },
            insns: &insns,
            license: &license,
            prog_flags: load.prog_flags,
            kern_version: kernel.version_code(),
            btf: load.btf,
            func_info: load.func_info,
            line_info: load.line_info,
            attach_btf_id: load.attach_btf_id,
            attach_fd: load.attach_fd,
            fd_array: &fd_array,
            log_level: load.log_level,
        };
        let (fd, log) = load_with_log(kernel, &attr)
            .map_err(|(errno, log)| refused::error(kernel, load, errno, log))?;
        Ok(Prog {
            fd,
            name: load.name.to_string(),
            prog_type: load.prog_type,
            attach_type: load.attach_type,
            sleepable: load.prog_flags & prog_flags::SLEEPABLE != 0,
            section: String::new(),
            sec: SecSpec::default(),
            log,
        })
    }

    /// Name, whole where it comes from an object (the kernel keeps 15 bytes).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type.
    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    /// Expected attach type it was loaded with, 0 when there is none.
    pub fn attach_type(&self) -> AttachType {
        self.attach_type
    }

    /// Whether it may sleep.
    pub fn sleepable(&self) -> bool {
        self.sleepable
    }

    /// Name of its section in the object, without `?`; empty for raw instructions.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// What the section says about it; the default for raw instructions.
    pub fn sec(&self) -> &SecSpec {
        &self.sec
    }

    /// The verifier's log, where one was asked for.
    pub fn log(&self) -> &str {
        &self.log
    }
}

impl AsFd for Prog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Loads; a refused program is loaded again with a log, in a buffer that is grown until the log fits.
fn load_with_log(
    kernel: &Kernel,
    attr: &ProgAttr<'_>,
) -> Result<(OwnedFd, String), (Errno, String)> {
    let max = if kernel.release() < Release::new(5, 2) { LOG_MAX_BEFORE_5_2 } else { LOG_MAX };
    let mut first = None;
    if attr.log_level == 0 {
        match load_once(attr, &mut []) {
            Ok(fd) => return Ok((fd, String::new())),
            // No log comes of these.
            Err(errno @ Errno(libc::EPERM | libc::ENOSYS)) => return Err((errno, String::new())),
            Err(errno) => first = Some(errno),
        }
    }
    let attr = ProgAttr { log_level: attr.log_level.max(1), ..*attr };
    let mut log = vec![0; LOG_START];
    loop {
        let result = load_once(&attr, &mut log);
        if matches!(result, Err(Errno(libc::ENOSPC))) && log.len() < max {
            log = vec![0; (log.len() * 8).min(max)];
            continue;
        }
        let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(&log[..end]).into_owned();
        return match result {
            Ok(fd) => Ok((fd, text)),
            // The last attempt may have failed for its log alone.
            Err(errno) => Err((first.unwrap_or(errno), text)),
        };
    }
}

fn load_once(attr: &ProgAttr<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut result = sys::prog_load(attr, log);
    for _ in 1..ATTEMPTS {
        match result {
            // A signal stopped the verifier.
            Err(Errno(libc::EAGAIN)) => result = sys::prog_load(attr, log),
            _ => break,
        }
    }
    result
}
