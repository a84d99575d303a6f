//! Kernel functions that programs may call by BTF id: flags, and which program types have them
//! (`btf_kfunc_id_set_contains`, `bpf_prog_type_to_kfunc_hook`).

use crate::tables::KFUNC_SETS;
use crate::{Env, Release};
use core::fmt;
use stylet_uapi::{AttachType, ProgType};

bitflags::bitflags! {
    /// What a kfunc's registration says of it (`KF_*`, include/linux/btf.h).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
    pub struct KfuncFlags: u32 {
        /// The result is a reference that must be released.
        const ACQUIRE = 1 << 0;
        /// Releases the reference in an argument.
        const RELEASE = 1 << 1;
        /// The result may be NULL.
        const RET_NULL = 1 << 2;
        /// Pointers must be trusted and not NULL.
        const TRUSTED_ARGS = 1 << 4;
        /// May sleep.
        const SLEEPABLE = 1 << 5;
        /// May bring the machine down.
        const DESTRUCTIVE = 1 << 6;
        /// Pointers may be RCU-protected, but not NULL.
        const RCU = 1 << 7;
        /// Begins an iterator.
        const ITER_NEW = 1 << 8;
        /// Gives an iterator's next element.
        const ITER_NEXT = 1 << 9;
        /// Ends an iterator.
        const ITER_DESTROY = 1 << 10;
        /// Works in an RCU section only.
        const RCU_PROTECTED = 1 << 11;
        /// Keeps the registers that it does not use.
        const FASTCALL = 1 << 12;
        /// The result points into the arena.
        const ARENA_RET = 1 << 13;
        /// The first argument points into the arena.
        const ARENA_ARG1 = 1 << 14;
        /// The second argument points into the arena.
        const ARENA_ARG2 = 1 << 15;
        /// The last arguments are the verifier's to give.
        const IMPLICIT_ARGS = 1 << 16;
    }
}

/// A kfunc as one set registers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kfunc {
    /// Name in the kernel's BTF.
    pub name: &'static str,
    /// First release.
    pub since: Release,
    /// Its flags.
    pub flags: KfuncFlags,
}

/// Kfuncs that are registered together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KfuncSet {
    /// Program types with the release from which on they have the set; empty for all types.
    pub progs: &'static [(ProgType, Release)],
    pub kfuncs: &'static [Kfunc],
}

/// Why a program may not call a kfunc that the target's BTF has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KfuncRefusal {
    /// No set that is known names this function.
    Unknown,
    /// Only other program types have it.
    NotInProgType,
    /// Only other attach types of this program type have it (`btf_kfunc_filter_t`).
    NotForAttachType,
}

impl fmt::Display for KfuncRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KfuncRefusal::Unknown => "the function is no kfunc",
            KfuncRefusal::NotInProgType => "programs of this type do not have the kfunc",
            KfuncRefusal::NotForAttachType => "programs of this attach type do not have the kfunc",
        })
    }
}

impl core::error::Error for KfuncRefusal {}

fn sets() -> impl Iterator<Item = &'static KfuncSet> {
    KFUNC_SETS.iter().copied().flatten()
}

impl KfuncSet {
    fn is_for(&self, release: Release, prog_type: ProgType) -> bool {
        self.progs.is_empty()
            || self.progs.iter().any(|(t, since)| *t == prog_type && *since <= release)
    }
}

/// Kfuncs of sessions are for sessions only (`bpf_kprobe_multi_filter`).
fn passes_filter(name: &str, prog_type: ProgType, attach_type: AttachType) -> bool {
    match name {
        "bpf_session_is_return" | "bpf_session_cookie" => matches!(
            attach_type,
            AttachType::TRACE_KPROBE_SESSION
                | AttachType::TRACE_UPROBE_SESSION
                | AttachType::TRACE_FSESSION
        ),
        // `tracing_iter_filter`: sockets are destroyed by iterators.
        "bpf_sock_destroy" => {
            prog_type == ProgType::TRACING && attach_type == AttachType::TRACE_ITER
        }
        _ => true,
    }
}

impl Env {
    /// What a program may know of the kfunc `name`, which the target's BTF declares: that decides whether it exists, not
    /// the release.
    ///
    /// # Errors
    /// [`KfuncRefusal`] when programs of this kind have no such kfunc.
    pub fn kfunc(
        &self,
        name: &str,
        prog_type: ProgType,
        attach_type: AttachType,
    ) -> Result<&'static Kfunc, KfuncRefusal> {
        let mut refusal = KfuncRefusal::Unknown;
        for set in sets() {
            let Some(kfunc) = set.kfuncs.iter().find(|k| k.name == name) else { continue };
            if set.is_for(self.release(), prog_type) {
                if passes_filter(name, prog_type, attach_type) {
                    return Ok(kfunc);
                }
                return Err(KfuncRefusal::NotForAttachType);
            }
            refusal = KfuncRefusal::NotInProgType;
        }
        Err(refusal)
    }

    /// First release of a kfunc; `None` for a name that no set has.
    pub fn kfunc_since(name: &str) -> Option<Release> {
        Env::kfunc_by_name(name).map(|k| k.since)
    }

    /// A kfunc as its oldest set registers it; `None` for a name that no set has.
    pub fn kfunc_by_name(name: &str) -> Option<&'static Kfunc> {
        let all = sets().flat_map(|s| s.kfuncs);
        all.filter(|k| k.name == name).min_by_key(|k| k.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_kfuncs_are_for_every_type_and_session_kfuncs_for_sessions() {
        let env = Env::kernel(Release::V6_18);
        let ask = |name, prog, attach| env.kfunc(name, prog, attach).map(|k| k.flags);
        let none = AttachType(0);
        assert_eq!(
            ask("bpf_copy_from_user_str_dynptr", ProgType::KPROBE, none),
            Ok(KfuncFlags::SLEEPABLE)
        );
        assert_eq!(
            ask("bpf_dynptr_slice", ProgType::RAW_TRACEPOINT_WRITABLE, none),
            Ok(KfuncFlags::RET_NULL)
        );
        assert_eq!(
            ask("bpf_session_cookie", ProgType::KPROBE, none),
            Err(KfuncRefusal::NotForAttachType)
        );
        assert!(
            ask("bpf_session_cookie", ProgType::KPROBE, AttachType::TRACE_UPROBE_SESSION).is_ok()
        );
        assert_eq!(
            ask("bpf_task_acquire", ProgType::KPROBE, none),
            Err(KfuncRefusal::NotInProgType)
        );
        assert!(ask("bpf_task_acquire", ProgType::TRACING, AttachType::TRACE_FENTRY).is_ok());
        assert_eq!(ask("vfs_read", ProgType::KPROBE, none), Err(KfuncRefusal::Unknown));
    }

    #[test]
    fn a_set_comes_to_a_program_type_with_its_release() {
        let ask = |r| {
            Env::kernel(r).kfunc("bpf_cpumask_create", ProgType::TRACEPOINT, AttachType(0)).is_ok()
        };
        assert!(!ask(Release::V6_6) && ask(Release::V6_12));
    }
}
