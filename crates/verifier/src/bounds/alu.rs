//! Transfer functions of arithmetic (`adjust_scalar_min_max_vals`).

use super::Bounds;

/// A scalar operation on two operands; `Neg` ignores the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AluOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// Unsigned `/`, and signed with offset 1: nothing is known of the result.
    Div,
    /// Unsigned `%`, and signed with offset 1: nothing is known of the result.
    Mod,
    /// `|`
    Or,
    /// `&`
    And,
    /// `^`
    Xor,
    /// `<<`
    Lsh,
    /// `>>`
    Rsh,
    /// `s>>`
    Arsh,
    /// `-dst`
    Neg,
}

impl AluOp {
    /// The operation of an opcode's high four bits; `None` for MOV, END and unknown ones.
    pub fn from_opcode(op: u8) -> Option<AluOp> {
        use stylet_insn::opcode as o;
        Some(match op {
            o::ADD => AluOp::Add,
            o::SUB => AluOp::Sub,
            o::MUL => AluOp::Mul,
            o::DIV => AluOp::Div,
            o::MOD => AluOp::Mod,
            o::OR => AluOp::Or,
            o::AND => AluOp::And,
            o::XOR => AluOp::Xor,
            o::LSH => AluOp::Lsh,
            o::RSH => AluOp::Rsh,
            o::ARSH => AluOp::Arsh,
            o::NEG => AluOp::Neg,
            _ => return None,
        })
    }
}

impl Bounds {
    /// Whether something is known of `… op src` (`is_safe_to_compute_dst_reg_range`). If not, the
    /// result is an unknown 64-bit number, of a 32-bit operation too.
    pub fn is_computable(op: AluOp, src: &Bounds, is_32: bool) -> bool {
        match op {
            AluOp::Div | AluOp::Mod => false,
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => src.shift_amount(is_32).is_some(),
            _ => true,
        }
    }

    /// `self = self op src` on 64 bits.
    #[must_use]
    pub fn alu64(self, op: AluOp, src: &Bounds) -> Bounds {
        self.alu(op, src, false)
    }

    /// `self = (u32)self op (u32)src`, the upper half cleared.
    #[must_use]
    pub fn alu32(self, op: AluOp, src: &Bounds) -> Bounds {
        self.alu(op, src, true)
    }

    /// A linked register's value: this one's plus a constant, cut to 32 bits when the link was made
    /// by 32-bit arithmetic (`sync_linked_regs`).
    #[must_use]
    pub fn plus(mut self, delta: i64, is_32: bool) -> Bounds {
        self.add(&Bounds::known(delta as u64));
        if is_32 {
            self.assign_32_into_64();
        }
        self.synced()
    }

    fn alu(mut self, op: AluOp, src: &Bounds, is_32: bool) -> Bounds {
        match op {
            AluOp::Add => self.add(src),
            AluOp::Sub => self.sub(src),
            AluOp::Neg => {
                let operand = self;
                self = Bounds::known(0);
                self.sub(&operand);
            }
            AluOp::Mul => self.mul(src),
            AluOp::And => self.and(src),
            AluOp::Or => self.or(src),
            AluOp::Xor => self.xor(src),
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => match src.shift_amount(is_32) {
                Some(shift) if is_32 => self.shift32(op, shift),
                Some(shift) => self.shift64(op, shift),
                None => return Bounds::unknown(),
            },
            AluOp::Div | AluOp::Mod => return Bounds::unknown(),
        }
        if is_32 {
            self.assign_32_into_64();
        }
        self.synced()
    }

    /// The constant by which this operand shifts, `None` when it varies or is too large.
    fn shift_amount(&self, is_32: bool) -> Option<u32> {
        let (known, bits) =
            if is_32 { (self.const_value32().is_some(), 32) } else { (self.is_const(), 64) };
        (known && self.umax < bits).then_some(self.umax as u32)
    }

    fn add(&mut self, src: &Bounds) {
        let (min, max) =
            (self.s32_min.checked_add(src.s32_min), self.s32_max.checked_add(src.s32_max));
        (self.s32_min, self.s32_max) = min.zip(max).unwrap_or((i32::MIN, i32::MAX));
        // When all sums wrap, the range stays whole; when only some do, it does not.
        let (min, min_wraps) = self.u32_min.overflowing_add(src.u32_min);
        let (max, max_wraps) = self.u32_max.overflowing_add(src.u32_max);
        (self.u32_min, self.u32_max) =
            if !min_wraps && max_wraps { (0, u32::MAX) } else { (min, max) };

        let (min, max) = (self.smin.checked_add(src.smin), self.smax.checked_add(src.smax));
        (self.smin, self.smax) = min.zip(max).unwrap_or((i64::MIN, i64::MAX));
        let (min, min_wraps) = self.umin.overflowing_add(src.umin);
        let (max, max_wraps) = self.umax.overflowing_add(src.umax);
        (self.umin, self.umax) = if !min_wraps && max_wraps { (0, u64::MAX) } else { (min, max) };
        self.var_off = self.var_off.add(src.var_off);
    }

    fn sub(&mut self, src: &Bounds) {
        let (min, max) =
            (self.s32_min.checked_sub(src.s32_max), self.s32_max.checked_sub(src.s32_min));
        (self.s32_min, self.s32_max) = min.zip(max).unwrap_or((i32::MIN, i32::MAX));
        let (min, min_wraps) = self.u32_min.overflowing_sub(src.u32_max);
        let (max, max_wraps) = self.u32_max.overflowing_sub(src.u32_min);
        (self.u32_min, self.u32_max) =
            if min_wraps && !max_wraps { (0, u32::MAX) } else { (min, max) };

        let (min, max) = (self.smin.checked_sub(src.smax), self.smax.checked_sub(src.smin));
        (self.smin, self.smax) = min.zip(max).unwrap_or((i64::MIN, i64::MAX));
        let (min, min_wraps) = self.umin.overflowing_sub(src.umax);
        let (max, max_wraps) = self.umax.overflowing_sub(src.umin);
        (self.umin, self.umax) = if min_wraps && !max_wraps { (0, u64::MAX) } else { (min, max) };
        self.var_off = self.var_off.sub(src.var_off);
    }

    fn mul(&mut self, src: &Bounds) {
        self.var_off = self.var_off.mul(src.var_off);

        let (min, max) =
            (self.u32_min.checked_mul(src.u32_min), self.u32_max.checked_mul(src.u32_max));
        (self.u32_min, self.u32_max) = min.zip(max).unwrap_or((0, u32::MAX));
        let corners = [
            self.s32_min.checked_mul(src.s32_min),
            self.s32_min.checked_mul(src.s32_max),
            self.s32_max.checked_mul(src.s32_min),
            self.s32_max.checked_mul(src.s32_max),
        ];
        (self.s32_min, self.s32_max) = hull(corners).unwrap_or((i32::MIN, i32::MAX));

        let (min, max) = (self.umin.checked_mul(src.umin), self.umax.checked_mul(src.umax));
        (self.umin, self.umax) = min.zip(max).unwrap_or((0, u64::MAX));
        let corners = [
            self.smin.checked_mul(src.smin),
            self.smin.checked_mul(src.smax),
            self.smax.checked_mul(src.smin),
            self.smax.checked_mul(src.smax),
        ];
        (self.smin, self.smax) = hull(corners).unwrap_or((i64::MIN, i64::MAX));
    }

    fn and(&mut self, src: &Bounds) {
        self.var_off = self.var_off.and(src.var_off);
        let max32 = self.u32_max.min(src.u32_max);
        let max = self.umax.min(src.umax);
        let t = self.var_off;
        self.set_bitwise32(src, t.value as u32, max32);
        self.set_bitwise64(src, t.value, max);
    }

    fn or(&mut self, src: &Bounds) {
        self.var_off = self.var_off.or(src.var_off);
        let t = self.var_off;
        let min32 = self.u32_min.max(src.u32_min);
        let min = self.umin.max(src.umin);
        self.set_bitwise32(src, min32, (t.value | t.mask) as u32);
        self.set_bitwise64(src, min, t.value | t.mask);
    }

    fn xor(&mut self, src: &Bounds) {
        self.var_off = self.var_off.xor(src.var_off);
        let t = self.var_off;
        self.set_bitwise32(src, t.value as u32, (t.value | t.mask) as u32);
        self.set_bitwise64(src, t.value, t.value | t.mask);
    }

    /// Ranges of the low half after a bitwise operation, `var_off` being the result's already.
    fn set_bitwise32(&mut self, src: &Bounds, min: u32, max: u32) {
        if let (Some(value), Some(_)) = (self.const_value32(), src.const_value32()) {
            return self.mark_reg32_known(value);
        }
        (self.u32_min, self.u32_max) = (min, max);
        let one_sign = min as i32 <= max as i32;
        (self.s32_min, self.s32_max) =
            if one_sign { (min as i32, max as i32) } else { (i32::MIN, i32::MAX) };
    }

    /// 64-bit ranges after a bitwise operation, `var_off` being the result's already.
    fn set_bitwise64(&mut self, src: &Bounds, min: u64, max: u64) {
        if let (Some(value), true) = (self.const_value(), src.is_const()) {
            *self = Bounds::known(value);
            return;
        }
        (self.umin, self.umax) = (min, max);
        let one_sign = min as i64 <= max as i64;
        (self.smin, self.smax) =
            if one_sign { (min as i64, max as i64) } else { (i64::MIN, i64::MAX) };
        self.update_from_tnum();
    }

    /// Shift of the low half by a constant below 32.
    fn shift32(&mut self, op: AluOp, shift: u32) {
        let low = self.var_off.subreg();
        match op {
            AluOp::Lsh => {
                self.lsh_ranges32(shift);
                self.var_off = low.lsh(shift).subreg();
            }
            AluOp::Rsh => {
                (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
                self.u32_min >>= shift;
                self.u32_max >>= shift;
                self.var_off = low.rsh(shift);
            }
            _ => {
                self.s32_min >>= shift;
                self.s32_max >>= shift;
                (self.u32_min, self.u32_max) = (0, u32::MAX);
                self.var_off = low.arsh32(shift);
            }
        }
        self.mark_reg64_unbounded();
        self.update_32_from_tnum();
    }

    /// Shift of 64 bits by a constant below 64.
    fn shift64(&mut self, op: AluOp, shift: u32) {
        match op {
            AluOp::Lsh => {
                self.lsh_ranges64(shift);
                self.lsh_ranges32(shift);
                self.var_off = self.var_off.lsh(shift);
            }
            AluOp::Rsh => {
                (self.smin, self.smax) = (i64::MIN, i64::MAX);
                self.umin >>= shift;
                self.umax >>= shift;
                self.mark_reg32_unbounded();
                self.var_off = self.var_off.rsh(shift);
            }
            _ => {
                self.smin >>= shift;
                self.smax >>= shift;
                (self.umin, self.umax) = (0, u64::MAX);
                self.mark_reg32_unbounded();
                self.var_off = self.var_off.arsh(shift);
            }
        }
        self.update_from_tnum();
    }

    fn lsh_ranges32(&mut self, shift: u32) {
        (self.s32_min, self.s32_max) = (i32::MIN, i32::MAX);
        if shift > 31 || self.u32_max > 1 << (31 - shift) {
            (self.u32_min, self.u32_max) = (0, u32::MAX);
        } else {
            self.u32_min <<= shift;
            self.u32_max <<= shift;
        }
    }

    fn lsh_ranges64(&mut self, shift: u32) {
        // `<< 32` and then `s>> 32` is how compilers sign-extend: keep the low half's signs.
        let keep = shift == 32;
        let low = |v: i32| (v as i64) << 32;
        self.smin = if keep && self.s32_min >= 0 { low(self.s32_min) } else { i64::MIN };
        self.smax = if keep && self.s32_max >= 0 { low(self.s32_max) } else { i64::MAX };
        if self.umax > 1 << (63 - shift) {
            (self.umin, self.umax) = (0, u64::MAX);
        } else {
            self.umin <<= shift;
            self.umax <<= shift;
        }
    }
}

/// Smallest and largest of the products, `None` when one overflowed.
fn hull<T: Ord + Copy>(corners: [Option<T>; 4]) -> Option<(T, T)> {
    let [Some(a), Some(b), Some(c), Some(d)] = corners else { return None };
    Some((a.min(b).min(c).min(d), a.max(b).max(c).max(d)))
}
