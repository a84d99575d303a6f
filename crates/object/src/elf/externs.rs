//! Externs: undefined symbols and what the object's BTF says of them (`bpf_object__collect_externs`).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Ordering;

use hashbrown::HashMap;
use object::elf::STB_WEAK;
use stylet_btf::{Btf, FuncLinkage, Type, TypeId, VarLinkage};

use crate::elf::Elf;
use crate::error::{Error, ExternFault};
use crate::link::relo::is_extern;
use crate::spec::{ExternKind, ExternSpec, KconfigType, KconfigVar};

/// All externs, kconfig first, in libbpf's order, each with its symbol.
pub(crate) fn externs(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Vec<(usize, ExternSpec)>, Error> {
    let mut found = Vec::new();
    let mut index: Option<BtfIndex<'_>> = None;
    for (sym_idx, symbol) in elf.symbols.iter().enumerate() {
        if !is_extern(symbol) || symbol.name.is_empty() {
            continue;
        }
        let no_btf = || Error::NoBtf { what: "extern", name: symbol.name.to_string() };
        let btf = btf.ok_or_else(no_btf)?;
        let index = index.get_or_insert_with(|| BtfIndex::new(btf));
        let spec = index.describe(symbol.name, symbol.bind == STB_WEAK);
        let spec = spec.map_err(|fault| Error::Extern { name: symbol.name.to_string(), fault })?;
        found.push((sym_idx, spec));
    }
    found.sort_by(|(_, a), (_, b)| order(a, b));
    place_kconfig(&mut found)?;
    Ok(found)
}

/// `cmp_externs`: kconfig before ksyms; kconfig by falling alignment, then size; then by name.
fn order(a: &ExternSpec, b: &ExternSpec) -> Ordering {
    let rank = |spec: &ExternSpec| match spec.kind {
        ExternKind::Kconfig(var) => (0, core::cmp::Reverse(var.align), var.size),
        _ => (1, core::cmp::Reverse(0), 0),
    };
    rank(a).cmp(&rank(b)).then_with(|| a.name.as_bytes().cmp(b.name.as_bytes()))
}

/// Gives each kconfig extern its place in the `.kconfig` map.
fn place_kconfig(found: &mut [(usize, ExternSpec)]) -> Result<(), Error> {
    let mut end = 0u32;
    for (_, spec) in found {
        if let ExternKind::Kconfig(var) = &mut spec.kind {
            var.offset = end.next_multiple_of(var.align);
            end = var.offset + var.size;
            if end > MAX_KCONFIG_MAP {
                let what = "bytes of kconfig values";
                return Err(Error::Limit { what, value: end.into(), max: MAX_KCONFIG_MAP.into() });
            }
        }
    }
    Ok(())
}

/// Bytes of the `.kconfig` map.
pub(crate) fn kconfig_size(externs: &[ExternSpec]) -> u32 {
    let end = |spec: &ExternSpec| match spec.kind {
        ExternKind::Kconfig(var) => var.offset.saturating_add(var.size),
        _ => 0,
    };
    externs.iter().map(end).max().unwrap_or(0)
}

/// Names and sections of a BTF's variables and functions.
struct BtfIndex<'a> {
    btf: &'a Btf,
    by_name: HashMap<&'a str, TypeId>,
    section: HashMap<TypeId, &'a str>,
}

impl<'a> BtfIndex<'a> {
    fn new(btf: &'a Btf) -> BtfIndex<'a> {
        let mut index = BtfIndex { btf, by_name: HashMap::new(), section: HashMap::new() };
        for (id, ty) in btf.types() {
            match ty {
                Type::Var(var) => {
                    index.by_name.entry(btf.name(var.name_off)).or_insert(id);
                }
                Type::Func(func) => {
                    index.by_name.entry(btf.name(func.name_off)).or_insert(id);
                }
                Type::DataSec(section) => {
                    for var in section.vars() {
                        index.section.entry(var.ty).or_insert(btf.name(section.name_off));
                    }
                }
                _ => {}
            }
        }
        index
    }

    fn describe(&self, name: &str, weak: bool) -> Result<ExternSpec, ExternFault> {
        let &btf_id = self.by_name.get(name).ok_or(ExternFault::NoBtfId)?;
        let (ty, is_func) = match self.btf.type_by_id(btf_id) {
            Some(Type::Var(var)) if var.linkage == VarLinkage::Extern => (var.ty, false),
            Some(Type::Func(func)) if func.linkage == FuncLinkage::Extern => (func.ty, true),
            _ => return Err(ExternFault::NotExtern),
        };
        let &section = self.section.get(&btf_id).ok_or(ExternFault::NoSection)?;
        let kind = match section {
            ".kconfig" if is_func => return Err(ExternFault::KconfigFunc),
            ".kconfig" => ExternKind::Kconfig(self.kconfig(ty)?),
            ".ksyms" if is_func => ExternKind::KsymFunc { proto_id: ty },
            ".ksyms" => match self.btf.skip_mods_and_typedefs(ty) {
                0 => ExternKind::KsymTypeless,
                type_id => ExternKind::KsymVar { type_id },
            },
            _ => return Err(ExternFault::Section { section: section.to_string() }),
        };
        Ok(ExternSpec { name: name.to_string(), weak, btf_id, kind })
    }

    fn kconfig(&self, ty: TypeId) -> Result<KconfigVar, ExternFault> {
        let (kind, signed) = self.kconfig_type(ty).ok_or(ExternFault::KconfigType)?;
        let size = self.btf.resolve_size(ty).ok().filter(|&size| (1..=MAX_KCONFIG).contains(&size));
        let align = self.btf.align_of(ty).ok().filter(|align| align.is_power_of_two());
        let (size, align) = size.zip(align).ok_or(ExternFault::KconfigType)?;
        Ok(KconfigVar { ty: kind, offset: 0, size, align, signed })
    }

    /// `find_kcfg_type`: the type and whether an integer is signed.
    fn kconfig_type(&self, ty: TypeId) -> Option<(KconfigType, bool)> {
        let is_tristate = |name_off| self.btf.name(name_off) == "libbpf_tristate";
        match self.btf.type_by_id(self.btf.skip_mods_and_typedefs(ty))? {
            Type::Int(int) if int.is_bool => (int.size == 1).then_some((KconfigType::Bool, false)),
            Type::Int(int) if int.size == 1 => Some((KconfigType::Char, int.signed)),
            Type::Int(int) => {
                matches!(int.size, 2 | 4 | 8).then_some((KconfigType::Int, int.signed))
            }
            Type::Enum(e) => {
                (e.size == 4 && is_tristate(e.name_off)).then_some((KconfigType::Tristate, false))
            }
            Type::Enum64(e) => is_tristate(e.name_off).then_some((KconfigType::Tristate, false)),
            Type::Array(array) if array.nelems > 0 => {
                match self.btf.type_by_id(self.btf.skip_mods_and_typedefs(array.elem))? {
                    Type::Int(int) if int.size == 1 && !int.is_bool => {
                        Some((KconfigType::CharArray, false))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Bytes of one kconfig value: strings of a kernel's configuration are shorter by far.
const MAX_KCONFIG: u32 = 1 << 16;
/// Bytes of the `.kconfig` map.
const MAX_KCONFIG_MAP: u32 = 1 << 24;
