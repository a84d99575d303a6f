//! Fields of map values and of a program's own types that the kernel looks after: locks, timers, lists, trees, kernel
//! pointers (`btf_parse_fields`, kernel/bpf/btf.c).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use stylet_btf::{Btf, Composite, Kind as BtfKind, Type, TypeId};
use stylet_catalog::{Env, Release};
use stylet_uapi::MapType;

use crate::check::region::{F_RDONLY_PROG, F_WRONLY_PROG};
use crate::input::MapDef;

/// Most fields of one type (`BTF_FIELDS_MAX`).
const FIELDS_MAX: usize = 11;
/// Deepest nesting that is looked into (`MAX_RESOLVE_DEPTH`).
const MAX_RESOLVE_DEPTH: u32 = 32;
/// Largest object behind a pointer to user memory.
const PAGE_SIZE: u32 = 4096;

/// Kind of a field (`enum btf_field_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldKind {
    SpinLock,
    ResSpinLock,
    Timer,
    Workqueue,
    TaskWork,
    Refcount,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    /// A pointer without a reference.
    KptrUnref,
    KptrRef,
    KptrPercpu,
    /// A pointer to user memory.
    Uptr,
}

/// Kinds that are structures of a certain name.
const NAMED: &[(FieldKind, &str)] = &[
    (FieldKind::SpinLock, "bpf_spin_lock"),
    (FieldKind::ResSpinLock, "bpf_res_spin_lock"),
    (FieldKind::Timer, "bpf_timer"),
    (FieldKind::Workqueue, "bpf_wq"),
    (FieldKind::TaskWork, "bpf_task_work"),
    (FieldKind::ListHead, "bpf_list_head"),
    (FieldKind::ListNode, "bpf_list_node"),
    (FieldKind::RbRoot, "bpf_rb_root"),
    (FieldKind::RbNode, "bpf_rb_node"),
    (FieldKind::Refcount, "bpf_refcount"),
];

/// Structures whose owner is a type of which the kernel keeps a record (`alloc_obj_fields`).
const ALLOC_OBJ_FIELDS: &[&str] = &[
    "bpf_spin_lock",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];

/// Kernel types that a map may own, with the first release whose kernel can destroy them
/// (`register_btf_id_dtor_kfuncs`).
const DTORS: &[(&str, Release)] = &[
    ("task_struct", Release::new(6, 2)),
    ("cgroup", Release::new(6, 2)),
    ("bpf_cpumask", Release::new(6, 3)),
    ("bpf_crypto_ctx", Release::new(6, 10)),
    ("prog_test_ref_kfunc", Release::new(5, 19)),
    ("prog_test_member", Release::new(5, 19)),
];

impl FieldKind {
    /// `btf_field_type_name`.
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::KptrUnref | FieldKind::KptrRef => "kptr",
            FieldKind::KptrPercpu => "percpu_kptr",
            FieldKind::Uptr => "uptr",
            _ => NAMED.iter().find(|(kind, _)| *kind == self).map_or("unknown", |(_, name)| name),
        }
    }

    /// Size and alignment in bytes (`btf_field_type_size`, `btf_field_type_align`).
    fn layout(self) -> (u32, u32) {
        match self {
            FieldKind::SpinLock | FieldKind::ResSpinLock | FieldKind::Refcount => (4, 4),
            FieldKind::Timer | FieldKind::Workqueue => (16, 8),
            FieldKind::ListHead | FieldKind::RbRoot => (16, 8),
            FieldKind::ListNode => (24, 8),
            FieldKind::RbNode => (32, 8),
            FieldKind::TaskWork => (8, 8),
            _ => (8, 8),
        }
    }

    /// A type has one of them at most.
    fn is_unique(self) -> bool {
        matches!(
            self,
            FieldKind::SpinLock
                | FieldKind::ResSpinLock
                | FieldKind::Timer
                | FieldKind::Workqueue
                | FieldKind::TaskWork
                | FieldKind::Refcount
        )
    }

    /// A pointer that the kernel keeps (`BPF_KPTR | BPF_UPTR`).
    pub fn is_kptr(self) -> bool {
        matches!(
            self,
            FieldKind::KptrUnref | FieldKind::KptrRef | FieldKind::KptrPercpu | FieldKind::Uptr
        )
    }

    pub fn is_root(self) -> bool {
        matches!(self, FieldKind::ListHead | FieldKind::RbRoot)
    }

    pub fn is_node(self) -> bool {
        matches!(self, FieldKind::ListNode | FieldKind::RbNode)
    }

    /// First release that knows the kind.
    fn since(self) -> Release {
        match self {
            FieldKind::SpinLock => Release::new(5, 1),
            FieldKind::Timer => Release::new(5, 15),
            FieldKind::KptrUnref | FieldKind::KptrRef => Release::new(5, 19),
            FieldKind::ListHead | FieldKind::ListNode => Release::new(6, 2),
            FieldKind::RbRoot | FieldKind::RbNode => Release::new(6, 3),
            FieldKind::Refcount => Release::new(6, 4),
            FieldKind::KptrPercpu => Release::new(6, 7),
            FieldKind::Workqueue => Release::new(6, 10),
            FieldKind::Uptr => Release::new(6, 13),
            FieldKind::ResSpinLock => Release::new(6, 15),
            FieldKind::TaskWork => Release::new(6, 18),
        }
    }
}

/// One field (`struct btf_field`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub kind: FieldKind,
    pub off: u32,
    pub size: u32,
    /// What a pointer points to, what a root contains: a type of the target's BTF when `kernel`, of the program's otherwise.
    pub ty: TypeId,
    pub kernel: bool,
    /// Where the node lies in what a root contains.
    pub node_off: u32,
}

/// The fields of a type, by offset (`struct btf_record`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Record {
    pub fields: Vec<Field>,
}

impl Record {
    pub fn has(&self, kind: FieldKind) -> bool {
        self.offset(kind).is_some()
    }

    /// Offset of the first field of a kind.
    pub fn offset(&self, kind: FieldKind) -> Option<u32> {
        self.fields.iter().find(|f| f.kind == kind).map(|f| f.off)
    }

    /// The field that starts at `off` and is of one of the kinds (`btf_record_find`).
    pub fn find(&self, off: i64, kind: impl Fn(FieldKind) -> bool) -> Option<&Field> {
        self.fields.iter().find(|f| i64::from(f.off) == off && kind(f.kind))
    }

    pub fn has_lock(&self) -> bool {
        self.has(FieldKind::SpinLock) || self.has(FieldKind::ResSpinLock)
    }
}

/// The kernel refuses the BTF or the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadFields;

struct Found {
    kind: FieldKind,
    off: u32,
    ty: TypeId,
    node: u32,
}

struct Finder<'a> {
    env: &'a Env,
    btf: &'a Btf,
    kinds: fn(FieldKind) -> bool,
    seen: Vec<FieldKind>,
    out: Vec<Found>,
}

impl<'a> Finder<'a> {
    /// Unions are not looked into.
    fn structure_of(&self, id: TypeId) -> Option<Composite<'a>> {
        match self.btf.type_by_id(id) {
            Some(Type::Struct(s)) => Some(s),
            _ => None,
        }
    }

    fn wants(&self, kind: FieldKind) -> bool {
        (self.kinds)(kind) && kind.since() <= self.env.release()
    }

    fn structure(
        &mut self,
        s: Composite<'_>,
        id: TypeId,
        base: u32,
        depth: u32,
    ) -> Result<(), BadFields> {
        for (n, member) in s.members().enumerate() {
            if !member.bit_offset.is_multiple_of(8) {
                return Err(BadFields);
            }
            let off = member.bit_offset / 8;
            self.one((id, Some(n as u32)), member.ty, (base, off), None, depth)?;
        }
        Ok(())
    }

    /// A member or variable (`btf_find_field_one`): `owner` is where its tags are, `want` the size it must have.
    fn one(
        &mut self,
        owner: (TypeId, Option<u32>),
        mut ty: TypeId,
        (base, off): (u32, u32),
        want: Option<u32>,
        depth: u32,
    ) -> Result<(), BadFields> {
        let mut nelems = 1u32;
        let mut levels = 0;
        while let Some(Type::Array(array)) = self.btf.type_by_id(ty) {
            nelems = nelems.wrapping_mul(array.nelems);
            ty = array.elem;
            levels += 1;
            if levels == MAX_RESOLVE_DEPTH {
                return Err(BadFields);
            }
        }
        if nelems == 0 {
            return Ok(());
        }
        let fits = |size: u32| want.is_none_or(|w| w == size.wrapping_mul(nelems));
        let composite = self.structure_of(ty);
        let before = self.out.len();
        let named = composite.and_then(|s| {
            let name = self.btf.name(s.name_off);
            NAMED.iter().find(|(kind, n)| *n == name && self.wants(*kind)).map(|(kind, _)| *kind)
        });
        let elem_size = match (named, composite) {
            (Some(kind), Some(s)) => {
                if kind.is_unique() {
                    if self.seen.contains(&kind) {
                        return Err(BadFields);
                    }
                    self.seen.push(kind);
                }
                let (size, align) = kind.layout();
                if !fits(size) || !off.is_multiple_of(align) || s.size != size {
                    return Ok(());
                }
                let found = if kind.is_root() { self.root(kind, owner)? } else { (0, 0) };
                self.push(kind, base + off, found)?;
                size
            }
            (None, Some(s)) => {
                if !fits(s.size) {
                    return Ok(());
                }
                if depth + 1 >= MAX_RESOLVE_DEPTH {
                    return Err(BadFields);
                }
                self.structure(s, ty, base + off, depth + 1)?;
                s.size
            }
            _ => {
                if !fits(8) || !off.is_multiple_of(8) {
                    return Ok(());
                }
                let Some((kind, to)) = self.pointer(ty)? else { return Ok(()) };
                self.push(kind, base + off, (to, 0))?;
                8
            }
        };
        self.repeat(before, nelems, elem_size)
    }

    fn push(
        &mut self,
        kind: FieldKind,
        off: u32,
        (ty, node): (TypeId, u32),
    ) -> Result<(), BadFields> {
        if self.out.len() >= FIELDS_MAX {
            return Err(BadFields);
        }
        self.out.push(Found { kind, off, ty, node });
        Ok(())
    }

    /// The fields from `first` on are those of an array's first element (`btf_repeat_fields`).
    fn repeat(&mut self, first: usize, nelems: u32, elem_size: u32) -> Result<(), BadFields> {
        let count = self.out.len() - first;
        if nelems <= 1 || count == 0 {
            return Ok(());
        }
        let may_repeat = |f: &Found| f.kind.is_kptr() || f.kind.is_root();
        let total = (count as u64).saturating_mul(nelems.into()) + first as u64;
        if !self.out[first..].iter().all(may_repeat) || total > FIELDS_MAX as u64 {
            return Err(BadFields);
        }
        for i in 1..nelems {
            for n in first..first + count {
                let Found { kind, off, ty, node } = self.out[n];
                self.out.push(Found { kind, off: off + i * elem_size, ty, node });
            }
        }
        Ok(())
    }

    /// A pointer with one of the tags, and the structure it points to (`btf_find_kptr`).
    fn pointer(&self, mut ty: TypeId) -> Result<Option<(FieldKind, TypeId)>, BadFields> {
        if let Some(Type::Volatile(v)) = self.btf.type_by_id(ty) {
            ty = v.ty;
        }
        let Some(Type::Ptr(ptr)) = self.btf.type_by_id(ty) else { return Ok(None) };
        let Some(Type::TypeTag(tag)) = self.btf.type_by_id(ptr.ty) else { return Ok(None) };
        if matches!(self.btf.type_by_id(tag.ty), Some(Type::TypeTag(_))) {
            return Err(BadFields);
        }
        let kind = match self.btf.name(tag.name_off) {
            "kptr_untrusted" => FieldKind::KptrUnref,
            "kptr" => FieldKind::KptrRef,
            "percpu_kptr" => FieldKind::KptrPercpu,
            "uptr" => FieldKind::Uptr,
            _ => return Err(BadFields),
        };
        if !self.wants(kind) {
            return Ok(None);
        }
        let to = self.btf.skip_mods_and_typedefs(tag.ty);
        match self.structure_of(to) {
            Some(_) => Ok(Some((kind, to))),
            None => Err(BadFields),
        }
    }

    /// What a list or tree contains, by the tag `contains:TYPE:NODE` (`btf_find_graph_root`).
    fn root(
        &self,
        kind: FieldKind,
        (id, component): (TypeId, Option<u32>),
    ) -> Result<(TypeId, u32), BadFields> {
        let mut tags = self.btf.types().filter_map(|(_, ty)| match ty {
            Type::DeclTag(tag) if tag.ty == id && tag.component == component => {
                self.btf.name(tag.name_off).strip_prefix("contains:")
            }
            _ => None,
        });
        let text = tags.next().ok_or(BadFields)?;
        if tags.next().is_some() {
            return Err(BadFields);
        }
        let (name, node) = text.split_once(':').ok_or(BadFields)?;
        let value = self.btf.find_by_name_kind(name, BtfKind::Struct).ok_or(BadFields)?;
        let Some(Type::Struct(s)) = self.btf.type_by_id(value) else { return Err(BadFields) };
        let node_kind =
            if kind == FieldKind::ListHead { FieldKind::ListNode } else { FieldKind::RbNode };
        let mut members = s.members().filter(|m| self.btf.name(m.name_off) == node);
        let (Some(member), None) = (members.next(), members.next()) else { return Err(BadFields) };
        let ty = self.structure_of(member.ty).ok_or(BadFields)?;
        let off = member.bit_offset / 8;
        let aligned =
            member.bit_offset.is_multiple_of(8) && off.is_multiple_of(node_kind.layout().1);
        if node.is_empty() || self.btf.name(ty.name_off) != node_kind.name() || !aligned {
            return Err(BadFields);
        }
        Ok((value, off))
    }
}

/// Kinds that a map's value may have.
fn in_maps(kind: FieldKind) -> bool {
    !kind.is_node()
}

/// Kinds that a program's own type may have.
fn in_objects(kind: FieldKind) -> bool {
    !matches!(kind, FieldKind::Timer | FieldKind::Workqueue | FieldKind::TaskWork | FieldKind::Uptr)
}

fn parse(
    env: &Env,
    btf: &Btf,
    id: TypeId,
    size: u32,
    kinds: fn(FieldKind) -> bool,
) -> Result<Record, BadFields> {
    let mut finder = Finder { env, btf, kinds, seen: Vec::new(), out: Vec::new() };
    match btf.type_by_id(id) {
        Some(Type::Struct(s)) => finder.structure(s, id, 0, 0)?,
        Some(Type::DataSec(sec)) => {
            for var in sec.vars() {
                let Some(Type::Var(v)) = btf.type_by_id(var.ty) else { continue };
                finder.one((var.ty, None), v.ty, (0, var.offset), Some(var.size), 0)?;
            }
        }
        // The kernel takes such a value as one that has no fields.
        _ => return Ok(Record::default()),
    }
    let mut record = Record::default();
    let mut next = 0u64;
    for found in finder.out {
        let (size_of, _) = found.kind.layout();
        let end = u64::from(found.off) + u64::from(size_of);
        if end > size.into() || u64::from(found.off) < next {
            return Err(BadFields);
        }
        next = end;
        let (ty, kernel) =
            if found.kind.is_kptr() { kptr_target(env, btf, &found)? } else { (found.ty, false) };
        record.fields.push(Field {
            kind: found.kind,
            off: found.off,
            size: size_of,
            ty,
            kernel,
            node_off: found.node,
        });
    }
    let roots = record.fields.iter().any(|f| f.kind.is_root());
    let both_nodes = record.has(FieldKind::ListNode) && record.has(FieldKind::RbNode);
    let both_locks = record.has(FieldKind::SpinLock) && record.has(FieldKind::ResSpinLock);
    if both_locks || roots && !record.has_lock() || both_nodes && !record.has(FieldKind::Refcount) {
        return Err(BadFields);
    }
    Ok(record)
}

/// A type that the kernel has by this name, or else the program's own (`btf_parse_kptr`).
fn kptr_target(env: &Env, btf: &Btf, found: &Found) -> Result<(TypeId, bool), BadFields> {
    let Some(ty) = btf.type_by_id(found.ty) else { return Err(BadFields) };
    let name = btf.name(ty.name_off());
    let Some(target) = &env.btf else { return Ok((found.ty, false)) };
    let Some(id) = target.find_by_name_kind(name, ty.kind()) else { return Ok((found.ty, false)) };
    let destroyed = || DTORS.iter().any(|(ty, since)| *ty == name && *since <= env.release());
    if found.kind == FieldKind::KptrRef && !destroyed() {
        return Err(BadFields);
    }
    Ok((id, true))
}

/// What the kernel keeps of a map's BTF.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapBtf {
    /// The map was made with it.
    pub known: bool,
    pub record: Record,
}

fn is_i32(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.type_by_id(btf.skip_mods_and_typedefs(id)), Some(Type::Int(int)) if int.size == 4)
}

/// Whether a map of this type takes a value with such a field (`map_check_btf`).
fn takes_field(map_type: MapType, kind: FieldKind) -> bool {
    let storage = matches!(
        map_type,
        MapType::SK_STORAGE
            | MapType::INODE_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
    );
    let plain = matches!(map_type, MapType::HASH | MapType::ARRAY);
    let lru = map_type == MapType::LRU_HASH;
    let percpu =
        matches!(map_type, MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH | MapType::PERCPU_ARRAY);
    match kind {
        FieldKind::SpinLock | FieldKind::ResSpinLock => {
            plain || storage || map_type == MapType::CGROUP_STORAGE
        }
        FieldKind::Uptr => map_type == MapType::TASK_STORAGE,
        FieldKind::KptrUnref | FieldKind::KptrRef | FieldKind::KptrPercpu | FieldKind::Refcount => {
            plain || lru || storage || percpu
        }
        _ => plain || lru,
    }
}

/// The BTF of a map, as far as the kernel takes it. A map that it refuses is made without BTF, as libbpf does.
pub(crate) fn map_btf(
    env: &Env,
    btf: &Btf,
    objects: &BTreeMap<TypeId, Record>,
    map: &MapDef,
) -> MapBtf {
    let size_is = |id, size| btf.resolve_size(id) == Ok(size);
    let (key, value) = (map.btf_key_type_id, map.btf_value_type_id);
    let is_array = matches!(map.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
    let storage = matches!(
        map.map_type,
        MapType::SK_STORAGE
            | MapType::INODE_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
    );
    let section = matches!(btf.type_by_id(value), Some(Type::DataSec(_)));
    let key_ok = match key {
        0 => map.map_type == MapType::ARRAY && map.max_entries == 1 && section,
        _ => size_is(key, map.key_size) && (!(is_array || storage) || is_i32(btf, key)),
    };
    if value == 0 || !size_is(value, map.value_size) || !key_ok {
        return MapBtf::default();
    }
    let id = btf.skip_mods_and_typedefs(value);
    // A value that is not understood is one without fields.
    let record = parse(env, btf, id, map.value_size, in_maps).unwrap_or_default();
    if record.fields.is_empty() {
        return MapBtf { known: true, record };
    }
    let uptr_ok = |f: &Field| {
        !f.kernel && btf.resolve_size(f.ty).is_ok_and(|size| (1..=PAGE_SIZE).contains(&size))
    };
    let fits = map.map_flags & (F_RDONLY_PROG | F_WRONLY_PROG) == 0
        && record.fields.iter().all(|f| takes_field(map.map_type, f.kind))
        && record.fields.iter().all(|f| f.kind != FieldKind::Uptr || uptr_ok(f))
        && check_roots(&record, objects).is_ok();
    if fits { MapBtf { known: true, record } } else { MapBtf::default() }
}

/// Records of the program's own types that have fields (`btf_parse_struct_metas`); `Err` when the kernel refuses the BTF.
pub(crate) fn struct_records(env: &Env, btf: &Btf) -> Result<BTreeMap<TypeId, Record>, BadFields> {
    let named = |name: &&str| btf.find_by_name_kind(name, BtfKind::Struct);
    let mut special: Vec<TypeId> = ALLOC_OBJ_FIELDS.iter().filter_map(named).collect();
    let finder = Finder { env, btf, kinds: in_objects, seen: Vec::new(), out: Vec::new() };
    for (id, ty) in btf.types() {
        if matches!(ty, Type::Ptr(_)) && matches!(finder.pointer(id), Ok(Some(_))) {
            special.push(id);
        }
    }
    special.sort_unstable();
    let mut records = BTreeMap::new();
    for (id, ty) in btf.types() {
        let Type::Struct(s) = ty else { continue };
        if !s.members().any(|m| special.binary_search(&m.ty).is_ok()) {
            continue;
        }
        let record = parse(env, btf, id, s.size, in_objects)?;
        if record.fields.is_empty() {
            return Err(BadFields);
        }
        records.insert(id, record);
    }
    for record in records.values() {
        check_roots(record, &records)?;
    }
    Ok(records)
}

/// What a root contains has a record, and nothing owns itself (`btf_check_and_fixup_fields`).
pub(crate) fn check_roots(
    record: &Record,
    records: &BTreeMap<TypeId, Record>,
) -> Result<(), BadFields> {
    let is_node = record.fields.iter().any(|f| f.kind.is_node());
    for root in record.fields.iter().filter(|f| f.kind.is_root()) {
        let value = records.get(&root.ty).ok_or(BadFields)?;
        if is_node && value.fields.iter().any(|f| f.kind.is_root()) {
            return Err(BadFields);
        }
    }
    Ok(())
}
