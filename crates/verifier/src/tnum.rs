//! Tristate numbers: what is known of each bit of a value (kernel/bpf/tnum.c).
//!
//! A tnum stands for the set `{ x : x & !mask == value }`. Every operation returns a tnum whose set
//! contains the result for each pair of members.

use core::fmt;

/// Each bit is 0, 1 (in `value`) or unknown (in `mask`). `value & mask` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tnum {
    /// Bits known to be 1.
    pub value: u64,
    /// Bits not known.
    pub mask: u64,
}

impl Tnum {
    /// Any 64-bit value.
    pub const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// Exactly `value`.
    pub const fn known(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// The smallest tnum with every number of `min..=max`.
    pub const fn range(min: u64, max: u64) -> Tnum {
        let bits = 64 - (min ^ max).leading_zeros();
        if bits == 64 {
            return Tnum::UNKNOWN;
        }
        let delta = (1u64 << bits) - 1;
        Tnum { value: min & !delta, mask: delta }
    }

    const fn new(value: u64, mask: u64) -> Tnum {
        Tnum { value: value & !mask, mask }
    }

    /// Whether only one value is left.
    pub const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// Whether nothing is known.
    pub const fn is_unknown(self) -> bool {
        self.mask == u64::MAX
    }

    /// Whether a concrete number is in the set.
    pub const fn has(self, x: u64) -> bool {
        x & !self.mask == self.value
    }

    /// Whether every member of `other` is in this set (`tnum_in(self, other)`).
    pub const fn contains(self, other: Tnum) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// Whether the two sets may share a member (`tnum_overlap`).
    pub const fn overlaps(self, other: Tnum) -> bool {
        let both = !self.mask & !other.mask;
        self.value & both == other.value & both
    }

    /// The smallest member above `x`, or the largest member when there is none (`tnum_step`).
    pub const fn step(self, x: u64) -> u64 {
        let largest = self.value | self.mask;
        if x >= largest {
            return largest;
        }
        if x < self.value {
            return self.value;
        }
        let next = x + 1;
        let wrong = (next ^ self.value) & !self.mask;
        if wrong == 0 {
            return next;
        }
        let top = 1u64 << (63 - wrong.leading_zeros());
        if self.value & top != 0 {
            return self.value | (next & self.mask & !(top - 1));
        }
        // Members have a 0 where `next` has its first wrong 1: carry into the next unknown 0.
        let free = self.mask & !next & !(top - 1);
        let carry = free & free.wrapping_neg();
        self.value | carry | (next & self.mask & !(carry - 1))
    }

    /// Whether every member is a multiple of `size`, a power of two or 0.
    pub const fn is_aligned(self, size: u64) -> bool {
        size == 0 || (self.value | self.mask) & (size - 1) == 0
    }

    /// What both sets say; meaningless when they do not overlap.
    #[must_use]
    pub const fn intersect(self, other: Tnum) -> Tnum {
        Tnum::new(self.value | other.value, self.mask & other.mask)
    }

    /// The smallest tnum that holds both sets.
    #[must_use]
    pub const fn union(self, other: Tnum) -> Tnum {
        let mask = (self.value ^ other.value) | self.mask | other.mask;
        Tnum::new(self.value & other.value, mask)
    }

    /// The low `size` bytes, the rest 0.
    #[must_use]
    pub const fn cast(self, size: u32) -> Tnum {
        let keep = if size >= 8 { u64::MAX } else { (1u64 << (size * 8)) - 1 };
        Tnum { value: self.value & keep, mask: self.mask & keep }
    }

    /// The low 32 bits, the rest 0.
    #[must_use]
    pub const fn subreg(self) -> Tnum {
        self.cast(4)
    }

    /// The same with the low 32 bits 0.
    #[must_use]
    pub const fn clear_subreg(self) -> Tnum {
        self.rsh(32).lsh(32)
    }

    /// The same with the low 32 bits of `subreg`.
    #[must_use]
    pub const fn with_subreg(self, subreg: Tnum) -> Tnum {
        self.clear_subreg().or(subreg.subreg())
    }

    /// Whether the low 32 bits are known.
    pub const fn subreg_is_const(self) -> bool {
        self.subreg().is_const()
    }

    /// `self << shift`, shift below 64.
    #[must_use]
    pub const fn lsh(self, shift: u32) -> Tnum {
        Tnum { value: self.value << shift, mask: self.mask << shift }
    }

    /// `self >> shift`, shift below 64.
    #[must_use]
    pub const fn rsh(self, shift: u32) -> Tnum {
        Tnum { value: self.value >> shift, mask: self.mask >> shift }
    }

    /// Arithmetic shift right of the 64-bit value, shift below 64.
    #[must_use]
    pub const fn arsh(self, shift: u32) -> Tnum {
        let value = (self.value as i64 >> shift) as u64;
        Tnum { value, mask: (self.mask as i64 >> shift) as u64 }
    }

    /// Arithmetic shift right of the low 32 bits, shift below 32; the upper bits are 0.
    #[must_use]
    pub const fn arsh32(self, shift: u32) -> Tnum {
        let value = (self.value as i32 >> shift) as u32 as u64;
        Tnum { value, mask: (self.mask as i32 >> shift) as u32 as u64 }
    }

    /// The bytes of the low `size` bytes (2, 4 or 8) reversed, the rest 0 (`tnum_bswap16` and so on).
    #[must_use]
    pub const fn bswap(self, size: u32) -> Tnum {
        let drop = 64 - size * 8;
        Tnum { value: self.value.swap_bytes() >> drop, mask: self.mask.swap_bytes() >> drop }
    }

    /// Sum, wrapping.
    #[must_use]
    pub const fn add(self, other: Tnum) -> Tnum {
        let value = self.value.wrapping_add(other.value);
        let most = value.wrapping_add(self.mask.wrapping_add(other.mask));
        Tnum::new(value, (most ^ value) | self.mask | other.mask)
    }

    /// Difference, wrapping.
    #[must_use]
    pub const fn sub(self, other: Tnum) -> Tnum {
        let value = self.value.wrapping_sub(other.value);
        let most = value.wrapping_add(self.mask);
        let least = value.wrapping_sub(other.mask);
        Tnum::new(value, (most ^ least) | self.mask | other.mask)
    }

    /// Two's complement negation.
    #[must_use]
    pub const fn neg(self) -> Tnum {
        Tnum::known(0).sub(self)
    }

    /// Bitwise and.
    #[must_use]
    pub const fn and(self, other: Tnum) -> Tnum {
        let value = self.value & other.value;
        let may = (self.value | self.mask) & (other.value | other.mask);
        Tnum { value, mask: may & !value }
    }

    /// Bitwise or.
    #[must_use]
    pub const fn or(self, other: Tnum) -> Tnum {
        let value = self.value | other.value;
        Tnum { value, mask: (self.mask | other.mask) & !value }
    }

    /// Bitwise exclusive or.
    #[must_use]
    pub const fn xor(self, other: Tnum) -> Tnum {
        Tnum::new(self.value ^ other.value, self.mask | other.mask)
    }

    /// Product, wrapping: long multiplication, where an unknown bit of `self` adds `other` or not.
    #[must_use]
    pub const fn mul(self, other: Tnum) -> Tnum {
        let (mut a, mut b) = (self, other);
        let mut sum = Tnum::known(0);
        while a.value | a.mask != 0 {
            if a.value & 1 != 0 {
                sum = sum.add(b);
            } else if a.mask & 1 != 0 {
                sum = sum.union(sum.add(b));
            }
            a = a.rsh(1);
            b = b.lsh(1);
        }
        sum
    }
}

impl fmt::Display for Tnum {
    /// As in the kernel's log: `(0x0; 0xff)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:#x}; {:#x})", self.value, self.mask)
    }
}

impl fmt::Debug for Tnum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const BITS: u32 = 4;
    const LOW: u64 = (1 << BITS) - 1;

    fn all() -> Vec<Tnum> {
        let pairs = (0..=LOW).flat_map(|value| (0..=LOW).map(move |mask| Tnum { value, mask }));
        pairs.filter(|t| t.value & t.mask == 0).collect()
    }

    fn members(t: Tnum) -> impl Iterator<Item = u64> {
        (0..=LOW).filter(move |x| t.has(*x))
    }

    type Op = (fn(Tnum, Tnum) -> Tnum, fn(u64, u64) -> u64);

    #[test]
    fn binary_operations_hold_every_result() {
        let ops: [Op; 6] = [
            (Tnum::add, u64::wrapping_add),
            (Tnum::sub, u64::wrapping_sub),
            (Tnum::mul, u64::wrapping_mul),
            (Tnum::and, |a, b| a & b),
            (Tnum::or, |a, b| a | b),
            (Tnum::xor, |a, b| a ^ b),
        ];
        for (op, concrete) in ops {
            for a in all() {
                for b in all() {
                    let r = op(a, b);
                    assert_eq!(r.value & r.mask, 0);
                    for x in members(a) {
                        for y in members(b) {
                            assert!(r.has(concrete(x, y)), "{a} {b}: {r} lacks {x} op {y}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bitwise_add_and_sub_are_the_best() {
        let best = |results: &mut dyn Iterator<Item = u64>| {
            results.map(Tnum::known).reduce(Tnum::union).expect("at least one member")
        };
        let ops: [Op; 5] = [
            (Tnum::add, u64::wrapping_add),
            (Tnum::sub, u64::wrapping_sub),
            (Tnum::and, |a, b| a & b),
            (Tnum::or, |a, b| a | b),
            (Tnum::xor, |a, b| a ^ b),
        ];
        for (op, concrete) in ops {
            for a in all() {
                for b in all() {
                    let pairs = members(a).flat_map(|x| members(b).map(move |y| (x, y)));
                    let expect = best(&mut pairs.map(|(x, y)| concrete(x, y)));
                    assert_eq!(op(a, b), expect, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn set_relations_agree_with_membership() {
        for a in all() {
            for b in all() {
                let shared = members(a).any(|x| b.has(x));
                assert_eq!(a.overlaps(b), shared, "{a} {b}");
                assert_eq!(a.contains(b), members(b).all(|x| a.has(x)), "{a} {b}");
                if shared {
                    let both: Vec<u64> = members(a).filter(|x| b.has(*x)).collect();
                    assert_eq!(members(a.intersect(b)).collect::<Vec<_>>(), both);
                }
            }
        }
    }

    #[test]
    fn range_holds_its_numbers_and_shares_their_prefix() {
        for min in 0..64u64 {
            for max in min..64 {
                let t = Tnum::range(min, max);
                assert!((min..=max).all(|x| t.has(x)));
                assert_eq!(t, (min..=max).map(Tnum::known).reduce(Tnum::union).unwrap());
            }
        }
        assert_eq!(Tnum::range(0, u64::MAX), Tnum::UNKNOWN);
        assert_eq!(Tnum::range(7, 7), Tnum::known(7));
    }

    #[test]
    fn step_finds_the_next_member() {
        for t in all() {
            for x in 0..=LOW {
                let largest = t.value | t.mask;
                assert_eq!(t.step(x), members(t).find(|y| *y > x).unwrap_or(largest), "{t} {x}");
            }
        }
    }

    #[test]
    fn shifts_move_sign_bits() {
        let t = Tnum { value: 1 << 63, mask: 1 << 62 };
        assert_eq!(t.arsh(1), Tnum { value: 3 << 62, mask: 1 << 61 });
        let unknown_sign = Tnum { value: 0, mask: 1 << 31 };
        assert_eq!(unknown_sign.arsh32(4), Tnum { value: 0, mask: 0xf800_0000 });
        assert_eq!(Tnum::UNKNOWN.with_subreg(Tnum::known(5)), Tnum { value: 5, mask: !0 << 32 });
    }

    #[test]
    fn prints_as_the_kernel() {
        assert_eq!(alloc::format!("{}", Tnum { value: 0, mask: 0xff }), "(0x0; 0xff)");
    }
}
