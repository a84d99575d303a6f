//! What a single type must be like, whatever it refers to (`btf_check_meta`).

use super::names::{is_identifier, is_section};
use crate::types::*;
use crate::{Btf, Fault};

/// Bits of the info word that have a meaning (`BTF_INFO_MASK` up to Linux 7.1).
const BTF_INFO_MASK: u32 = 0x9f00_ffff;
/// Bits of an integer's data word that have a meaning (`BTF_INT_MASK`).
const BTF_INT_MASK: u32 = 0x0fff_ffff;
/// Widest integer.
const BITS_PER_U128: u32 = 128;

/// Checks one type; `words` is its description.
pub(super) fn check(btf: &Btf, t: &Type<'_>, words: &[u32]) -> Result<(), Fault> {
    let &[name_off, info, arg, ref rest @ ..] = words else {
        return Err(Fault::Truncated { left: words.len() * 4, needed: 12 });
    };
    if info & !BTF_INFO_MASK != 0 {
        return Err(Fault::Info { info });
    }
    check_flags(t, info)?;
    let anonymous = |ok: bool| ensure(name_off == 0 || ok, Fault::Name);
    match *t {
        Type::Void => Ok(()),
        Type::Int(i) => check_int(&i, rest.first().copied().unwrap_or(0)),
        Type::Ptr(_) | Type::Volatile(_) | Type::Const(_) | Type::Restrict(_) => anonymous(false),
        Type::Typedef(_) => ensure(is_identifier(btf, name_off), Fault::Name),
        Type::TypeTag(_) => ensure(!btf.name(name_off).is_empty(), Fault::Name),
        Type::DeclTag(d) => {
            ensure(!btf.name(name_off).is_empty(), Fault::Name)?;
            let index = rest.first().map_or(0, |w| w.cast_signed());
            ensure(d.component.is_some() || index == -1, Fault::Component { index })
        }
        Type::Fwd(_) => {
            ensure(is_identifier(btf, name_off), Fault::Name)?;
            ensure(arg == 0, Fault::TypeId { type_id: arg })
        }
        Type::Array(a) => {
            anonymous(false)?;
            ensure(arg == 0, Fault::Size)?;
            ensure(a.elem != 0, Fault::Elem { type_id: a.elem })?;
            ensure(a.index != 0, Fault::Index { type_id: a.index })
        }
        Type::Struct(c) => {
            anonymous(is_identifier(btf, name_off)).and_then(|()| members(btf, c, false))
        }
        Type::Union(c) => {
            anonymous(is_identifier(btf, name_off)).and_then(|()| members(btf, c, true))
        }
        Type::Enum(e) => {
            enum_size(e.size)?;
            anonymous(is_identifier(btf, name_off))?;
            enumerators(btf, e.values())
        }
        Type::Enum64(e) => {
            enum_size(e.size)?;
            anonymous(is_identifier(btf, name_off))?;
            enumerators(btf, e.values())
        }
        Type::FuncProto(_) => anonymous(false),
        Type::Func(f) => {
            ensure(is_identifier(btf, name_off), Fault::Name)?;
            let linkage = info & 0xffff;
            let known = matches!(f.linkage, FuncLinkage::Static | FuncLinkage::Global);
            ensure(known, Fault::Linkage { linkage })
        }
        Type::Var(v) => {
            ensure(is_identifier(btf, name_off), Fault::Name)?;
            ensure(v.ty != 0, Fault::TypeId { type_id: v.ty })?;
            let linkage = rest.first().copied().unwrap_or(0);
            let known = matches!(v.linkage, VarLinkage::Static | VarLinkage::Global);
            ensure(known, Fault::Linkage { linkage })
        }
        Type::DataSec(d) => datasec(btf, d),
        Type::Float(f) => {
            ensure(matches!(f.size, 2 | 4 | 8 | 12 | 16), Fault::TypeSize { size: f.size })
        }
    }
}

/// The error unless it holds.
pub(super) fn ensure(holds: bool, fault: Fault) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault) }
}

/// Which kinds may have members, and which the kind flag.
fn check_flags(t: &Type<'_>, info: u32) -> Result<(), Fault> {
    use Kind::*;
    let kind = t.kind();
    // A function keeps its linkage there.
    let has_vlen = matches!(kind, Struct | Union | Enum | Enum64 | FuncProto | Func | DataSec);
    ensure(has_vlen || info & 0xffff == 0, Fault::Vlen)?;
    let has_flag = matches!(kind, Struct | Union | Enum | Enum64 | Fwd | DeclTag | TypeTag);
    ensure(has_flag || info >> 31 == 0, Fault::KindFlag)
}

fn check_int(i: &Int, data: u32) -> Result<(), Fault> {
    ensure(data & !BTF_INT_MASK == 0, Fault::IntData { data })?;
    let bits = u32::from(i.bits) + u32::from(i.offset);
    ensure(bits <= BITS_PER_U128, Fault::NrBits { max: BITS_PER_U128 })?;
    ensure(bits.div_ceil(8) <= i.size, Fault::NrBits { max: i.size.saturating_mul(8) })?;
    let encoding = (data >> 24) as u8;
    ensure(matches!(encoding, 0 | 1 | 2 | 4), Fault::Encoding { encoding })
}

fn members(btf: &Btf, c: Composite<'_>, is_union: bool) -> Result<(), Fault> {
    let mut last = 0;
    for (member, m) in (0..).zip(c.members()) {
        let named = m.name_off == 0 || is_identifier(btf, m.name_off);
        ensure(named, Fault::MemberName { member })?;
        ensure(m.ty != 0, Fault::MemberType { member, type_id: m.ty })?;
        let bits = m.bit_offset;
        let ordered = if is_union { bits == 0 } else { bits >= last };
        ensure(ordered, Fault::MemberOffset { member, bits })?;
        ensure(bits.div_ceil(8) <= c.size, Fault::MemberEnd { member })?;
        last = bits;
    }
    Ok(())
}

fn enum_size(size: u32) -> Result<(), Fault> {
    ensure(size <= 8 && size.is_power_of_two(), Fault::TypeSize { size })
}

fn enumerators(btf: &Btf, values: impl Iterator<Item = Enumerator>) -> Result<(), Fault> {
    for (index, v) in (0..).zip(values) {
        ensure(is_identifier(btf, v.name_off), Fault::EnumName { index })?;
    }
    Ok(())
}

fn datasec(btf: &Btf, d: DataSec<'_>) -> Result<(), Fault> {
    ensure(d.size != 0, Fault::TypeSize { size: 0 })?;
    ensure(is_section(btf, d.name_off), Fault::Name)?;
    let mut end = 0;
    for (var, v) in (0..).zip(d.vars()) {
        ensure(v.ty != 0, Fault::SecVar { var })?;
        ensure(v.offset >= end && v.offset < d.size, Fault::SecOffset { var })?;
        ensure(v.size != 0 && v.size <= d.size, Fault::SecSize { var })?;
        end = v.offset.checked_add(v.size).ok_or(Fault::SecOffset { var })?;
        ensure(end <= d.size, Fault::SecOffset { var })?;
    }
    Ok(())
}
