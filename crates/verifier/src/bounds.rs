//! What is known of a scalar: a tnum and four ranges, signed and unsigned, of 64 and of 32 bits
//! (the part of `struct bpf_reg_state` that `reg_bounds_sync` keeps consistent).
//!
//! The set that a [`Bounds`] stands for is the intersection of the five. A transfer function
//! ([`Bounds::alu64`], [`Bounds::alu32`]) updates each, then [`Bounds::sync`] lets each learn from
//! the others. Precision equals Linux 6.18, because what the kernel cannot deduce must be refused
//! here too.

mod alu;
mod branch;
mod deduce;
mod extend;
pub(crate) mod print;

#[cfg(test)]
mod tests;

use crate::tnum::Tnum;

pub use alu::AluOp;
pub use branch::{is_branch_taken, refine};

/// Known bits and ranges of a 64-bit value and of its low half.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// Known bits.
    pub var_off: Tnum,
    /// Smallest value, signed.
    pub smin: i64,
    /// Largest value, signed.
    pub smax: i64,
    /// Smallest value, unsigned.
    pub umin: u64,
    /// Largest value, unsigned.
    pub umax: u64,
    /// Smallest low half, signed.
    pub s32_min: i32,
    /// Largest low half, signed.
    pub s32_max: i32,
    /// Smallest low half, unsigned.
    pub u32_min: u32,
    /// Largest low half, unsigned.
    pub u32_max: u32,
}

impl Default for Bounds {
    /// Nothing known.
    fn default() -> Bounds {
        Bounds::unknown()
    }
}

impl Bounds {
    /// Any 64-bit value (`__mark_reg_unknown`).
    pub const fn unknown() -> Bounds {
        Bounds {
            var_off: Tnum::UNKNOWN,
            smin: i64::MIN,
            smax: i64::MAX,
            umin: 0,
            umax: u64::MAX,
            s32_min: i32::MIN,
            s32_max: i32::MAX,
            u32_min: 0,
            u32_max: u32::MAX,
        }
    }

    /// Exactly `value` (`___mark_reg_known`).
    pub const fn known(value: u64) -> Bounds {
        Bounds {
            var_off: Tnum::known(value),
            smin: value as i64,
            smax: value as i64,
            umin: value,
            umax: value,
            s32_min: value as i32,
            s32_max: value as i32,
            u32_min: value as u32,
            u32_max: value as u32,
        }
    }

    /// Any value of `min..=max`, signed.
    pub fn range_signed(min: i64, max: i64) -> Bounds {
        Bounds { smin: min, smax: max, ..Bounds::unknown() }.synced()
    }

    /// Any value of `min..=max`, unsigned.
    pub fn range(min: u64, max: u64) -> Bounds {
        Bounds { umin: min, umax: max, ..Bounds::unknown() }.synced()
    }

    /// What a zero-extending load of `size` bytes (1, 2, 4 or 8) gives.
    pub fn loaded(size: u32) -> Bounds {
        let mut loaded = Bounds::unknown();
        loaded.coerce_to_size(size);
        loaded
    }

    /// Whether only one value is left (`tnum_is_const`).
    pub const fn is_const(&self) -> bool {
        self.var_off.is_const()
    }

    /// The only value left.
    pub const fn const_value(&self) -> Option<u64> {
        if self.is_const() { Some(self.var_off.value) } else { None }
    }

    /// The only value left of the low half.
    pub const fn const_value32(&self) -> Option<u32> {
        if self.var_off.subreg_is_const() { Some(self.var_off.value as u32) } else { None }
    }

    /// Whether nothing at all is known.
    pub fn is_unknown(&self) -> bool {
        *self == Bounds::unknown()
    }

    /// Whether the concrete number `x` is in the set.
    pub const fn has(&self, x: u64) -> bool {
        let (s, u32, s32) = (x as i64, x as u32, x as i32);
        self.var_off.has(x)
            && self.umin <= x
            && x <= self.umax
            && self.smin <= s
            && s <= self.smax
            && self.u32_min <= u32
            && u32 <= self.u32_max
            && self.s32_min <= s32
            && s32 <= self.s32_max
    }

    /// Whether each range and the tnum of `other` lie within this one's (`range_within` and
    /// `tnum_in`, as `regsafe` asks of an old and a current state).
    pub const fn contains(&self, other: &Bounds) -> bool {
        self.range_within(other) && self.var_off.contains(other.var_off)
    }

    /// The ranges' part of [`Bounds::contains`].
    pub const fn range_within(&self, other: &Bounds) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.u32_min <= other.u32_min
            && self.u32_max >= other.u32_max
            && self.s32_min <= other.s32_min
            && self.s32_max >= other.s32_max
    }

    /// Whether the ranges and known bits contradict each other: only dead code has such a value
    /// (`reg_bounds_sanity_check`).
    pub const fn is_violated(&self) -> bool {
        if self.umin > self.umax
            || self.smin > self.smax
            || self.u32_min > self.u32_max
            || self.s32_min > self.s32_max
        {
            return true;
        }
        if self.var_off.is_const() {
            let v = self.var_off.value;
            if self.umin != v || self.umax != v || self.smin != v as i64 || self.smax != v as i64 {
                return true;
            }
        }
        if self.var_off.subreg_is_const() {
            let v = self.var_off.value as u32;
            let s = v as i32;
            return self.u32_min != v
                || self.u32_max != v
                || self.s32_min != s
                || self.s32_max != s;
        }
        false
    }

    /// Number of low bits that may be set (`fls64(umax)`).
    pub const fn width(&self) -> u32 {
        64 - self.umax.leading_zeros()
    }

    /// A value of -1 or 0 (on 64 bits, or only in its low half) that `and` or `or` combines with a
    /// constant is walked twice: `(-1, 0)` with the rest unchanged (`maybe_fork_scalars`; the 0
    /// is the branch that waits).
    pub fn fork_minus_one_or_zero(&self) -> Option<(Bounds, Bounds)> {
        if (self.smin, self.smax) == (-1, 0) {
            return Some((Bounds::known(u64::MAX), Bounds::known(0)));
        }
        if (self.s32_min, self.s32_max) != (-1, 0) {
            return None;
        }
        let (mut ones, mut zero) = (*self, *self);
        ones.mark_reg32_known(u32::MAX);
        zero.mark_reg32_known(0);
        Some((ones, zero))
    }

    fn mark_reg32_known(&mut self, value: u32) {
        self.var_off = self.var_off.with_subreg(Tnum::known(value as u64));
        (self.u32_min, self.u32_max) = (value, value);
        (self.s32_min, self.s32_max) = (value as i32, value as i32);
    }

    fn mark_reg64_unbounded(&mut self) {
        (self.smin, self.smax) = (i64::MIN, i64::MAX);
        (self.umin, self.umax) = (0, u64::MAX);
    }

    fn mark_reg32_unbounded(&mut self) {
        (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
        (self.u32_min, self.u32_max) = (0, u32::MAX);
    }

    /// Forgets the ranges, keeps the known bits (`__mark_reg_unbounded`).
    pub fn mark_unbounded(&mut self) {
        self.mark_reg64_unbounded();
        self.mark_reg32_unbounded();
    }
}
