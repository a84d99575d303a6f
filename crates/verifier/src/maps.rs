//! Maps that a program of this kind may use (`check_map_prog_compatibility`).

use stylet_catalog::Features;
use stylet_insn::opcode as op;
use stylet_uapi::{MapType as M, ProgType as P};

use crate::check::nullness::inner_map;
use crate::env::Verifier;
use crate::fields::{self, FieldKind, Record};
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

/// Programs that may run where a lock is held (`is_tracing_prog_type`).
fn is_tracing(prog_type: P) -> bool {
    matches!(
        prog_type,
        P::KPROBE | P::TRACEPOINT | P::PERF_EVENT | P::RAW_TRACEPOINT | P::RAW_TRACEPOINT_WRITABLE
    )
}

impl Verifier<'_> {
    /// Every map that the program names.
    pub(crate) fn check_used_maps(&mut self) -> Res<()> {
        self.read_map_btf()?;
        let mut i = 0;
        while i < self.insns.len() {
            let insn = self.insns[i];
            let named =
                insn.is_lddw() && matches!(insn.src, op::PSEUDO_MAP_IDX | op::PSEUDO_MAP_IDX_VALUE);
            if let (true, Some(map)) = (named, self.input.maps.get(insn.imm as u32 as usize)) {
                self.check_map(insn.imm as u32, map).map_err(|e| e.at(i as u32))?;
                if let Some(inner) = &map.inner {
                    self.check_map_type(inner).map_err(|e| e.at(i as u32))?;
                }
            }
            i += if insn.is_lddw() { 2 } else { 1 };
        }
        Ok(())
    }

    /// What the kernel keeps of the maps' BTF.
    fn read_map_btf(&mut self) -> Res<()> {
        let Some(btf) = self.input.btf else { return Ok(()) };
        let Ok(objects) = fields::struct_records(self.cat, btf) else {
            return Err(Reject::unsupported("a BTF whose types the kernel refuses"));
        };
        self.objects = objects;
        for (map, out) in self.maps.iter().zip(&mut self.map_btf) {
            *out = fields::map_btf(self.cat, btf, &self.objects, map);
        }
        Ok(())
    }

    fn check_map(&self, index: u32, map: &MapDef) -> Res<()> {
        let record = &self.map_btf[index as usize].record;
        let inner = inner_map(self.input, index).map(|i| &self.map_btf[i as usize].record);
        let special = [Some(record), inner].into_iter().flatten().any(|r| !r.fields.is_empty());
        if special && !self.cat.has(Features::SPECIAL_FIELDS) {
            return Err(Reject::unsupported(
                "map values with locks, timers, lists, trees or kernel pointers",
            ));
        }
        self.check_fields_for_prog(record)?;
        self.check_map_type(map)
    }

    fn check_fields_for_prog(&self, record: &Record) -> Res<()> {
        let prog_type = self.input.prog_type;
        let tracing = is_tracing(prog_type);
        let refuse = |who, what| Err(Reject::inval(Kind::FieldForProgType { who, what }));
        if tracing && record.fields.iter().any(|f| f.kind.is_root()) {
            return refuse("tracing", "bpf_{list_head,rb_root}");
        }
        if record.has_lock() && prog_type == P::SOCKET_FILTER {
            return refuse("socket filter", "bpf_spin_lock");
        }
        if record.has_lock() && tracing {
            return refuse("tracing", "bpf_spin_lock");
        }
        for kind in [FieldKind::Timer, FieldKind::Workqueue] {
            if tracing && record.has(kind) {
                return refuse("tracing", kind.name());
            }
        }
        Ok(())
    }

    fn check_map_type(&self, map: &MapDef) -> Res<()> {
        if matches!(map.map_type, M::ARENA | M::STRUCT_OPS | M::INSN_ARRAY)
            || !self.cat.has_map_type(map.map_type)
        {
            return Err(Reject::unsupported(alloc::format!("maps of type {}", map.map_type)));
        }
        let nested = matches!(map.map_type, M::ARRAY_OF_MAPS | M::HASH_OF_MAPS);
        if nested != map.inner.is_some() || map.inner.as_ref().is_some_and(|m| m.inner.is_some()) {
            return Err(Reject::unsupported("a map of maps without one template"));
        }
        if self.input.sleepable && !SLEEPABLE.contains(&map.map_type) {
            return Err(Reject::inval(Kind::MapNotForSleepable));
        }
        Ok(())
    }
}
