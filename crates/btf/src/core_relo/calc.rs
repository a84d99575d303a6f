//! The value of a relocation on both sides.

use crate::ext::ReloKind;
use crate::types::*;
use crate::{Btf, ReloFault};

use super::spec::{Accessor, Spec, enumerator};

/// What to expect in an instruction and what to put there (`struct bpf_core_relo_res`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// What the compiler must have put there.
    pub orig: u64,
    pub new: u64,
    /// Nothing was found, and the answer cannot be 0.
    pub poison: bool,
    /// Whether the instruction must hold `orig`.
    pub validate: bool,
    /// Loads and stores cannot be given the new size.
    pub bad_mem_size: bool,
    /// Size in bytes of the field, or 0 where the size of a load does not follow it.
    pub orig_size: u32,
    pub new_size: u32,
}

/// One side of a field relocation.
#[derive(Clone, Copy)]
struct Field {
    val: u64,
    /// Size and type for loads and stores, 0 where they do not matter.
    size: u32,
    type_id: TypeId,
    validate: bool,
}

impl Value {
    fn plain(orig: u64, new: u64) -> Value {
        Value {
            orig,
            new,
            poison: false,
            validate: true,
            bad_mem_size: false,
            orig_size: 0,
            new_size: 0,
        }
    }

    fn poisoned(orig: u64) -> Value {
        Value { poison: true, ..Value::plain(orig, 0) }
    }

    /// A local type id: the linker may have renumbered it, so that what the instruction holds is no matter.
    pub(super) fn local_id(id: TypeId) -> Value {
        Value { validate: false, ..Value::plain(id.into(), id.into()) }
    }

    /// Value for the local path and the one in the target, if there is one (`bpf_core_calc_relo`).
    pub(super) fn calc(
        local_btf: &Btf,
        local: &Spec,
        target: Option<(&Btf, &Spec)>,
    ) -> Result<Value, ReloFault> {
        if local.kind.is_field_based() {
            calc_field(local_btf, local, target)
        } else if local.kind.is_type_based() {
            let orig = type_value(local_btf, local)?;
            let new = target.map_or(Ok(0), |(btf, spec)| type_value(btf, spec))?;
            let validate = local.kind != ReloKind::TypeIdTarget;
            Ok(Value { validate, ..Value::plain(orig, new) })
        } else {
            calc_enumval(local_btf, local, target)
        }
    }
}

fn type_value(btf: &Btf, spec: &Spec) -> Result<u64, ReloFault> {
    match spec.kind {
        ReloKind::TypeIdTarget => Ok(spec.root.into()),
        ReloKind::TypeExists | ReloKind::TypeMatches => Ok(1),
        ReloKind::TypeSize => Ok(size_of(btf, spec.root)?.into()),
        _ => Err(ReloFault::UnknownKind),
    }
}

fn calc_enumval(
    local_btf: &Btf,
    local: &Spec,
    target: Option<(&Btf, &Spec)>,
) -> Result<Value, ReloFault> {
    if local.kind == ReloKind::EnumvalExists {
        return Ok(Value::plain(1, target.is_some().into()));
    }
    let orig = enum_value(local_btf, local)?;
    match target {
        Some((btf, spec)) => Ok(Value::plain(orig, enum_value(btf, spec)?)),
        None => Ok(Value::poisoned(orig)),
    }
}

/// Values of 32-bit enums are sign-extended whatever the enum's sign, as libbpf does.
fn enum_value(btf: &Btf, spec: &Spec) -> Result<u64, ReloFault> {
    let acc = spec.accessors.first().ok_or(ReloFault::BadType { type_id: spec.root })?;
    let v = enumerator(btf, acc.type_id, acc.idx);
    let v = v.ok_or(ReloFault::BadType { type_id: acc.type_id })?.value;
    let small = matches!(btf.type_by_id(acc.type_id), Some(Type::Enum(_)));
    Ok(if small { i64::from(v as i32) } else { v }.cast_unsigned())
}

fn calc_field(
    local_btf: &Btf,
    local: &Spec,
    target: Option<(&Btf, &Spec)>,
) -> Result<Value, ReloFault> {
    if local.kind == ReloKind::FieldExists {
        return Ok(Value::plain(1, target.is_some().into()));
    }
    let orig = field_value(local_btf, local)?;
    let Some((btf, spec)) = target else {
        return Ok(Value { validate: orig.validate, ..Value::poisoned(orig.val) });
    };
    let new = field_value(btf, spec)?;
    Ok(Value {
        validate: orig.validate,
        bad_mem_size: orig.size != new.size
            && !can_resize(local_btf.type_by_id(orig.type_id), btf.type_by_id(new.type_id)),
        orig_size: orig.size,
        new_size: new.size,
        ..Value::plain(orig.val, new.val)
    })
}

/// A load of another size zero-extends: right for pointers and unsigned integers only.
fn can_resize(orig: Option<Type<'_>>, new: Option<Type<'_>>) -> bool {
    let plain_signed = |i: &Int| i.signed && !i.is_char && !i.is_bool;
    match (orig, new) {
        (Some(Type::Ptr(_)), Some(Type::Ptr(_))) => true,
        (Some(Type::Int(a)), Some(Type::Int(b))) => !plain_signed(&a) && !plain_signed(&b),
        _ => false,
    }
}

fn size_of(btf: &Btf, id: TypeId) -> Result<u32, ReloFault> {
    btf.resolve_size(id).map_err(|_| ReloFault::BadField { type_id: id })
}

/// Size of an element where the type is an array: loads read one at a time.
fn element_size(btf: &Btf, id: TypeId) -> Result<u32, ReloFault> {
    let mut id = btf.skip_mods_and_typedefs(id);
    while let Some(Type::Array(a)) = btf.type_by_id(id) {
        id = btf.skip_mods_and_typedefs(a.elem);
    }
    size_of(btf, id)
}

/// One side of a field relocation (`bpf_core_calc_field_relo`).
fn field_value(btf: &Btf, spec: &Spec) -> Result<Field, ReloFault> {
    let bad = ReloFault::BadField { type_id: spec.root };
    let acc = spec.accessors.last().ok_or(bad)?;
    if acc.name_off.is_none() {
        return element_value(btf, spec, acc);
    }
    let bad = ReloFault::BadField { type_id: acc.type_id };
    let owner = btf.type_by_id(acc.type_id).and_then(|t| t.composite());
    let m = owner.and_then(|c| c.member(acc.idx as usize)).ok_or(bad)?;
    let type_id = btf.skip_mods_and_typedefs(m.ty);
    let t = btf.type_by_id(type_id).ok_or(ReloFault::BadType { type_id })?;
    let bitfield = m.bitfield_size > 0;
    let (byte_off, byte_size, bits) = if bitfield {
        let (off, size) = bitfield_load(&t, spec.bit_offset, m.bitfield_size, type_id)?;
        (off, size, m.bitfield_size)
    } else {
        let size = size_of(btf, type_id)?;
        // Only shifts use the bits; fields beyond 8 bytes have no such thing.
        (spec.bit_offset / 8, size, size.saturating_mul(8))
    };
    let mut field = Field { val: 0, size: 0, type_id: 0, validate: !bitfield };
    let bit_in_load = u64::from(spec.bit_offset).wrapping_sub(u64::from(byte_off) * 8);
    match spec.kind {
        ReloKind::FieldByteOffset => {
            field.val = byte_off.into();
            if !bitfield {
                field.size = element_size(btf, type_id)?;
                field.type_id = type_id;
            }
        }
        ReloKind::FieldByteSize => field.val = byte_size.into(),
        ReloKind::FieldSigned => {
            field.val = is_signed(&t).into();
            field.validate = true;
        }
        ReloKind::FieldLshiftU64 => {
            let used = if btf.is_big_endian() {
                u64::from(byte_size).wrapping_mul(8).wrapping_sub(bit_in_load)
            } else {
                bit_in_load.wrapping_add(bits.into())
            };
            field.val = u64::from(64u32.wrapping_sub(used as u32));
        }
        ReloKind::FieldRshiftU64 => {
            field.val = u64::from(64u32.wrapping_sub(bits));
            field.validate = true;
        }
        _ => return Err(ReloFault::UnknownKind),
    }
    Ok(field)
}

/// `a[n]`: offset and size are all that can be asked.
fn element_value(btf: &Btf, spec: &Spec, acc: &Accessor) -> Result<Field, ReloFault> {
    let mut field = Field { val: 0, size: 0, type_id: 0, validate: true };
    match spec.kind {
        ReloKind::FieldByteOffset => {
            field.val = (spec.bit_offset / 8).into();
            field.size = element_size(btf, acc.type_id)?;
            field.type_id = acc.type_id;
        }
        ReloKind::FieldByteSize => field.val = size_of(btf, acc.type_id)?.into(),
        _ => return Err(ReloFault::ArrayAccess),
    }
    Ok(field)
}

/// Byte offset and size of the smallest aligned load that covers a bitfield.
fn bitfield_load(
    t: &Type<'_>,
    bit_off: u32,
    bits: u32,
    type_id: TypeId,
) -> Result<(u32, u32), ReloFault> {
    let mut size = match t {
        Type::Int(i) => i.size,
        Type::Enum(e) => e.size,
        Type::Enum64(e) => e.size,
        _ => 0,
    };
    if size == 0 {
        return Err(ReloFault::BadField { type_id });
    }
    loop {
        let off = bit_off / 8 / size * size;
        let end = u64::from(bit_off) + u64::from(bits) - u64::from(off) * 8;
        if end <= u64::from(size) * 8 {
            return Ok((off, size));
        }
        if size >= 8 {
            return Err(ReloFault::Bitfield { bits, offset: bit_off });
        }
        size *= 2;
    }
}

fn is_signed(t: &Type<'_>) -> bool {
    match t {
        Type::Int(i) => i.signed,
        Type::Enum(e) => e.signed,
        Type::Enum64(e) => e.signed,
        _ => false,
    }
}
