//! Accesses of kernel objects by their BTF types (`check_ptr_to_btf_access`, `check_ptr_to_map_access`).

use alloc::string::{String, ToString};

use stylet_btf::{Btf, Kind as BtfKind, TypeId};
use stylet_catalog::Features;
use stylet_uapi::{MapType, ProgType};

use super::helper::is_gpl_compatible;
use super::mem::{Access, Dir, Value};
use crate::btf_walk::{Found, is_listed_field, struct_access};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{NO_MAP, PROG_BTF, RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::verified::MemKind;

impl<'a> Verifier<'a> {
    /// BTF that a register's type id is of: the program's for its own objects, otherwise the target's.
    pub(crate) fn btf_of(&self, reg: &RegState) -> Res<&'a Btf> {
        let btf = if reg.map == PROG_BTF { self.input.btf } else { self.cat.btf.as_ref() };
        btf.ok_or_else(|| Reject::unsupported("kernel objects without the target's BTF"))
    }

    /// An access of the object behind `reg`, `off` bytes from its start without the variable part.
    pub(super) fn check_btf_access(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        let btf = self.btf_of(reg)?;
        let struct_name = || String::from(btf.type_name(reg.aux));
        let alloc = reg.flags.has(RegFlags::ALLOC);
        if reg.map != PROG_BTF && !is_gpl_compatible(self.input.license) {
            let kind = Kind::ObjectNeedsGpl { struct_name: struct_name() };
            return Err(Reject::inval(kind));
        }
        let regno = a.regno;
        let Some(var) = reg.bounds.const_value() else {
            let (struct_name, var_off) = (struct_name(), reg.bounds.var_off);
            let kind = Kind::ObjectVariableOffset { reg: regno, struct_name, off, var_off };
            return Err(Reject::acces(kind));
        };
        let off = i64::from(off).wrapping_add(var as i64) as i32;
        let refused = |what: &'static str| {
            Reject::acces(Kind::ObjectAccess { reg: regno, struct_name: struct_name(), what, off })
        };
        if off < 0 {
            return Err(refused("invalid negative access"));
        }
        if reg.flags.has(RegFlags::USER) {
            return Err(refused("access user memory"));
        }
        if reg.flags.has(RegFlags::PERCPU) {
            return Err(refused("access percpu memory"));
        }
        if a.dir == Dir::Write && !alloc {
            return Err(self.refuse_object_write(reg, off, struct_name()));
        }
        if a.dir == Dir::Write && reg.flags.has(RegFlags::UNTRUSTED) {
            return Err(Reject::acces(Kind::OnlyReads));
        }
        if alloc {
            self.check_own_object_access(reg, off, a.size)?;
        }
        let found = struct_access(btf, reg.aux, off.into(), a.size, alloc)?;
        self.note_mem(MemKind::Checked);
        let found = match found {
            // A pointer in an object of the program's own is a number.
            Found::Object { .. } if alloc => Found::Scalar,
            Found::Object { id, field, flags } => {
                let flags = self.walked_flags(btf, reg, id, field, flags);
                Found::Object { id, field, flags }
            }
            other => other,
        };
        self.set_walked(found, a, reg.map);
        Ok(())
    }

    /// An access of an object of the program's own touches no field that the kernel looks after.
    fn check_own_object_access(&self, reg: &RegState, off: i32, size: u32) -> Res<()> {
        let owned = reg.ref_obj_id != 0 || reg.is_rcu() || reg.is_non_owning();
        if !owned {
            return Err(Reject::bug("ref_obj_id for allocated object must be non-zero"));
        }
        let (low, high) = (i64::from(off), i64::from(off) + i64::from(size));
        let fields = self.objects.get(&reg.aux).map_or(&[][..], |r| &r.fields);
        let touched =
            fields.iter().find(|f| low < i64::from(f.off + f.size) && i64::from(f.off) < high);
        match touched {
            Some(field) => Err(Reject::acces(Kind::DirectFieldAccess { name: field.kind.name() })),
            None => Ok(()),
        }
    }

    /// Writing to kernel objects is for few types of programs (`bpf_verifier_ops.btf_struct_access`).
    fn refuse_object_write(
        &self,
        reg: &RegState,
        off: i32,
        struct_name: String,
    ) -> alloc::boxed::Box<Reject> {
        let prog = self.input.prog_type;
        if reg.flags.has(RegFlags::UNTRUSTED) {
            return Reject::acces(Kind::OnlyReads);
        }
        match prog {
            ProgType::STRUCT_OPS => Reject::unsupported("writes of kernel objects"),
            ProgType::SCHED_CLS | ProgType::SCHED_ACT | ProgType::XDP
                if struct_name == "nf_conn" =>
            {
                let btf = self.cat.btf.as_ref();
                let members = btf.and_then(|btf| btf.type_by_id(reg.aux)?.composite());
                let writable = members.into_iter().flat_map(|s| s.members()).any(|m| {
                    let is_mark = btf.is_some_and(|btf| btf.name(m.name_off) == "mark");
                    is_mark && i64::from(m.bit_offset / 8) == i64::from(off)
                });
                match writable {
                    true => Reject::unsupported("writes of struct nf_conn"),
                    false => Reject::acces(Kind::NoWriteSupport { struct_name, off }),
                }
            }
            _ => Reject::acces(Kind::OnlyReads),
        }
    }

    /// How far a pointer is to be trusted that was read from the member `field` of the object behind `reg`.
    fn walked_flags(
        &self,
        btf: &Btf,
        reg: &RegState,
        target: TypeId,
        field: &str,
        flags: RegFlags,
    ) -> RegFlags {
        let plain = |f: RegFlags| f.without(RegFlags::TRUSTED).without(RegFlags::RCU);
        let listed = |suffix| is_listed_field(btf, reg.aux, field, target, suffix);
        if reg.flags.has(RegFlags::UNTRUSTED) {
            return RegFlags::UNTRUSTED;
        }
        if !reg.is_trusted() && !reg.is_rcu() {
            return plain(flags);
        }
        if listed("__safe_trusted") {
            return flags.with(RegFlags::TRUSTED);
        }
        if listed("__safe_trusted_or_null") {
            return flags.with(RegFlags::TRUSTED).with(RegFlags::MAYBE_NULL);
        }
        if !self.in_rcu_cs() || reg.maybe_null() {
            return RegFlags::UNTRUSTED;
        }
        if listed("__safe_rcu") {
            return flags.with(RegFlags::RCU);
        }
        let or_null = listed("__safe_rcu_or_null");
        if or_null || flags.has(RegFlags::RCU) {
            let flags = flags.with(RegFlags::RCU).with(RegFlags::MAYBE_NULL);
            return if or_null { flags.without(RegFlags::UNTRUSTED) } else { flags };
        }
        if flags.has(RegFlags::PERCPU) || flags.has(RegFlags::USER) {
            return flags;
        }
        plain(flags)
    }

    /// What a load from an object gives (`mark_btf_ld_reg`).
    fn set_walked(&mut self, found: Found<'_>, a: &Access, map: u32) {
        let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) else { return };
        let value = match found {
            Found::Object { id, flags, .. } => {
                let fresh = if flags.has(RegFlags::MAYBE_NULL) { self.new_id() } else { 0 };
                RegState {
                    aux: id,
                    id: fresh,
                    map,
                    ..RegState::pointer(RegType::PtrToBtfId, flags)
                }
            }
            Found::OtherPointer if self.cat.has(Features::UNTRUSTED_MEM) => {
                RegState::pointer(RegType::PtrToMem, RegFlags::RDONLY.with(RegFlags::UNTRUSTED))
            }
            Found::Scalar | Found::OtherPointer => RegState::unknown(),
        };
        *self.reg_mut(dst.into()) = value;
    }

    /// A load from the kernel's structure behind a map.
    pub(super) fn check_map_ptr_access(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        let map_type = self.map_of(reg).map_type;
        let Some(btf) = self.cat.btf.as_ref() else {
            return Err(Reject::unsupported("reading struct bpf_map without the target's BTF"));
        };
        let Some(name) = map_struct(map_type) else {
            return Err(Reject::unsupported(alloc::format!("reading maps of type {map_type}")));
        };
        let Some(id) = btf.find_by_name_kind(name, BtfKind::Struct) else {
            return Err(Reject::unsupported(alloc::format!("struct {name}, which the BTF lacks")));
        };
        if off < 0 {
            let (struct_name, reg) = (name.to_string(), a.regno);
            return Err(Reject::acces(Kind::MapNegativeAccess { reg, struct_name, off }));
        }
        if a.dir == Dir::Write {
            return Err(Reject::acces(Kind::OnlyReadsFrom { struct_name: name.to_string() }));
        }
        let found = struct_access(btf, id, off.into(), a.size, false)?;
        self.note_mem(MemKind::Checked);
        self.set_walked(found, a, NO_MAP);
        Ok(())
    }
}

/// The kernel's structure of a map type (`bpf_map_ops.map_btf_id`).
fn map_struct(map_type: MapType) -> Option<&'static str> {
    Some(match map_type {
        MapType::HASH
        | MapType::PERCPU_HASH
        | MapType::LRU_HASH
        | MapType::LRU_PERCPU_HASH
        | MapType::HASH_OF_MAPS => "bpf_htab",
        MapType::ARRAY
        | MapType::PERCPU_ARRAY
        | MapType::PROG_ARRAY
        | MapType::PERF_EVENT_ARRAY
        | MapType::CGROUP_ARRAY
        | MapType::ARRAY_OF_MAPS => "bpf_array",
        MapType::STACK_TRACE => "bpf_stack_map",
        MapType::LPM_TRIE => "lpm_trie",
        MapType::QUEUE | MapType::STACK => "bpf_queue_stack",
        MapType::RINGBUF | MapType::USER_RINGBUF => "bpf_ringbuf_map",
        MapType::SOCKMAP => "bpf_stab",
        MapType::SOCKHASH => "bpf_shtab",
        MapType::DEVMAP | MapType::DEVMAP_HASH => "bpf_dtab",
        MapType::CPUMAP => "bpf_cpu_map",
        MapType::XSKMAP => "xsk_map",
        MapType::REUSEPORT_SOCKARRAY => "reuseport_array",
        MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE => "bpf_local_storage_map",
        MapType::BLOOM_FILTER => "bpf_bloom_filter",
        _ => return None,
    })
}
