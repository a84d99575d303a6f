//! What a program attaches to, by its BTF id (`find_kernel_btf_id`).

use std::os::fd::{AsFd, BorrowedFd};

use stylet_btf::{Btf, Kind};
use stylet_object::{AttachTarget, ProgSpec, SecFlags};
use stylet_uapi::AttachType;

use crate::Error;
use crate::kernel::Kernel;

/// What a program attaches to.
pub(super) struct Target<'a> {
    /// BTF id in the kernel's types or the module's.
    pub btf_id: u32,
    /// The module.
    pub module: Option<BorrowedFd<'a>>,
}

/// The target of a program whose kind names one by BTF id; `None` for other kinds.
///
/// # Errors
/// [`Error::NoAttachTarget`] when its section names none, [`Error::AttachTarget`] when the kernel has none of that name,
/// [`Error::Missing`] when it has no types.
pub(super) fn attach_target<'k>(
    kernel: &'k Kernel,
    prog: &ProgSpec,
) -> Result<Option<Target<'k>>, Error> {
    if !prog.sec.flags.has(SecFlags::ATTACH_BTF) {
        return Ok(None);
    }
    let target = match &prog.sec.target {
        AttachTarget::Tracing { target, .. } | AttachTarget::Iter { target } => target,
        AttachTarget::Lsm { hook } => hook,
        _ => "",
    };
    let section = || prog.section.clone();
    if prog.section.starts_with("freplace") {
        let what = format!("program '{}' (SEC(\"{}\")): freplace", prog.name, section());
        return Err(Error::Unsupported { what });
    }
    if target.is_empty() {
        return Err(Error::NoAttachTarget { prog: prog.name.clone(), section: section() });
    }
    let (module, name) = match target.split_once(':') {
        Some((module, name)) => (Some(module), name),
        None => (None, target),
    };
    let (prefix, kind) = match prog.sec.expected_attach_type {
        AttachType::TRACE_RAW_TP => ("btf_trace_", Kind::Typedef),
        AttachType::LSM_MAC | AttachType::LSM_CGROUP => ("bpf_lsm_", Kind::Func),
        AttachType::TRACE_ITER => ("bpf_iter_", Kind::Func),
        _ => ("", Kind::Func),
    };
    let full = format!("{prefix}{name}");
    let vmlinux = kernel.require_vmlinux()?;
    if module.is_none_or(|module| module == "vmlinux")
        && let Some(btf_id) = vmlinux.find_by_name_kind(&full, kind)
    {
        return Ok(Some(Target { btf_id, module: None }));
    }
    let wanted = kernel.modules().iter().filter(|own| module.is_none_or(|name| own.name == name));
    for own in wanted {
        let is_own = |id: &u32| *id >= own.btf.start_id() && own.btf.kind(*id) == Some(kind);
        if let Some(btf_id) = own.btf.find_by_name(&full).find(is_own) {
            return Ok(Some(Target { btf_id, module: Some(own.as_fd()) }));
        }
    }
    Err(Error::AttachTarget {
        prog: prog.name.clone(),
        section: section(),
        name: full.clone(),
        near: near(vmlinux, &full, prefix, kind),
    })
}

/// Up to three names that resemble one that is not there, without their prefix.
fn near(btf: &Btf, name: &str, prefix: &str, kind: Kind) -> Vec<String> {
    let wanted = name.trim_start_matches('_');
    let mut found: Vec<(usize, String)> = Vec::new();
    for (_, ty) in btf.types().filter(|(_, ty)| ty.kind() == kind) {
        let known = btf.name(ty.name_off());
        if !known.starts_with(prefix) {
            continue;
        }
        let distance = distance(wanted, known.trim_start_matches('_'), wanted.len() / 3);
        if let Some(distance) = distance {
            found.push((distance, known[prefix.len()..].to_string()));
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// Levenshtein distance, if it is at most `max`.
fn distance(a: &str, b: &str, max: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > max {
        return None;
    }
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
        if row.iter().min().is_some_and(|least| *least > max) {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= max)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("vfs_raed", "vfs_read", 2), Some(2));
        assert_eq!(distance("vfs_read", "vfs_read", 2), Some(0));
        assert_eq!(distance("vfs_read", "vfs_write", 2), None);
        assert_eq!(distance("", "abc", 2), None);
    }
}
