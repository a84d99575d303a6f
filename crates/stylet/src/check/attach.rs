//! The kernel function or type that a program of the BTF kinds names.

use stylet_btf::{Btf, Kind, TypeId};
use stylet_catalog::Env;
use stylet_object::{AttachTarget, SecSpec, TracingKind};

/// BTF id of what a program attaches to, 0 for kinds that name none (`libbpf_find_attach_btf_id`).
///
/// # Errors
/// A text, when the place's BTF does not have it.
pub(super) fn btf_id(env: &Env, sec: &SecSpec) -> Result<TypeId, String> {
    let (name, kind) = match &sec.target {
        AttachTarget::Tracing { kind: TracingKind::TpBtf, target } => {
            (format!("btf_trace_{target}"), Kind::Typedef)
        }
        AttachTarget::Tracing {
            kind:
                TracingKind::Fentry | TracingKind::Fexit | TracingKind::FmodRet | TracingKind::Fsession,
            target,
        } => (target.clone(), Kind::Func),
        AttachTarget::Iter { target } => (format!("bpf_iter_{target}"), Kind::Func),
        AttachTarget::Lsm { hook } => (format!("bpf_lsm_{hook}"), Kind::Func),
        _ => return Ok(0),
    };
    match &env.btf {
        Some(btf) => find(btf, &name, kind)
            .ok_or_else(|| format!("{} has no '{name}' to attach to", env.target())),
        None => Ok(0),
    }
}

fn find(btf: &Btf, name: &str, kind: Kind) -> Option<TypeId> {
    btf.find_by_name_kind(name, kind)
}
