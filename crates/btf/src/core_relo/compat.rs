//! When a local and a target type count as the same.

use crate::types::*;
use crate::{Btf, ReloFault, essential_name};

use super::spec::enumerators;

/// Bound on the work for one relocation, so that hostile types end in an error.
pub(super) struct Steps {
    left: u32,
}

impl Steps {
    pub(super) fn new() -> Steps {
        Steps { left: 1 << 20 }
    }

    pub(super) fn take(&mut self) -> Result<(), ReloFault> {
        self.left = self.left.checked_sub(1).ok_or(ReloFault::Depth)?;
        Ok(())
    }
}

/// Depth of recursion through prototypes and members.
pub(super) const MAX_LEVEL: u32 = 32;
/// Depth of pointers and arrays.
const MAX_DEPTH: u32 = 32;

/// Same kind, or both enums (`btf_kind_core_compat`).
pub(super) fn kinds_are_compat(a: Kind, b: Kind) -> bool {
    a == b || (a.is_any_enum() && b.is_any_enum())
}

/// A type and where it is from.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub btf: &'a Btf,
    pub id: TypeId,
}

impl<'a> At<'a> {
    pub(super) fn at(self, id: TypeId) -> At<'a> {
        At { id, ..self }
    }

    fn skip(self) -> At<'a> {
        self.at(self.btf.skip_mods_and_typedefs(self.id))
    }

    fn get(self) -> Result<Type<'a>, ReloFault> {
        self.btf.type_by_id(self.id).ok_or(ReloFault::BadType { type_id: self.id })
    }
}

fn same_essential_name(local: At<'_>, local_off: u32, target: At<'_>, target_off: u32) -> bool {
    essential_name(local.btf.name(local_off)) == essential_name(target.btf.name(target_off))
}

/// For relocations of types: kinds must agree all the way, names and sizes need not
/// (`bpf_core_types_are_compat`).
pub(super) fn types_are_compat(
    local: At<'_>,
    target: At<'_>,
    level: u32,
    steps: &mut Steps,
) -> Result<bool, ReloFault> {
    if !kinds_are_compat(local.get()?.kind(), target.get()?.kind()) {
        return Ok(false);
    }
    let (mut local, mut target) = (local, target);
    for _ in 0..MAX_DEPTH {
        steps.take()?;
        (local, target) = (local.skip(), target.skip());
        let (l, t) = (local.get()?, target.get()?);
        if !kinds_are_compat(l.kind(), t.kind()) {
            return Ok(false);
        }
        match (l, t) {
            (
                Type::Void
                | Type::Struct(_)
                | Type::Union(_)
                | Type::Enum(_)
                | Type::Enum64(_)
                | Type::Fwd(_),
                _,
            ) => return Ok(true),
            // Legacy bitfields.
            (Type::Int(l), Type::Int(t)) => return Ok(l.offset == 0 && t.offset == 0),
            (Type::Ptr(l), Type::Ptr(t)) => (local.id, target.id) = (l.ty, t.ty),
            (Type::Array(l), Type::Array(t)) => (local.id, target.id) = (l.elem, t.elem),
            (Type::FuncProto(l), Type::FuncProto(t)) => {
                if l.len() != t.len() {
                    return Ok(false);
                }
                for (l, t) in l.params().zip(t.params()) {
                    let level = level.checked_sub(1).ok_or(ReloFault::Depth)?;
                    let (l, t) = (local.at(l.ty).skip(), target.at(t.ty).skip());
                    if !types_are_compat(l, t, level, steps)? {
                        return Ok(false);
                    }
                }
                (local.id, target.id) = (l.ret, t.ret);
            }
            _ => return Ok(false),
        }
    }
    Err(ReloFault::Depth)
}

/// For relocations of fields: a field may change its size, not its nature
/// (`bpf_core_fields_are_compat`).
pub(super) fn fields_are_compat(local: At<'_>, target: At<'_>) -> Result<bool, ReloFault> {
    let (mut local, mut target) = (local, target);
    // Arrays of arrays end: containment has no loop.
    loop {
        (local, target) = (local.skip(), target.skip());
        let (l, t) = (local.get()?, target.get()?);
        if l.kind().is_composite() && t.kind().is_composite() {
            return Ok(true);
        }
        if !kinds_are_compat(l.kind(), t.kind()) {
            return Ok(false);
        }
        match (l, t) {
            (Type::Ptr(_) | Type::Float(_), _) => return Ok(true),
            (Type::Fwd(_) | Type::Enum(_) | Type::Enum64(_), _) => {
                let local_name = essential_name(local.btf.name(l.name_off()));
                let target_name = essential_name(target.btf.name(t.name_off()));
                let anonymous = local_name.is_empty() || target_name.is_empty();
                return Ok(anonymous || local_name == target_name);
            }
            (Type::Int(l), Type::Int(t)) => return Ok(l.offset == 0 && t.offset == 0),
            (Type::Array(l), Type::Array(t)) => (local.id, target.id) = (l.elem, t.elem),
            _ => return Ok(false),
        }
    }
}

/// For `bpf_core_type_matches`: names, sizes and members as well (`bpf_core_types_match`).
pub(super) fn types_match(
    local: At<'_>,
    target: At<'_>,
    mut behind_ptr: bool,
    level: u32,
    steps: &mut Steps,
) -> Result<bool, ReloFault> {
    if level == 0 {
        return Err(ReloFault::Depth);
    }
    let (mut local, mut target) = (local, target);
    for _ in 0..MAX_DEPTH {
        steps.take()?;
        (local, target) = (local.skip(), target.skip());
        let (l, t) = (local.get()?, target.get()?);
        if !same_essential_name(local, l.name_off(), target, t.name_off()) {
            return Ok(false);
        }
        match (l, t) {
            (Type::Void, t) => return Ok(t.kind() == Kind::Void),
            (Type::Fwd(l), t) => return Ok(fwd_matches(l, &t, behind_ptr)),
            (Type::Enum(_) | Type::Enum64(_), t) => {
                return if t.kind().is_any_enum() {
                    enums_match(local, target, steps)
                } else {
                    Ok(false)
                };
            }
            (Type::Struct(_) | Type::Union(_), t) if behind_ptr => {
                let fwd = matches!(t, Type::Fwd(f)
                    if f.is_union == (l.kind() == Kind::Union));
                return Ok(l.kind() == t.kind() || fwd);
            }
            (Type::Struct(lc), Type::Struct(tc)) | (Type::Union(lc), Type::Union(tc)) => {
                return composites_match((local, lc), (target, tc), level, steps);
            }
            (Type::Int(l), Type::Int(t)) => {
                return Ok(l.size == t.size && l.signed == t.signed);
            }
            (Type::Ptr(l), Type::Ptr(t)) => {
                behind_ptr = true;
                (local.id, target.id) = (l.ty, t.ty);
            }
            (Type::Array(l), Type::Array(t)) => {
                if l.nelems != t.nelems {
                    return Ok(false);
                }
                (local.id, target.id) = (l.elem, t.elem);
            }
            (Type::FuncProto(l), Type::FuncProto(t)) => {
                if l.len() != t.len() {
                    return Ok(false);
                }
                for (l, t) in l.params().zip(t.params()) {
                    let (l, t) = (local.at(l.ty), target.at(t.ty));
                    if !types_match(l, t, behind_ptr, level - 1, steps)? {
                        return Ok(false);
                    }
                }
                (local.id, target.id) = (l.ret, t.ret);
            }
            _ => return Ok(false),
        }
    }
    Err(ReloFault::Depth)
}

/// Behind a pointer a forward declaration stands for the whole type.
fn fwd_matches(local: Fwd, target: &Type<'_>, behind_ptr: bool) -> bool {
    match target {
        Type::Fwd(t) => t.is_union == local.is_union,
        Type::Struct(_) => behind_ptr && !local.is_union,
        Type::Union(_) => behind_ptr && local.is_union,
        _ => false,
    }
}

/// Every local enumerator must exist by name; values do not matter.
fn enums_match(local: At<'_>, target: At<'_>, steps: &mut Steps) -> Result<bool, ReloFault> {
    let size = |t: Type<'_>| match t {
        Type::Enum(e) => (e.size, e.len()),
        Type::Enum64(e) => (e.size, e.len()),
        _ => (0, 0),
    };
    let ((local_size, local_len), (target_size, target_len)) =
        (size(local.get()?), size(target.get()?));
    if local_size != target_size || local_len > target_len {
        return Ok(false);
    }
    for l in enumerators(local.btf, local.id) {
        let mut found = false;
        for t in enumerators(target.btf, target.id) {
            steps.take()?;
            if same_essential_name(local, l.name_off, target, t.name_off) {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every local member must exist by name with a type that matches.
fn composites_match(
    (local, lc): (At<'_>, Composite<'_>),
    (target, tc): (At<'_>, Composite<'_>),
    level: u32,
    steps: &mut Steps,
) -> Result<bool, ReloFault> {
    if lc.len() > tc.len() {
        return Ok(false);
    }
    for l in lc.members() {
        let mut found = false;
        for t in tc.members() {
            steps.take()?;
            if same_essential_name(local, l.name_off, target, t.name_off)
                && types_match(local.at(l.ty), target.at(t.ty), false, level - 1, steps)?
            {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}
