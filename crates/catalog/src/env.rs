//! [`Env`]: everything the verifier may know about where a program is to run.

use crate::ctx::{self, CtxAccess, CtxLoad, SockKind};
use crate::helpers;
use crate::map_func;
use crate::prog_info::{self, ProgTypeInfo};
use crate::tables;
use crate::{Features, FuncProto, HelperRefusal, Limits, Release};
use alloc::vec::Vec;
use core::fmt;
use stylet_btf::Btf;
use stylet_uapi::{AttachType, HelperId, MapType, ProgType};

/// Where a program is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Target {
    /// A mainline kernel.
    Kernel(Release),
    /// An ordinary process.
    User,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Kernel(release) => write!(f, "Linux {release}"),
            Target::User => f.write_str("the user backend"),
        }
    }
}

/// What a target offers. The user backend's verifier follows [`Env::USER_RULES`].
#[derive(Clone, Debug)]
pub struct Env {
    target: Target,
    /// Verifier features; may be narrowed or widened by the caller (vendor kernels backport).
    pub features: Features,
    /// Verifier limits.
    pub limits: Limits,
    /// BTF of the target (its `vmlinux`), when it is known.
    pub btf: Option<Btf>,
    /// Helpers that the user backend implements, ascending; unused for a kernel.
    implemented: Vec<u32>,
    /// Helpers that the target's configuration leaves out, ascending.
    hidden: Vec<u32>,
    /// Map types that the user backend implements; unused for a kernel.
    map_types: Vec<MapType>,
}

impl Env {
    /// The release whose verifier rules the user backend follows.
    pub const USER_RULES: Release = Release::V6_18;

    /// A mainline kernel with every option that its program types need, without BTF.
    pub fn kernel(release: Release) -> Env {
        Env {
            target: Target::Kernel(release),
            features: Features::of(release),
            limits: Limits::KERNEL,
            btf: None,
            implemented: Vec::new(),
            hidden: Vec::new(),
            map_types: Vec::new(),
        }
    }

    /// The user backend: `helpers` are the numbers and `map_types` the types that its runtime has.
    pub fn user(helpers: &[u32], map_types: &[MapType]) -> Env {
        let mut implemented = helpers.to_vec();
        implemented.sort_unstable();
        let kernel = Env::kernel(Env::USER_RULES);
        Env {
            target: Target::User,
            // A probed process gets its registers back as they were.
            features: kernel.features - Features::KPROBE_WRITE_CTX - Features::SPECIAL_FIELDS,
            implemented,
            map_types: map_types.to_vec(),
            ..kernel
        }
    }

    /// The same with the target's BTF.
    pub fn with_btf(self, btf: Btf) -> Env {
        Env { btf: Some(btf), ..self }
    }

    /// The same without a helper: a kernel built without it, or locked down.
    pub fn without_helper(mut self, id: HelperId) -> Env {
        if let Err(at) = self.hidden.binary_search(&id.0) {
            self.hidden.insert(at, id.0);
        }
        self
    }

    /// Where the program is to run.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The release whose rules apply: the kernel's own, or [`Env::USER_RULES`].
    pub fn release(&self) -> Release {
        match self.target {
            Target::Kernel(release) => release,
            Target::User => Env::USER_RULES,
        }
    }

    /// Whether every feature of `features` is there.
    pub fn has(&self, features: Features) -> bool {
        self.features.contains(features)
    }

    /// Prototype of helper `id` for a program (`get_helper_proto`, `*_func_proto`).
    pub fn helper(
        &self,
        id: u32,
        prog_type: ProgType,
        attach_type: AttachType,
        sleepable: bool,
    ) -> Result<&'static FuncProto, HelperRefusal> {
        let proto = helpers::lookup(self.release(), id, prog_type, attach_type, sleepable)?;
        if self.target == Target::User && self.implemented.binary_search(&id).is_err() {
            return Err(HelperRefusal::NotInUserBackend { name: proto.name });
        }
        if self.hidden.binary_search(&id).is_ok() {
            return Err(HelperRefusal::Hidden { name: proto.name });
        }
        Ok(proto)
    }

    /// Numbers and names of the helpers that exist at this release, for whatever program type.
    pub fn helpers(&self) -> impl Iterator<Item = (u32, &'static str)> {
        let release = self.release();
        tables::HELPERS
            .iter()
            .flat_map(|part| part.iter())
            .filter(move |helper| helper.since <= release)
            .map(|helper| (helper.proto.id, helper.proto.name))
    }

    /// Map types that exist at this release.
    pub fn map_types(&self) -> impl Iterator<Item = MapType> {
        let known = tables::MAP_TYPES.iter().map(|(map_type, _)| *map_type);
        known.filter(|map_type| self.has_map_type(*map_type))
    }

    /// Program types that exist at this release.
    pub fn prog_types(&self) -> impl Iterator<Item = ProgType> {
        let known = tables::PROG_TYPES.iter().map(|(prog_type, _)| *prog_type);
        known.filter(|prog_type| self.has_prog_type(*prog_type))
    }

    /// Whether maps of this type can be made.
    pub fn has_map_type(&self, map_type: MapType) -> bool {
        let known = Env::map_type_since(map_type).is_some_and(|since| since <= self.release());
        known && (self.target != Target::User || self.map_types.contains(&map_type))
    }

    /// First release of a map type; `None` for an unknown number.
    pub fn map_type_since(map_type: MapType) -> Option<Release> {
        since(tables::MAP_TYPES, map_type)
    }

    /// Whether programs of this type can be loaded.
    pub fn has_prog_type(&self, prog_type: ProgType) -> bool {
        Env::prog_type_since(prog_type).is_some_and(|since| since <= self.release())
    }

    /// First release of a program type; `None` for an unknown number.
    pub fn prog_type_since(prog_type: ProgType) -> Option<Release> {
        since(tables::PROG_TYPES, prog_type)
    }

    /// First release of an attach type; `None` for an unknown number.
    pub fn attach_type_since(attach_type: AttachType) -> Option<Release> {
        since(tables::ATTACH_TYPES, attach_type)
    }

    /// Context, return range and attach types of a tracing program type; `None` for other types.
    pub fn prog_info(&self, prog_type: ProgType) -> Option<&'static ProgTypeInfo> {
        prog_info::of(prog_type)
    }

    /// What an access of a context with [`CtxKind::Fields`](crate::CtxKind::Fields) gives; `None` when it is refused.
    pub fn ctx_access(
        &self,
        prog_type: ProgType,
        attach_type: AttachType,
        access: CtxAccess,
    ) -> Option<CtxLoad> {
        ctx::access(prog_type, attach_type, access)
    }

    /// Whether a field of a socket may be read.
    pub fn sock_access(&self, kind: SockKind, access: CtxAccess) -> bool {
        ctx::sock_access(kind, access)
    }

    /// Whether helper `id` may be called with a map of this type (`check_map_func_compatibility`).
    pub fn map_fits_helper(&self, map_type: MapType, id: u32) -> bool {
        map_func::compatible(map_type, HelperId(id))
    }
}

fn since<T: PartialEq>(table: &[(T, Release)], key: T) -> Option<Release> {
    table.iter().find(|(k, _)| *k == key).map(|(_, since)| *since)
}
