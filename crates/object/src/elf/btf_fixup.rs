//! What the compiler leaves open in BTF and the loader fills in from ELF (`btf_fixup_datasec`,
//! `bpf_object__collect_externs`, `bpf_object__sanitize_and_load_btf`).
//!
//! Sizes of sections, offsets of variables (sorted), linkage of hidden variables and functions, and the layout of
//! `.kconfig`. `.ksyms` is left as it is: what a kernel wants to see there concerns BPF_BTF_LOAD alone.

use alloc::string::ToString;
use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};
use object::elf::{STB_GLOBAL, STB_WEAK, STT_OBJECT, STV_HIDDEN, STV_INTERNAL};
use stylet_btf::{Btf, DataSec, FuncLinkage, SecVar, Type, TypeId, VarLinkage};

use crate::elf::collect::Collected;
use crate::elf::{Elf, Symbol};
use crate::error::Error;
use crate::maps::data::F_MMAPABLE;
use crate::spec::MapSpec;
use crate::spec::{ExternKind, ExternSpec};

/// `BTF_VAR_STATIC`, `BTF_FUNC_STATIC`
const STATIC: u32 = 0;
/// `BTF_VAR_GLOBAL_ALLOCATED`
const GLOBAL: u32 = 1;
/// Bytes of `struct btf_type`.
const TYPE_SIZE: usize = 12;
/// Bytes of `struct btf_var_secinfo`.
const SEC_VAR_SIZE: usize = 12;

/// Parses `.BTF` with everything filled in. `plain` is the same section as the compiler left it.
pub(crate) fn fix_btf(
    raw: &[u8],
    plain: &Btf,
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    externs: &[ExternSpec],
) -> Result<Btf, Error> {
    let mut patch = Patch { bytes: raw.to_vec(), at: type_offsets(raw, plain) };
    let fixup = Fixup {
        btf: plain,
        elf,
        vars: elf.symbols.iter().filter(|s| is_var(s)).map(|s| (s.name, s)).collect(),
        kconfig: externs
            .iter()
            .filter_map(|spec| Some((spec.btf_id, kconfig_offset(spec)?)))
            .collect(),
    };
    let hidden: HashSet<&str> = collected
        .funcs
        .iter()
        .filter(|func| func.hidden && Some(func.sec_idx) == collected.text)
        .map(|func| func.name)
        .collect();
    for (id, ty) in plain.types() {
        match ty {
            Type::DataSec(section) => fixup.datasec(&mut patch, id, section)?,
            Type::Func(func)
                if func.linkage == FuncLinkage::Global
                    && hidden.contains(plain.name(func.name_off)) =>
            {
                let info = patch.word(id, 4) & !0xffff;
                patch.set(id, 4, info | STATIC);
            }
            _ => {}
        }
    }
    Btf::parse(&patch.bytes).map_err(|source| Error::Btf { section: ".BTF", source })
}

fn is_var(symbol: &Symbol<'_>) -> bool {
    symbol.kind == STT_OBJECT && matches!(symbol.bind, STB_GLOBAL | STB_WEAK)
}

fn kconfig_offset(spec: &ExternSpec) -> Option<u32> {
    match spec.kind {
        ExternKind::Kconfig(var) => Some(var.offset),
        _ => None,
    }
}

struct Fixup<'a, 'e> {
    btf: &'a Btf,
    elf: &'a Elf<'e>,
    /// Global variables by name.
    vars: HashMap<&'e str, &'a Symbol<'e>>,
    /// Offset in `.kconfig` by BTF id.
    kconfig: HashMap<TypeId, u32>,
}

impl Fixup<'_, '_> {
    fn datasec(&self, patch: &mut Patch, id: TypeId, section: DataSec<'_>) -> Result<(), Error> {
        let name = self.btf.name(section.name_off);
        let mut vars: Vec<SecVar> = section.vars().collect();
        match name {
            ".ksyms" => return Ok(()),
            ".kconfig" => self.kconfig(patch, id, &mut vars),
            _ => self.plain(patch, id, section, name, &mut vars)?,
        }
        vars.sort_by_key(|var| var.offset);
        for (idx, var) in vars.iter().enumerate() {
            let at = TYPE_SIZE + idx * SEC_VAR_SIZE;
            patch.set(id, at, var.ty);
            patch.set(id, at + 4, var.offset);
            patch.set(id, at + 8, var.size);
        }
        Ok(())
    }

    fn kconfig(&self, patch: &mut Patch, id: TypeId, vars: &mut [SecVar]) {
        let mut size = 0;
        for var in vars {
            if let Some(&offset) = self.kconfig.get(&var.ty) {
                var.offset = offset;
                size = size.max(offset.saturating_add(var.size));
                patch.set(var.ty, TYPE_SIZE, GLOBAL);
            }
        }
        patch.set(id, 8, size);
    }

    fn plain(
        &self,
        patch: &mut Patch,
        id: TypeId,
        section: DataSec<'_>,
        name: &str,
        vars: &mut [SecVar],
    ) -> Result<(), Error> {
        let fail = |reason| Error::Section { section: name.to_string(), offset: 0, reason };
        // The static linker has filled in what the compiler leaves open.
        let is_open = section.size == 0;
        if is_open {
            let size = self.elf.section_idx(name).map_or(0, |idx| self.elf.sections[idx].size);
            let size = u32::try_from(size).ok().filter(|&size| size > 0);
            patch.set(
                id,
                8,
                size.ok_or_else(|| fail("BTF describes a section that the file has not"))?,
            );
        }
        for sec_var in vars {
            let Some(Type::Var(var)) = self.btf.type_by_id(sec_var.ty) else {
                return Err(fail("BTF lists a variable that is none"));
            };
            if matches!(var.linkage, VarLinkage::Static | VarLinkage::Extern) {
                continue;
            }
            let symbol = self.vars.get(self.btf.name(var.name_off));
            let symbol = symbol.ok_or_else(|| fail("BTF lists a variable that has no symbol"))?;
            if is_open {
                sec_var.offset = u32::try_from(symbol.value)
                    .map_err(|_| fail("a variable lies too far into the section"))?;
            }
            if matches!(symbol.visibility, STV_HIDDEN | STV_INTERNAL) {
                patch.set(sec_var.ty, TYPE_SIZE, STATIC);
            }
        }
        Ok(())
    }
}

/// Gives an internal map its BTF, and `BPF_F_MMAPABLE` when a variable in it is visible to user space
/// (`map_fill_btf_type_info`, `map_is_mmapable`).
pub(crate) fn add_value_type(map: &mut MapSpec, btf: &Btf) {
    if !map.kind.is_internal() {
        return;
    }
    let Some(id) = btf.find_by_name(&map.section).next() else {
        return;
    };
    map.btf_value_type_id = id;
    let Some(Type::DataSec(section)) = btf.type_by_id(id) else {
        return;
    };
    let is_visible = |var: SecVar| match btf.type_by_id(var.ty) {
        Some(Type::Var(var)) => var.linkage != VarLinkage::Static,
        _ => false,
    };
    if section.vars().any(is_visible) {
        map.map_flags |= F_MMAPABLE;
    }
}

/// The bytes of `.BTF` and where each type starts in them.
struct Patch {
    bytes: Vec<u8>,
    at: Vec<usize>,
}

impl Patch {
    fn word(&self, id: TypeId, offset: usize) -> u32 {
        let at = self.at.get(id as usize).map_or(usize::MAX, |at| at + offset);
        let bytes = self.bytes.get(at..at.saturating_add(4));
        bytes.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn set(&mut self, id: TypeId, offset: usize, value: u32) {
        let at = self.at.get(id as usize).map_or(usize::MAX, |at| at + offset);
        if let Some(bytes) = self.bytes.get_mut(at..at.saturating_add(4)) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// Byte offset of each type of a parsed `.BTF`, by id; id 0 has none of its own.
fn type_offsets(raw: &[u8], btf: &Btf) -> Vec<usize> {
    let word = |at: usize| {
        raw.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    };
    let mut at = word(4) + word(8);
    let mut offsets = Vec::with_capacity(btf.len() as usize);
    offsets.push(usize::MAX - 64);
    for (_, ty) in btf.types() {
        offsets.push(at);
        at += TYPE_SIZE
            + match ty {
                Type::Int(_) | Type::Var(_) | Type::DeclTag(_) => 4,
                Type::Array(_) => 12,
                Type::Struct(ty) | Type::Union(ty) => ty.len() * 12,
                Type::Enum(ty) => ty.len() * 8,
                Type::Enum64(ty) => ty.len() * 12,
                Type::FuncProto(ty) => ty.len() * 8,
                Type::DataSec(ty) => ty.len() * SEC_VAR_SIZE,
                _ => 0,
            };
    }
    offsets
}
