//! Where a C compiler would put members, and the padding that moves them to where BTF says.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Btf;
use crate::resolve::Aligns;
use crate::types::*;

/// Padding that is longer than this many bits is written as an array.
const MAX_BIT_PADDING: u64 = 1024;

pub(super) struct Layout<'a> {
    btf: &'a Btf,
    /// Whether the struct must be packed for its members or its size to be so.
    pub packed: bool,
    is_union: bool,
    /// End of the last member in bits; of the longest in a union.
    end: u64,
    /// Alignment in bits that the members ask for.
    align: u64,
    size: u64,
    /// Alignment in bits of the members that are still to come, the last one first.
    rest: Vec<u64>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        btf: &'a Btf,
        id: TypeId,
        c: Composite<'_>,
        is_union: bool,
        seen: &mut Aligns,
    ) -> Layout<'a> {
        let mut natural = |id| u64::from(btf.align(id, seen).unwrap_or(1)) * 8;
        let rest: Vec<u64> = c.members().rev().map(|m| natural(m.ty)).collect();
        let align = rest.iter().copied().max().unwrap_or(8);
        // A packed struct and one of alignment 1 look the same; only the former needs the attribute.
        let packed = align > 8 && natural(id) == 8;
        let align = if packed { 8 } else { align };
        Layout { btf, packed, is_union, end: 0, align, size: u64::from(c.size) * 8, rest }
    }

    /// Padding in front of the next member.
    pub(super) fn before(&mut self, m: &Member) -> Vec<String> {
        let align = self.rest.pop().unwrap_or(8);
        let at = u64::from(m.bit_offset);
        let size = u64::from(self.btf.resolve_size(m.ty).unwrap_or(0)) * 8;
        let width = if m.bitfield_size != 0 { m.bitfield_size.into() } else { size };
        if self.is_union {
            self.end = self.end.max(width);
            return Vec::new();
        }
        let from = self.end;
        self.end = at + width;
        if self.natural(m, from, size, align) == at { Vec::new() } else { padding(from, at) }
    }

    /// Where the compiler puts a member that follows bit `from`.
    fn natural(&self, m: &Member, from: u64, size: u64, align: u64) -> u64 {
        if m.bitfield_size != 0 {
            // A bitfield does not straddle a unit of its type, unless packed.
            let fits = size == 0 || from % size + u64::from(m.bitfield_size) <= size;
            return if self.packed || fits { from } else { from.next_multiple_of(size) };
        }
        from.next_multiple_of(if self.packed { 8 } else { align })
    }

    /// Padding behind the last member.
    pub(super) fn end(&self) -> Vec<String> {
        if self.end.next_multiple_of(self.align) >= self.size {
            return Vec::new();
        }
        if self.is_union {
            return alloc::vec![format!("char __pad[{}]", self.size / 8)];
        }
        padding(self.end, self.size)
    }
}

/// Unnamed bitfields from one bit to another: these do not change the struct's alignment.
fn padding(mut from: u64, to: u64) -> Vec<String> {
    let mut pads = Vec::new();
    while from < to {
        let left = to - from;
        if left > MAX_BIT_PADDING && from.is_multiple_of(8) {
            pads.push(format!("char __pad{}[{}]", from / 8, left / 8));
            from += left / 8 * 8;
            continue;
        }
        let units = [("long long", 64), ("int", 32), ("short", 16), ("char", 8)];
        let whole = |&(_, bits): &(&str, u64)| from.is_multiple_of(bits) && left >= bits;
        let (name, bits) = units.into_iter().find(whole).unwrap_or(("char", 8));
        let width = left.min(bits - from % bits);
        pads.push(format!("{name}: {width}"));
        from += width;
    }
    pads
}
