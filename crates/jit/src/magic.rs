//! Constants to divide by multiplying (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994).

/// x / d = ((x >> pre) * mul) >> (width + post), for all unsigned x of `width` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Magic {
    pub pre: u8,
    pub mul: u64,
    pub post: u8,
}

/// The constants for a divisor that is no power of two, when the multiplier fits `width` (32 or 64) bits.
pub(crate) fn magic(d: u64, width: u32) -> Option<Magic> {
    if d < 3 || d.is_power_of_two() {
        return None;
    }
    let pre = d.trailing_zeros();
    exact(d, width, 0).or_else(|| if pre > 0 { exact(d >> pre, width, pre) } else { None })
}

/// The smallest shift whose rounding error stays below one for numbers of `width - pre` bits.
fn exact(d: u64, width: u32, pre: u32) -> Option<Magic> {
    for post in 0..width.min(63) {
        let power = 1u128 << (width + post);
        let mul = power.div_ceil(u128::from(d));
        let error = mul * u128::from(d) - power;
        if mul >> width != 0 {
            return None;
        }
        if error <= 1u128 << (post + pre) {
            return Some(Magic { pre: pre as u8, mul: mul as u64, post: post as u8 });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(d: u64, width: u32, x: u64) {
        let Some(m) = magic(d, width) else { return };
        let product = u128::from(x >> m.pre) * u128::from(m.mul);
        assert_eq!((product >> (width + u32::from(m.post))) as u64, x / d, "{x} / {d}: {m:?}");
    }

    #[test]
    fn quotients_are_exact() {
        let divisors: [u64; 14] = [
            3,
            5,
            6,
            7,
            10,
            11,
            13,
            100,
            641,
            1000,
            1_000_000,
            1_000_000_000,
            0x7fff_ffff,
            0xffff_ffff,
        ];
        for d in divisors {
            for k in 0..64 {
                for delta in [-2i64, -1, 0, 1, 2] {
                    for base in [1u64 << k, d.wrapping_mul(1 << k), u64::MAX / d * d] {
                        let x = base.wrapping_add(delta as u64);
                        check(d, 64, x);
                        check(d, 32, x & 0xffff_ffff);
                    }
                }
            }
        }
    }

    #[test]
    fn common_divisors_have_constants() {
        for d in [3, 10, 1000, 1_000_000, 1_000_000_000] {
            assert!(magic(d, 64).is_some(), "{d}");
        }
        assert_eq!(magic(10, 32), Some(Magic { pre: 0, mul: 0xcccc_cccd, post: 3 }));
        assert_eq!(magic(8, 64), None);
    }
}
