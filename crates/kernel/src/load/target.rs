//! The running kernel as what an object is fitted to.

use std::collections::HashMap;

use stylet_btf::{Kind, essential_name};
use stylet_object::{ExternFault, ExternKind, ExternSpec, Module, Spec, Target};

use super::LoadOptions;
use crate::Error;
use crate::feature::Feature;
use crate::kernel::{Kernel, Ksym, addresses};

/// Externs, kconfig values and CO-RE, against the running kernel. What the object does not ask for is not read.
pub(super) fn relocate(
    kernel: &Kernel,
    spec: &Spec,
    options: &LoadOptions<'_>,
) -> Result<Spec, Error> {
    let ksyms = typeless_ksyms(kernel, spec)?;
    let extra: HashMap<&str, &str> =
        options.kconfig.lines().filter_map(|line| line.trim().split_once('=')).collect();
    let kconfig = |name: &str| {
        let own = || kernel.config(name).map(str::to_string);
        extra.get(name).map(|value| value.to_string()).or_else(own)
    };
    let wants_types = has_typed_ksyms(spec) || wants_core_types(spec, options);
    let vmlinux = if wants_types { kernel.vmlinux() } else { None };
    let modules: Vec<Module<'_>> = if vmlinux.is_some() && needs_modules(kernel, spec, options) {
        kernel
            .modules()
            .iter()
            .map(|module| Module { btf: &module.btf, fd: super::raw(module) })
            .collect()
    } else {
        Vec::new()
    };
    let wants = |name: &str| spec.externs.iter().any(|ext| ext.name == name);
    let target = Target {
        btf: vmlinux,
        core_btf: options.core_btf,
        modules: &modules,
        kernel_version: kernel.version_code(),
        has_bpf_cookie: wants("LINUX_HAS_BPF_COOKIE") && kernel.has(Feature::BpfCookie),
        has_syscall_wrapper: wants("LINUX_HAS_SYSCALL_WRAPPER") && kernel.has_syscall_wrapper(),
        kconfig: &kconfig,
        ksym: &|name| match ksyms.get(name) {
            Some(&Ksym::At(address)) => Some(address),
            _ => None,
        },
    };
    spec.relocate(&target).map_err(|error| unfit(kernel, spec, error))
}

/// An object that asks for what only other kernels have fails for this machine's reasons.
fn unfit(kernel: &Kernel, spec: &Spec, error: stylet_object::Error) -> Error {
    use stylet_object::Error as Object;
    match &error {
        Object::NoTargetBtf { .. } | Object::Extern { fault: ExternFault::NoTargetBtf, .. } => {
            kernel.missing(Feature::Vmlinux, None)
        }
        Object::Extern { name, fault: ExternFault::NotInBtf } => {
            let is_func = |ext: &&ExternSpec| {
                ext.name == *name && matches!(ext.kind, ExternKind::KsymFunc { .. })
            };
            let kfunc = spec.externs.iter().find(is_func);
            match kfunc.and_then(|_| Feature::kfunc(essential_name(name))) {
                Some(feature) => kernel.missing(feature, None),
                None => Error::Object(error),
            }
        }
        _ => Error::Object(error),
    }
}

fn has_typed_ksyms(spec: &Spec) -> bool {
    let is_typed = |ext: &ExternSpec| {
        matches!(ext.kind, ExternKind::KsymVar { .. } | ExternKind::KsymFunc { .. })
    };
    spec.externs.iter().any(is_typed)
}

/// Whether CO-RE has anything to ask of the kernel's own types.
fn wants_core_types(spec: &Spec, options: &LoadOptions<'_>) -> bool {
    let asks = |relo: &stylet_object::CoreRelo| relo.kind != stylet_btf::ReloKind::TypeIdLocal;
    options.core_btf.is_none()
        && spec.progs.iter().any(|prog| prog.autoload && prog.core_relos.iter().any(asks))
}

/// Modules are looked at only for what the kernel itself does not have, as reading them takes long.
fn needs_modules(kernel: &Kernel, spec: &Spec, options: &LoadOptions<'_>) -> bool {
    let Some(vmlinux) = kernel.vmlinux() else { return false };
    let missing = |ext: &ExternSpec| match ext.kind {
        ExternKind::KsymVar { .. } => vmlinux.find_by_name_kind(&ext.name, Kind::Var).is_none(),
        ExternKind::KsymFunc { .. } => {
            vmlinux.find_by_name_kind(essential_name(&ext.name), Kind::Func).is_none()
        }
        _ => false,
    };
    if spec.externs.iter().any(missing) {
        return true;
    }
    let Some(local) = &spec.btf else { return false };
    if !wants_core_types(spec, options) {
        return false;
    }
    let mut roots: Vec<u32> = spec
        .progs
        .iter()
        .filter(|prog| prog.autoload)
        .flat_map(|prog| prog.core_relos.iter().map(|relo| relo.type_id))
        .collect();
    roots.sort_unstable();
    roots.dedup();
    roots.into_iter().any(|id| {
        let name = essential_name(local.type_name(id));
        let kind = local.kind(id);
        let of_kind = |id: &u32| vmlinux.kind(*id) == kind;
        !name.is_empty() && !vmlinux.find_by_essential_name(name).any(|id| of_kind(&id))
    })
}

/// Addresses of `extern const void sym __ksym`.
fn typeless_ksyms(kernel: &Kernel, spec: &Spec) -> Result<HashMap<String, Ksym>, Error> {
    let is_typeless = |ext: &&ExternSpec| ext.kind == ExternKind::KsymTypeless;
    let names: Vec<&str> =
        spec.externs.iter().filter(is_typeless).map(|ext| ext.name.as_str()).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = addresses(kernel, &names)?;
    match found.iter().find(|(_, ksym)| **ksym == Ksym::Ambiguous) {
        Some((name, _)) => Err(Error::AmbiguousKsym { name: name.clone() }),
        None => Ok(found),
    }
}
