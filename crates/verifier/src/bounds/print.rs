//! Scalars as the kernel's log prints them (`print_scalar_ranges`, kernel/bpf/log.c).

use super::Bounds;
use core::fmt::{self, Write};

/// One of the eight limits.
#[derive(Clone, Copy)]
struct Limit {
    name: &'static str,
    /// Signed limits as their 64-bit pattern.
    value: u64,
    omit: bool,
}

impl Limit {
    fn is_negative(&self) -> bool {
        self.name.starts_with('s') && (self.value as i64) < 0
    }
}

/// Small numbers are printed in decimal.
fn is_snum_decimal(value: i64) -> bool {
    (i16::MIN as i64..=i16::MAX as i64).contains(&value)
}

/// Writes a signed number as the log does: decimal when it fits 16 bits, else hexadecimal.
pub(crate) fn write_snum(f: &mut dyn Write, value: i64) -> fmt::Result {
    if is_snum_decimal(value) { write!(f, "{value}") } else { write!(f, "{value:#x}") }
}

/// Writes an unsigned number as the log does: decimal when it fits 16 bits, else hexadecimal.
pub(crate) fn write_unum(f: &mut dyn Write, value: u64) -> fmt::Result {
    if value <= u16::MAX as u64 { write!(f, "{value}") } else { write!(f, "{value:#x}") }
}

impl Bounds {
    fn limits(&self) -> [Limit; 8] {
        // A negative low half prints like the same 64-bit number only in decimal.
        let low =
            |v: i32| if is_snum_decimal(v as i64) { v as i64 as u64 } else { v as u32 as u64 };
        let limit = |name, value, omit| Limit { name, value, omit };
        [
            limit("smin", self.smin as u64, self.smin == i64::MIN),
            limit("smax", self.smax as u64, self.smax == i64::MAX),
            limit("umin", self.umin, self.umin == 0),
            limit("umax", self.umax, self.umax == u64::MAX),
            limit("smin32", low(self.s32_min), self.s32_min == i32::MIN),
            limit("smax32", low(self.s32_max), self.s32_max == i32::MAX),
            limit("umin32", self.u32_min as u64, self.u32_min == 0),
            limit("umax32", self.u32_max as u64, self.u32_max == u32::MAX),
        ]
    }

    /// Writes the limits that say something, equal ones joined by `=`, each after `sep`, which is
    /// a comma from the second on: `smin=umin=5,smax=umax=9`.
    pub fn write_ranges(&self, f: &mut dyn Write, sep: &mut &'static str) -> fmt::Result {
        let mut limits = self.limits();
        for n in 0..limits.len() {
            let this = limits[n];
            if this.omit {
                continue;
            }
            write!(f, "{sep}{}=", this.name)?;
            *sep = ",";
            for other in limits[n + 1..].iter_mut().skip(1).step_by(2) {
                let same = other.value == this.value && other.is_negative() == this.is_negative();
                if same && !other.omit {
                    other.omit = true;
                    write!(f, "{}=", other.name)?;
                }
            }
            if this.name.starts_with('s') {
                write_snum(f, this.value as i64)?;
            } else {
                write_unum(f, this.value)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Bounds {
    /// The inside of the log's `scalar(…)`; a constant is its number alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.const_value() {
            return write_snum(f, value as i64);
        }
        let mut sep = "";
        self.write_ranges(f, &mut sep)?;
        if !self.var_off.is_unknown() {
            write!(f, "{sep}var_off={}", self.var_off)?;
        }
        Ok(())
    }
}
