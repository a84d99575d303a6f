//! From bytes to values.

use alloc::vec::Vec;

use super::Value;
use crate::types::*;
use crate::{Btf, TypeId};

/// Values that may be made of no bytes, and of each byte: unions make several of one. The bound lets
/// hostile types (empty structs in empty structs) come to an end.
const MIN_VALUES: u32 = 1 << 14;
const VALUES_PER_BYTE: u32 = 64;

pub(super) struct Decoder<'a> {
    btf: &'a Btf,
    bytes: &'a [u8],
    left: u32,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(btf: &'a Btf, bytes: &'a [u8]) -> Decoder<'a> {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let left = len.saturating_mul(VALUES_PER_BYTE).saturating_add(MIN_VALUES);
        Decoder { btf, bytes, left }
    }

    /// Value of type `id` at byte `at`.
    pub(super) fn value(&mut self, id: TypeId, at: usize) -> Value<'a> {
        let Some(left) = self.left.checked_sub(1) else { return Value::Missing };
        self.left = left;
        let btf = self.btf;
        let id = btf.skip_mods_and_typedefs(id);
        match btf.type_by_id(id) {
            Some(Type::Int(i)) => self.int(&i, at),
            Some(Type::Float(f)) => self.float(f.size, at),
            Some(Type::Ptr(_)) => self
                .bits(at, 0, btf.pointer_size() * 8)
                .map_or(Value::Missing, |v| Value::Ptr(v as u64)),
            Some(Type::Enum(e)) => self.enumeration(e.size, e.signed, e.values(), at, 0, 0),
            Some(Type::Enum64(e)) => self.enumeration(e.size, e.signed, e.values(), at, 0, 0),
            Some(Type::Struct(c) | Type::Union(c)) => {
                let mut members = Vec::new();
                self.members(c, at, &mut members);
                Value::Struct(members)
            }
            Some(Type::Array(a)) => self.array(&a, at),
            Some(Type::Var(v)) => self.value(v.ty, at),
            Some(Type::DataSec(d)) => {
                let var = |v: SecVar| {
                    (btf.type_name(v.ty), self.value(v.ty, at.saturating_add(v.offset as usize)))
                };
                Value::Struct(d.vars().map(var).collect())
            }
            _ => Value::Bytes(self.bytes.get(at..).unwrap_or(&[])),
        }
    }

    fn members(&mut self, c: Composite<'a>, at: usize, out: &mut Vec<(&'a str, Value<'a>)>) {
        for m in c.members() {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            let byte = at.saturating_add(m.bit_offset as usize / 8);
            let name = self.btf.name(m.name_off);
            let inner = self.btf.type_by_id(self.btf.skip_mods_and_typedefs(m.ty));
            match inner.and_then(|t| t.composite()) {
                Some(inner) if name.is_empty() => self.members(inner, byte, out),
                _ if m.bitfield_size != 0 => out.push((name, self.bitfield(&m, at))),
                _ => out.push((name, self.value(m.ty, byte))),
            }
        }
    }

    fn bitfield(&self, m: &Member, at: usize) -> Value<'a> {
        let byte = at.saturating_add(m.bit_offset as usize / 8);
        let (shift, width) = (m.bit_offset % 8, m.bitfield_size);
        let id = self.btf.skip_mods_and_typedefs(m.ty);
        match self.btf.type_by_id(id) {
            Some(Type::Int(i)) => self.int_bits(&i, byte, shift, width),
            Some(Type::Enum(e)) => {
                self.enumeration(e.size, e.signed, e.values(), byte, shift, width)
            }
            Some(Type::Enum64(e)) => {
                self.enumeration(e.size, e.signed, e.values(), byte, shift, width)
            }
            _ => Value::Missing,
        }
    }

    fn int(&self, i: &Int, at: usize) -> Value<'a> {
        if u32::from(i.bits) == i.size.saturating_mul(8) && i.offset == 0 {
            return self.int_bits(i, at, 0, i.bits.into());
        }
        // A legacy bitfield: an integer type of fewer bits than its size.
        self.int_bits(
            i,
            at.saturating_add(usize::from(i.offset / 8)),
            u32::from(i.offset % 8),
            i.bits.into(),
        )
    }

    fn int_bits(&self, i: &Int, at: usize, shift: u32, width: u32) -> Value<'a> {
        let Some(raw) = self.bits(at, shift, width) else { return Value::Missing };
        if i.is_bool {
            Value::Bool(raw != 0)
        } else if is_char(self.btf, i) {
            Value::Char(raw as u8)
        } else if i.signed {
            Value::Int(sign_extend(raw, width))
        } else {
            Value::UInt(raw)
        }
    }

    fn float(&self, size: u32, at: usize) -> Value<'a> {
        let raw = self.bits(at, 0, size.saturating_mul(8));
        match (raw, size) {
            (Some(raw), 4) => Value::Float(f32::from_bits(raw as u32).into()),
            (Some(raw), 8) => Value::Float(f64::from_bits(raw as u64)),
            (Some(_), _) => Value::Bytes(self.bytes.get(at..at + size as usize).unwrap_or(&[])),
            (None, _) => Value::Missing,
        }
    }

    /// `width` 0 stands for the whole of the enum's size.
    fn enumeration(
        &self,
        size: u32,
        signed: bool,
        mut values: impl Iterator<Item = Enumerator>,
        at: usize,
        shift: u32,
        width: u32,
    ) -> Value<'a> {
        let width = if width == 0 { size.saturating_mul(8) } else { width };
        let Some(raw) = self.bits(at, shift, width) else { return Value::Missing };
        let val = if signed { sign_extend(raw, width) } else { raw.cast_signed() };
        let value_of = |v: &Enumerator| {
            if signed { v.value.into() } else { i128::from(v.value.cast_unsigned()) }
        };
        let name = values.find(|v| value_of(v) == val).map(|v| self.btf.name(v.name_off));
        Value::Enum { name, val }
    }

    fn array(&mut self, a: &Array, at: usize) -> Value<'a> {
        let elem = self.btf.type_by_id(self.btf.skip_mods_and_typedefs(a.elem));
        let size = self.btf.resolve_size(a.elem).unwrap_or(0) as usize;
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        if matches!(elem, Some(Type::Int(i)) if is_char(self.btf, &i)) {
            let len = if a.nelems == 0 { rest.len() } else { rest.len().min(a.nelems as usize) };
            return text(&rest[..len], rest.is_empty() && a.nelems != 0);
        }
        if size == 0 {
            return Value::Array(Vec::new());
        }
        let count = if a.nelems == 0 { rest.len() / size } else { a.nelems as usize };
        let mut elems = Vec::new();
        for i in 0..count {
            let offset = i * size;
            if offset >= rest.len() || self.left == 0 {
                elems.push(Value::Missing);
                break;
            }
            elems.push(self.value(a.elem, at + offset));
        }
        Value::Array(elems)
    }

    /// `width` bits, from bit `shift` of byte `at`: in a little-endian set bits count from
    /// the least significant one, in a big-endian set from the most significant one.
    fn bits(&self, at: usize, shift: u32, width: u32) -> Option<u128> {
        if width == 0 || width > 128 || shift + width > 128 {
            return None;
        }
        let len = (shift + width).div_ceil(8);
        let bytes = self.bytes.get(at..at.checked_add(len as usize)?)?;
        let mask = u128::MAX >> (128 - width);
        if self.btf.is_big_endian() {
            let raw = bytes.iter().fold(0, |raw: u128, &b| raw << 8 | u128::from(b));
            Some(raw >> (len * 8 - shift - width) & mask)
        } else {
            let raw = bytes.iter().rev().fold(0, |raw: u128, &b| raw << 8 | u128::from(b));
            Some(raw >> shift & mask)
        }
    }
}

fn sign_extend(raw: u128, width: u32) -> i128 {
    let unused = 128 - width.clamp(1, 128);
    (raw << unused).cast_signed() >> unused
}

/// Compilers mark `char` by its name only.
fn is_char(btf: &Btf, i: &Int) -> bool {
    i.size == 1 && !i.is_bool && (i.is_char || btf.name(i.name_off) == "char")
}

fn text(bytes: &[u8], missing: bool) -> Value<'_> {
    if missing {
        return Value::Missing;
    }
    let until_nul = bytes.iter().position(|&b| b == 0).map(|end| &bytes[..end]);
    match until_nul.map(core::str::from_utf8) {
        Some(Ok(text)) => Value::Str(text),
        _ => Value::Bytes(bytes),
    }
}
