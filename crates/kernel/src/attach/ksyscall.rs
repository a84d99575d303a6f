//! System calls by name, whatever the kernel calls its functions for them.

use stylet_object::AttachTarget;

use super::{KprobeOpts, Method, kprobe};
use crate::symbols::syscall_names;
use crate::{Error, Kernel, Link, Prog};

/// What kernels with CONFIG_ARCH_HAS_SYSCALL_WRAPPER put before `sys_` (`arch_specific_syscall_pfx` of libbpf).
const WRAPPER: Option<&str> = if cfg!(target_arch = "x86_64") {
    Some("__x64_sys_")
} else if cfg!(target_arch = "aarch64") {
    Some("__arm64_sys_")
} else if cfg!(target_arch = "s390x") {
    Some("__s390x_sys_")
} else if cfg!(target_arch = "riscv64") {
    Some("__riscv_sys_")
} else {
    None
};
/// What the others have.
const PLAIN: &str = "__se_sys_";

/// Which system call and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KsyscallOpts {
    /// Name without prefix: `openat`.
    pub name: String,
    /// At its return.
    pub ret: bool,
    /// Value for `bpf_get_attach_cookie`, 0 for none.
    pub cookie: u64,
    /// How.
    pub method: Method,
}

impl KsyscallOpts {
    /// At a system call's entry.
    pub fn new(name: impl Into<String>) -> KsyscallOpts {
        KsyscallOpts { name: name.into(), ret: false, cookie: 0, method: Method::Auto }
    }

    /// What a section name says: `ksyscall/…`, `kretsyscall/…`. `None` for others.
    pub fn from_target(target: &AttachTarget) -> Option<KsyscallOpts> {
        let AttachTarget::Ksyscall { name, ret } = target else { return None };
        Some(KsyscallOpts { ret: *ret, ..KsyscallOpts::new(name) })
    }
}

/// Attaches a program to a system call (`bpf_program__attach_ksyscall` of libbpf).
///
/// # Errors
/// [`Error::NoSyscall`], else those of [`kprobe`].
pub fn ksyscall(kernel: &Kernel, prog: &Prog, opts: &KsyscallOpts) -> Result<Link, Error> {
    let mut missing = None;
    for prefix in WRAPPER.into_iter().chain([PLAIN]) {
        let probe = KprobeOpts {
            ret: opts.ret,
            cookie: opts.cookie,
            method: opts.method,
            ..KprobeOpts::function(format!("{prefix}{}", opts.name))
        };
        match kprobe(kernel, prog, &probe) {
            Err(Error::NoFunction { .. }) => missing = missing.or(Some(prefix)),
            other => return other,
        }
    }
    let near = syscall_names(kernel, missing.unwrap_or(PLAIN), &opts.name);
    Err(Error::NoSyscall { name: opts.name.clone(), near })
}
