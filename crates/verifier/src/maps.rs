//! Maps that a program of this kind may use (`check_map_prog_compatibility`).

use stylet_btf::{Btf, Type};
use stylet_insn::opcode as op;
use stylet_uapi::MapType as M;

use crate::env::Verifier;
use crate::input::MapDef;
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

/// Map types that sleepable programs may use.
const SLEEPABLE: &[M] = &[
    M::HASH,
    M::LRU_HASH,
    M::ARRAY,
    M::PERCPU_HASH,
    M::PERCPU_ARRAY,
    M::LRU_PERCPU_HASH,
    M::ARRAY_OF_MAPS,
    M::HASH_OF_MAPS,
    M::RINGBUF,
    M::USER_RINGBUF,
    M::INODE_STORAGE,
    M::SK_STORAGE,
    M::TASK_STORAGE,
    M::CGRP_STORAGE,
    M::QUEUE,
    M::STACK,
    M::ARENA,
];

/// Structs in a map value that loads and stores must not touch (`btf_parse_fields`).
const SPECIAL: &[&str] = &[
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];

/// Deepest nesting of a map value that is looked into.
const MAX_NESTING: u32 = 32;

/// Whether a value of this type holds a field that needs the kernel's care, or is too deep to tell.
fn has_special(btf: &Btf, id: u32, depth: u32) -> bool {
    if depth > MAX_NESTING {
        return true;
    }
    match btf.type_by_id(id) {
        Some(Type::Struct(s) | Type::Union(s)) => {
            SPECIAL.contains(&btf.name(s.name_off))
                || s.members().any(|m| has_special(btf, m.ty, depth + 1))
        }
        Some(Type::Array(a)) => has_special(btf, a.elem, depth + 1),
        Some(Type::DataSec(sec)) => sec.vars().any(|v| has_special(btf, v.ty, depth + 1)),
        Some(Type::Var(v)) => has_special(btf, v.ty, depth + 1),
        Some(
            Type::Typedef(r)
            | Type::Const(r)
            | Type::Volatile(r)
            | Type::Restrict(r)
            | Type::TypeTag(r),
        ) => has_special(btf, r.ty, depth + 1),
        Some(Type::Ptr(r)) => is_kptr(btf, r.ty),
        _ => false,
    }
}

/// A pointer that the kernel manages is marked by a type tag.
fn is_kptr(btf: &Btf, mut id: u32) -> bool {
    for _ in 0..MAX_NESTING {
        id = match btf.type_by_id(id) {
            Some(Type::TypeTag(r))
                if matches!(
                    btf.name(r.name_off),
                    "kptr" | "kptr_untrusted" | "percpu_kptr" | "uptr"
                ) =>
            {
                return true;
            }
            Some(Type::TypeTag(r) | Type::Const(r) | Type::Volatile(r) | Type::Restrict(r)) => r.ty,
            _ => return false,
        };
    }
    true
}

impl Verifier<'_> {
    /// Every map that the program names.
    pub(crate) fn check_used_maps(&self) -> Res<()> {
        let mut i = 0;
        while i < self.insns.len() {
            let insn = self.insns[i];
            let named =
                insn.is_lddw() && matches!(insn.src, op::PSEUDO_MAP_IDX | op::PSEUDO_MAP_IDX_VALUE);
            if let (true, Some(map)) = (named, self.input.maps.get(insn.imm as u32 as usize)) {
                self.check_map(map).map_err(|e| e.at(i as u32))?;
                if let Some(inner) = &map.inner {
                    self.check_map(inner).map_err(|e| e.at(i as u32))?;
                }
            }
            i += if insn.is_lddw() { 2 } else { 1 };
        }
        Ok(())
    }

    fn check_map(&self, map: &MapDef) -> Res<()> {
        if matches!(map.map_type, M::ARENA | M::STRUCT_OPS | M::INSN_ARRAY)
            || !self.cat.has_map_type(map.map_type)
        {
            return Err(Reject::unsupported(alloc::format!("maps of type {}", map.map_type)));
        }
        let nested = matches!(map.map_type, M::ARRAY_OF_MAPS | M::HASH_OF_MAPS);
        if nested != map.inner.is_some() || map.inner.as_ref().is_some_and(|m| m.inner.is_some()) {
            return Err(Reject::unsupported("a map of maps without one template"));
        }
        let special =
            |btf| map.btf_value_type_id != 0 && has_special(btf, map.btf_value_type_id, 0);
        if self.input.btf.is_some_and(special) {
            return Err(Reject::unsupported(
                "map values with locks, timers, lists, trees or kernel pointers",
            ));
        }
        if self.input.sleepable && !SLEEPABLE.contains(&map.map_type) {
            return Err(Reject::inval(Kind::MapNotForSleepable));
        }
        Ok(())
    }
}
