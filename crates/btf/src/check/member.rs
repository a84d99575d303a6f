//! Where a member may lie in its struct (the `check_member` operations).

use super::meta::ensure;
use super::refs::is_regular;
use crate::types::*;
use crate::{Btf, Fault};

/// Bits that one bitfield may span from the start of its first byte.
const BITS_PER_U128: u64 = 128;
/// Bits of a bitfield of an enum, also of a 64-bit one.
const BITS_PER_INT: u32 = 32;

/// Checks one member whose type has a size.
pub(super) fn check(btf: &Btf, c: Composite<'_>, member: u32, m: &Member) -> Result<(), Fault> {
    let id = btf.skip_mods_and_typedefs(m.ty);
    match btf.type_by_id(id) {
        Some(Type::Int(i)) => int(&i, c, member, m),
        Some(Type::Enum(Enum { size, .. }) | Type::Enum64(Enum64 { size, .. })) => {
            enumeration(size, c, member, m)
        }
        t => {
            ensure(m.bitfield_size == 0, Fault::MemberBits { member, bits: m.bitfield_size })?;
            let size = btf.resolve_size(id).map_err(|_| Fault::Overflow)?;
            whole_bytes(c, member, m, size)?;
            let Some(Type::Float(f)) = t else { return Ok(()) };
            let align = f.size.min(btf.pointer_size()).max(1);
            let aligned = (m.bit_offset / 8).is_multiple_of(align);
            ensure(aligned, Fault::MemberOffset { member, bits: m.bit_offset })
        }
    }
}

fn int(i: &Int, c: Composite<'_>, member: u32, m: &Member) -> Result<(), Fault> {
    let (mut start, mut bits) = (u64::from(m.bit_offset), u32::from(i.bits));
    if c.kind_flag {
        ensure(is_regular(i), Fault::MemberType { member, type_id: m.ty })?;
        if m.bitfield_size == 0 {
            let aligned = start.is_multiple_of(8);
            ensure(aligned, Fault::MemberOffset { member, bits: m.bit_offset })?;
        } else {
            ensure(m.bitfield_size <= bits, Fault::MemberBits { member, bits: m.bitfield_size })?;
            bits = m.bitfield_size;
        }
    } else {
        start += u64::from(i.offset);
    }
    let span = start % 8 + u64::from(bits);
    ensure(span <= BITS_PER_U128, Fault::MemberBits { member, bits })?;
    ensure(start / 8 + span.div_ceil(8) <= u64::from(c.size), Fault::MemberEnd { member })
}

fn enumeration(size: u32, c: Composite<'_>, member: u32, m: &Member) -> Result<(), Fault> {
    if !c.kind_flag {
        return whole_bytes(c, member, m, size);
    }
    let start = u64::from(m.bit_offset);
    let bits = if m.bitfield_size == 0 {
        ensure(start.is_multiple_of(8), Fault::MemberOffset { member, bits: m.bit_offset })?;
        BITS_PER_INT
    } else {
        ensure(
            m.bitfield_size <= BITS_PER_INT,
            Fault::MemberBits { member, bits: m.bitfield_size },
        )?;
        m.bitfield_size
    };
    let end = (start + u64::from(bits)).div_ceil(8);
    ensure(end <= u64::from(c.size), Fault::MemberEnd { member })
}

fn whole_bytes(c: Composite<'_>, member: u32, m: &Member, size: u32) -> Result<(), Fault> {
    let bits = m.bit_offset;
    ensure(bits.is_multiple_of(8), Fault::MemberOffset { member, bits })?;
    let end = u64::from(bits / 8) + u64::from(size);
    ensure(end <= u64::from(c.size), Fault::MemberEnd { member })
}
