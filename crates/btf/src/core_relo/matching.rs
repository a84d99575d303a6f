//! Finding a local path in a target type.

use crate::ext::ReloKind;
use crate::types::*;
use crate::{Btf, ReloFault, essential_name, limits};

use super::compat::{self, At, Steps};
use super::spec::{Accessor, Spec, enumerators};

/// The path in candidate `id`, or `None` when it has none (`bpf_core_spec_match`).
pub(super) fn match_spec(
    local_btf: &Btf,
    local: &Spec,
    btf: &Btf,
    id: TypeId,
    steps: &mut Steps,
) -> Result<Option<Spec>, ReloFault> {
    let mut spec = Spec::new(local.kind, id);
    let found = if local.kind.is_type_based() {
        let (l, t) = (At { btf: local_btf, id: local.root }, At { btf, id });
        if local.kind == ReloKind::TypeMatches {
            compat::types_match(l, t, false, compat::MAX_LEVEL, steps)?
        } else {
            compat::types_are_compat(l, t, compat::MAX_LEVEL, steps)?
        }
    } else if local.kind.is_enumval_based() {
        match_enumval(local_btf, local, btf, &mut spec)
    } else {
        Fields { local_btf, btf, spec: &mut spec, steps }.path(local)?
    };
    Ok(found.then_some(spec))
}

/// An enumerator is found by essential name, wherever it stands and whatever its value.
fn match_enumval(local_btf: &Btf, local: &Spec, btf: &Btf, spec: &mut Spec) -> bool {
    let type_id = btf.skip_mods_and_typedefs(spec.root);
    let Some(name_off) = local.accessors.first().and_then(|acc| acc.name_off) else {
        return false;
    };
    let name = essential_name(local_btf.name(name_off));
    for (idx, v) in (0..).zip(enumerators(btf, type_id)) {
        if essential_name(btf.name(v.name_off)) == name {
            spec.accessors.push(Accessor { type_id, idx, name_off: Some(v.name_off) });
            spec.raw.push(idx);
            return true;
        }
    }
    false
}

struct Fields<'a> {
    local_btf: &'a Btf,
    btf: &'a Btf,
    spec: &'a mut Spec,
    steps: &'a mut Steps,
}

impl Fields<'_> {
    /// Follows each accessor of the local path: members by name, elements by index.
    fn path(&mut self, local: &Spec) -> Result<bool, ReloFault> {
        let mut id = self.spec.root;
        for (i, acc) in local.accessors.iter().enumerate() {
            id = self.btf.skip_mods_and_typedefs(id);
            if acc.name_off.is_some() {
                match self.member(acc, id)? {
                    Some(next) => id = next,
                    None => return Ok(false),
                }
                continue;
            }
            // The first index counts whole structs, the others look into an array.
            if i > 0 {
                let Some(Type::Array(a)) = self.btf.type_by_id(id) else { return Ok(false) };
                if !self.spec.is_flex_array(self.btf, &a) && acc.idx >= a.nelems {
                    return Ok(false);
                }
                id = self.btf.skip_mods_and_typedefs(a.elem);
            }
            self.push_raw(acc.idx)?;
            self.spec.accessors.push(Accessor { type_id: id, idx: acc.idx, name_off: None });
            self.spec.advance(self.btf, id, acc.idx)?;
        }
        Ok(true)
    }

    fn push_raw(&mut self, idx: u32) -> Result<(), ReloFault> {
        if self.spec.raw.len() >= limits::BPF_CORE_SPEC_MAX_LEN {
            return Err(ReloFault::Depth);
        }
        self.spec.raw.push(idx);
        Ok(())
    }

    /// Finds the member of the local accessor's name, in anonymous members as well, and returns its type
    /// (`bpf_core_match_member`). A member of that name and another nature ends the search of its struct.
    fn member(&mut self, local: &Accessor, id: TypeId) -> Result<Option<TypeId>, ReloFault> {
        let type_id = self.btf.skip_mods_and_typedefs(id);
        let Some(c) = self.btf.type_by_id(type_id).and_then(|t| t.composite()) else {
            return Ok(None);
        };
        let owner = self.local_btf.type_by_id(local.type_id).and_then(|t| t.composite());
        let local_member = owner.and_then(|c| c.member(local.idx as usize));
        let local_member = local_member.ok_or(ReloFault::BadType { type_id: local.type_id })?;
        let name = self.local_btf.str_bytes(local_member.name_off).unwrap_or(b"");
        for (idx, m) in (0..).zip(c.members()) {
            self.steps.take()?;
            let target_name = self.btf.str_bytes(m.name_off).unwrap_or(b"");
            if !target_name.is_empty() && target_name != name {
                continue;
            }
            let before = (self.spec.bit_offset, self.spec.raw.len());
            let bad = ReloFault::BadField { type_id };
            self.spec.bit_offset = before.0.checked_add(m.bit_offset).ok_or(bad)?;
            self.push_raw(idx)?;
            if target_name.is_empty() {
                if let Some(found) = self.member(local, m.ty)? {
                    return Ok(Some(found));
                }
            } else {
                let l = At { btf: self.local_btf, id: local_member.ty };
                if !compat::fields_are_compat(l, At { btf: self.btf, id: m.ty })? {
                    return Ok(None);
                }
                let name_off = Some(m.name_off);
                self.spec.accessors.push(Accessor { type_id, idx, name_off });
                return Ok(Some(m.ty));
            }
            self.spec.bit_offset = before.0;
            self.spec.raw.truncate(before.1);
        }
        Ok(None)
    }
}
