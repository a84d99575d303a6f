//! Truncation, zero and sign extension.

use super::Bounds;
use crate::tnum::Tnum;

impl Bounds {
    /// Keeps the low `size` bytes (1, 2, 4; 8 changes nothing), the rest 0 (`coerce_reg_to_size`).
    pub fn coerce_to_size(&mut self, size: u32) {
        if size >= 8 {
            return;
        }
        self.var_off = self.var_off.cast(size);
        let mask = (1u64 << (size * 8)) - 1;
        if self.umin & !mask == self.umax & !mask {
            self.umin &= mask;
            self.umax &= mask;
        } else {
            (self.umin, self.umax) = (0, mask);
        }
        (self.smin, self.smax) = (self.umin as i64, self.umax as i64);
        if size < 4 {
            self.mark_reg32_unbounded();
        }
        self.sync();
    }

    /// `bswap16` and so on (`scalar_byte_swap`): reverses the low `size` bytes (2, 4 or 8), the rest 0.
    pub fn byte_swap(&mut self, size: u32) {
        self.var_off = self.var_off.bswap(size);
        self.mark_unbounded();
        self.sync();
    }

    /// Clears the upper half and takes the 64-bit ranges from the low half's (`zext_32_to_64`);
    /// [`Bounds::sync`] must follow.
    pub(super) fn assign_32_into_64(&mut self) {
        self.var_off = self.var_off.subreg();
        (self.umin, self.umax) = (self.u32_min as u64, self.u32_max as u64);
        let positive = self.s32_min >= 0 && self.s32_max >= 0;
        (self.smin, self.smax) = if positive {
            (self.s32_min as i64, self.s32_max as i64)
        } else {
            (0, u32::MAX as i64)
        };
    }

    /// `w = w`: clears the upper half.
    pub fn zext32(&mut self) {
        self.assign_32_into_64();
        self.sync();
    }

    /// Sign-extends the low `size` bytes (1, 2 or 4) to 64 bits (`coerce_reg_to_size_sx`).
    pub fn sext(&mut self, size: u32) {
        if size >= 8 {
            return;
        }
        let drop = 64 - size * 8;
        let extend = |v: u64| (v << drop) as i64 >> drop;
        if let Some(value) = self.const_value() {
            *self = Bounds::known(extend(value) as u64);
            return;
        }
        let bits = size * 8;
        if self.smin as u64 >> bits == self.smax as u64 >> bits {
            let (a, b) = (extend(self.smin as u64), extend(self.smax as u64));
            let (min, max) = (a.min(b), a.max(b));
            if (min >= 0) == (max >= 0) {
                self.set_both(min, max);
                self.var_off = Tnum::range(min as u64, max as u64);
                return;
            }
        }
        let half = 1i64 << (bits - 1);
        *self = Bounds {
            smin: -half,
            smax: half - 1,
            s32_min: -half as i32,
            s32_max: (half - 1) as i32,
            ..Bounds::unknown()
        };
    }

    /// Sign-extends the low `size` bytes (1 or 2) to 32 bits and clears the upper half
    /// (`coerce_subreg_to_size_sx`, then `zext_32_to_64`).
    pub fn sext32(&mut self, size: u32) {
        self.sext_low_half(size);
        self.zext32();
    }

    fn sext_low_half(&mut self, size: u32) {
        if size >= 4 {
            return;
        }
        let bits = size * 8;
        let drop = 32 - bits;
        let extend = |v: u32| (v << drop) as i32 >> drop;
        if let Some(value) = self.const_value() {
            self.mark_reg32_known(extend(value as u32) as u32);
            return;
        }
        if self.s32_min as u32 >> bits == self.s32_max as u32 >> bits {
            let (a, b) = (extend(self.s32_min as u32), extend(self.s32_max as u32));
            let (min, max) = (a.min(b), a.max(b));
            if (min >= 0) == (max >= 0) {
                (self.s32_min, self.s32_max) = (min, max);
                (self.u32_min, self.u32_max) = (min as u32, max as u32);
                self.var_off = Tnum::range(min as i64 as u64, max as i64 as u64).subreg();
                return;
            }
        }
        let half = 1i32 << (bits - 1);
        (self.s32_min, self.s32_max) = (-half, half - 1);
        (self.u32_min, self.u32_max) = (0, u32::MAX);
        self.var_off = Tnum::UNKNOWN.subreg();
    }

    fn set_both(&mut self, min: i64, max: i64) {
        (self.smin, self.smax) = (min, max);
        (self.umin, self.umax) = (min as u64, max as u64);
        (self.s32_min, self.s32_max) = (min as i32, max as i32);
        (self.u32_min, self.u32_max) = (min as u32, max as u32);
    }
}
