//! Letting each range and the known bits learn from the others (`reg_bounds_sync`).

use super::Bounds;
use crate::tnum::Tnum;

/// Mask of the upper half.
const HIGH: u64 = !0 << 32;

impl Bounds {
    /// Deduces what each part says about the others (`reg_bounds_sync`).
    pub fn sync(&mut self) {
        self.update_from_tnum();
        for _ in 0..3 {
            self.deduce_32();
            self.deduce_64();
            self.deduce_mixed();
        }
        self.update_tnum();
        self.update_from_tnum();
    }

    /// [`Bounds::sync`] by value.
    #[must_use]
    pub fn synced(mut self) -> Bounds {
        self.sync();
        self
    }

    /// Ranges from known bits (`__update_reg_bounds`).
    pub(super) fn update_from_tnum(&mut self) {
        self.update_32_from_tnum();
        let t = self.var_off;
        let sign = 1u64 << 63;
        self.smin = self.smin.max((t.value | (t.mask & sign)) as i64);
        self.smax = self.smax.min((t.value | (t.mask & !sign)) as i64);
        self.umin = self.umin.max(t.value);
        self.umax = self.umax.min(t.value | t.mask);
        if let Some(only) = self.only_member() {
            *self = Bounds::known(only);
        }
    }

    /// The only number of the unsigned range that fits the known bits, where the kernel finds it.
    fn only_member(&self) -> Option<u64> {
        let t = self.var_off;
        let next = t.step(self.umin);
        if t.has(self.umin) {
            return (next > self.umax).then_some(self.umin);
        }
        let last = next == t.value | t.mask;
        (last || next <= self.umax && t.step(next) > self.umax).then_some(next)
    }

    /// Ranges of the low half from known bits (`__update_reg32_bounds`).
    pub(super) fn update_32_from_tnum(&mut self) {
        let t = self.var_off.subreg();
        let (value, mask) = (t.value as u32, t.mask as u32);
        let sign = 1u32 << 31;
        self.s32_min = self.s32_min.max((value | (mask & sign)) as i32);
        self.s32_max = self.s32_max.min((value | (mask & !sign)) as i32);
        self.u32_min = self.u32_min.max(value);
        self.u32_max = self.u32_max.min(value | mask);
    }

    /// Known bits from ranges (`__reg_bound_offset`).
    fn update_tnum(&mut self) {
        let t64 = self.var_off.intersect(Tnum::range(self.umin, self.umax));
        let range32 = Tnum::range(self.u32_min as u64, self.u32_max as u64);
        self.var_off = t64.clear_subreg().or(t64.subreg().intersect(range32));
    }

    fn narrow_u32(&mut self, min: u32, max: u32) {
        self.u32_min = self.u32_min.max(min);
        self.u32_max = self.u32_max.min(max);
    }

    fn narrow_s32(&mut self, min: i32, max: i32) {
        self.s32_min = self.s32_min.max(min);
        self.s32_max = self.s32_max.min(max);
    }

    /// Ranges of the low half from the 64-bit ranges and from each other (`__reg32_deduce_bounds`).
    fn deduce_32(&mut self) {
        let (umin, umax, smin, smax) = (self.umin, self.umax, self.smin, self.smax);
        // A constant upper half leaves the lower half a range of its own.
        if umin >> 32 == umax >> 32 {
            self.narrow_u32(umin as u32, umax as u32);
            if umin as i32 <= umax as i32 {
                self.narrow_s32(umin as i32, umax as i32);
            }
        }
        if smin >> 32 == smax >> 32 {
            if smin as u32 <= smax as u32 {
                self.narrow_u32(smin as u32, smax as u32);
            }
            if smin as i32 <= smax as i32 {
                self.narrow_s32(smin as i32, smax as i32);
            }
        }
        // Two adjacent upper halves do so too, when the lower half runs from below 0 to above.
        for (min, max) in [(umin, umax), (smin as u64, smax as u64)] {
            let adjacent = ((min >> 32) as u32).wrapping_add(1) == (max >> 32) as u32;
            if adjacent && (min as i32) < 0 && max as i32 >= 0 {
                self.narrow_s32(min as i32, max as i32);
            }
        }
        // A range that does not cross the other's wrap-around is a range of the other as well.
        if self.u32_min as i32 <= self.u32_max as i32 {
            self.narrow_s32(self.u32_min as i32, self.u32_max as i32);
        }
        if self.s32_min as u32 <= self.s32_max as u32 {
            self.narrow_u32(self.s32_min as u32, self.s32_max as u32);
        } else if self.u32_max < self.s32_min as u32 {
            // Negative numbers are out of the unsigned range's reach.
            self.s32_min = self.u32_min as i32;
            self.u32_max = self.u32_max.min(self.s32_max as u32);
        } else if (self.s32_max as u32) < self.u32_min {
            // Numbers from 0 up are.
            self.s32_max = self.u32_max as i32;
            self.u32_min = self.u32_min.max(self.s32_min as u32);
        }
    }

    /// The 64-bit ranges from each other (`__reg64_deduce_bounds`).
    fn deduce_64(&mut self) {
        if self.umin as i64 <= self.umax as i64 {
            self.smin = self.smin.max(self.umin as i64);
            self.smax = self.smax.min(self.umax as i64);
        }
        if self.smin as u64 <= self.smax as u64 {
            self.umin = self.umin.max(self.smin as u64);
            self.umax = self.umax.min(self.smax as u64);
        } else if self.umax < self.smin as u64 {
            // Negative numbers are out of the unsigned range's reach.
            self.smin = self.umin as i64;
            self.umax = self.umax.min(self.smax as u64);
        } else if (self.smax as u64) < self.umin {
            // Numbers from 0 up are.
            self.smax = self.umax as i64;
            self.umin = self.umin.max(self.smin as u64);
        }
    }

    /// The 64-bit ranges from the low half's (`__reg_deduce_mixed_bounds`).
    fn deduce_mixed(&mut self) {
        let (low_min, low_max) = (self.u32_min as u64, self.u32_max as u64);
        self.umin = self.umin.max((self.umin & HIGH) | low_min);
        self.umax = self.umax.min((self.umax & HIGH) | low_max);
        self.smin = self.smin.max(((self.smin as u64 & HIGH) | low_min) as i64);
        self.smax = self.smax.min(((self.smax as u64 & HIGH) | low_max) as i64);
        // A sign-extended 32-bit number whose low half is not negative has no upper half.
        let sign_extended = self.smin >= i32::MIN as i64 && self.smax <= i32::MAX as i64;
        if self.s32_min >= 0 && sign_extended {
            (self.smin, self.smax) = (self.s32_min as i64, self.s32_max as i64);
            (self.umin, self.umax) = (self.s32_min as u64, self.s32_max as u64);
            self.var_off = self.var_off.intersect(Tnum::range(self.umin, self.umax));
        }
    }
}
