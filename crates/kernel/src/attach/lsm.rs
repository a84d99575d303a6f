//! LSM hooks.

use stylet_uapi::{AttachType, ProgType};

use super::tracing::{TracingOpts, attach, refused, what};
use crate::{Error, Kernel, Link, Prog};

/// Attaches an LSM program to the hook it was loaded for.
///
/// A hook's program runs only where BPF is among the kernel's active security modules (`lsm=` at boot): without it, the
/// kernel attaches the program and never calls it, so that is refused here.
///
/// # Errors
/// [`Error::Attach`] when BPF is no active security module, and for what the kernel refuses; [`Error::Missing`] for a
/// cookie before 5.19.
pub fn lsm(kernel: &Kernel, prog: &Prog, opts: &TracingOpts<'_>) -> Result<Link, Error> {
    let to = what(prog);
    if prog.prog_type() != ProgType::LSM || prog.attach_type() == AttachType::LSM_CGROUP {
        return Err(refused(prog, &to, None, "it is no program for LSM hooks"));
    }
    if active_lsms().is_some_and(|list| !list.split(',').any(|name| name.trim() == "bpf")) {
        let why = "BPF is not among the active security modules: boot with lsm=…,bpf (CONFIG_LSM)";
        return Err(refused(prog, &to, None, why));
    }
    attach(kernel, prog, opts, &to)
}

/// The active security modules; `None` where securityfs does not tell.
fn active_lsms() -> Option<String> {
    std::fs::read_to_string("/sys/kernel/security/lsm").ok()
}
