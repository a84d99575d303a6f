//! Conditional jumps: predicting them (`is_scalar_branch_taken`) and learning from them
//! (`regs_refine_cond_op`).

use super::Bounds;
use crate::tnum::Tnum;
use stylet_insn::opcode as o;

/// A comparison, or its opposite for the path where the jump is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cond {
    Eq,
    Ne,
    Set,
    NotSet,
    Lt,
    Le,
    Gt,
    Ge,
    Slt,
    Sle,
    Sgt,
    Sge,
}

impl Cond {
    fn new(op: u8, taken: bool) -> Option<Cond> {
        let cond = match op {
            o::JEQ => Cond::Eq,
            o::JNE => Cond::Ne,
            o::JSET => Cond::Set,
            o::JLT => Cond::Lt,
            o::JLE => Cond::Le,
            o::JGT => Cond::Gt,
            o::JGE => Cond::Ge,
            o::JSLT => Cond::Slt,
            o::JSLE => Cond::Sle,
            o::JSGT => Cond::Sgt,
            o::JSGE => Cond::Sge,
            _ => return None,
        };
        Some(if taken { cond } else { cond.opposite() })
    }

    fn opposite(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Set => Cond::NotSet,
            Cond::NotSet => Cond::Set,
            Cond::Lt => Cond::Ge,
            Cond::Ge => Cond::Lt,
            Cond::Le => Cond::Gt,
            Cond::Gt => Cond::Le,
            Cond::Slt => Cond::Sge,
            Cond::Sge => Cond::Slt,
            Cond::Sle => Cond::Sgt,
            Cond::Sgt => Cond::Sle,
        }
    }
}

/// The ranges that a comparison of one width looks at.
#[derive(Clone, Copy)]
struct View {
    t: Tnum,
    umin: u64,
    umax: u64,
    smin: i64,
    smax: i64,
}

impl View {
    fn new(b: &Bounds, is_jmp32: bool) -> View {
        if is_jmp32 {
            let (umin, umax) = (b.u32_min as u64, b.u32_max as u64);
            let (smin, smax) = (b.s32_min as i64, b.s32_max as i64);
            View { t: b.var_off.subreg(), umin, umax, smin, smax }
        } else {
            View { t: b.var_off, umin: b.umin, umax: b.umax, smin: b.smin, smax: b.smax }
        }
    }

    fn disjoint(&self, other: &View) -> bool {
        !self.t.overlaps(other.t)
            || self.umin > other.umax
            || self.umax < other.umin
            || self.smin > other.smax
            || self.smax < other.smin
    }
}

/// Which way `if a op b` goes: `Some(true)` when it is always taken, `None` when that is not known.
/// `op` is the opcode's high four bits; an opcode that is no comparison gives `None`.
pub fn is_branch_taken(op: u8, is_jmp32: bool, a: &Bounds, b: &Bounds) -> Option<bool> {
    let (x, y) = (View::new(a, is_jmp32), View::new(b, is_jmp32));
    match Cond::new(op, true)? {
        Cond::Eq => equal(&x, &y, is_jmp32, a, b),
        Cond::Ne => equal(&x, &y, is_jmp32, a, b).map(|eq| !eq),
        Cond::Set | Cond::NotSet => {
            let (t, bits) = if y.t.is_const() { (x.t, y.t) } else { (y.t, x.t) };
            if !bits.is_const() {
                None
            } else if t.value & bits.value != 0 {
                Some(true)
            } else if (t.value | t.mask) & bits.value == 0 {
                Some(false)
            } else {
                None
            }
        }
        Cond::Gt => less(y.umin, y.umax, x.umin, x.umax),
        Cond::Lt => less(x.umin, x.umax, y.umin, y.umax),
        Cond::Ge => less(x.umin, x.umax, y.umin, y.umax).map(|lt| !lt),
        Cond::Le => less(y.umin, y.umax, x.umin, x.umax).map(|lt| !lt),
        Cond::Sgt => less(y.smin, y.smax, x.smin, x.smax),
        Cond::Slt => less(x.smin, x.smax, y.smin, y.smax),
        Cond::Sge => less(x.smin, x.smax, y.smin, y.smax).map(|lt| !lt),
        Cond::Sle => less(y.smin, y.smax, x.smin, x.smax).map(|lt| !lt),
    }
}

fn equal(x: &View, y: &View, is_jmp32: bool, a: &Bounds, b: &Bounds) -> Option<bool> {
    if x.t.is_const() && y.t.is_const() {
        return Some(x.t.value == y.t.value);
    }
    let low_disjoint = || {
        a.u32_min > b.u32_max
            || a.u32_max < b.u32_min
            || a.s32_min > b.s32_max
            || a.s32_max < b.s32_min
    };
    if x.disjoint(y) || (!is_jmp32 && low_disjoint()) { Some(false) } else { None }
}

/// Whether every number of the first range is below every number of the second, or none is.
fn less<T: PartialOrd>(min1: T, max1: T, min2: T, max2: T) -> Option<bool> {
    if max1 < min2 {
        Some(true)
    } else if min1 >= max2 {
        Some(false)
    } else {
        None
    }
}

/// Narrows both operands of `if a op b` on the path where the jump is taken, or not.
///
/// A path that cannot be (the kernel's "REG INVARIANTS VIOLATION") leaves an operand unknown, as
/// `reg_bounds_sanity_check` does; only jumps that [`is_branch_taken`] cannot predict get here.
pub fn refine(op: u8, is_jmp32: bool, taken: bool, a: &mut Bounds, b: &mut Bounds) {
    let Some(cond) = Cond::new(op, taken) else { return };
    refine_cond(cond, is_jmp32, a, b);
    for side in [a, b] {
        side.sync();
        if side.is_violated() {
            side.mark_unbounded();
        }
    }
}

fn refine_cond(cond: Cond, is_jmp32: bool, a: &mut Bounds, b: &mut Bounds) {
    match cond {
        Cond::Eq if is_jmp32 => refine_eq32(a, b),
        Cond::Eq => refine_eq64(a, b),
        Cond::Ne | Cond::Set | Cond::NotSet => {
            let (reg, bits) = match (constant(b, is_jmp32), constant(a, is_jmp32)) {
                (Some(bits), _) => (a, bits),
                (None, Some(bits)) => (b, bits),
                (None, None) => return,
            };
            refine_const(cond, is_jmp32, reg, bits);
        }
        Cond::Le | Cond::Lt | Cond::Sle | Cond::Slt if is_jmp32 => refine_less32(cond, a, b),
        Cond::Le | Cond::Lt | Cond::Sle | Cond::Slt => refine_less64(cond, a, b),
        Cond::Ge => refine_cond(Cond::Le, is_jmp32, b, a),
        Cond::Gt => refine_cond(Cond::Lt, is_jmp32, b, a),
        Cond::Sge => refine_cond(Cond::Sle, is_jmp32, b, a),
        Cond::Sgt => refine_cond(Cond::Slt, is_jmp32, b, a),
    }
}

fn constant(b: &Bounds, is_jmp32: bool) -> Option<u64> {
    if is_jmp32 { b.const_value32().map(u64::from) } else { b.const_value() }
}

fn refine_eq64(a: &mut Bounds, b: &mut Bounds) {
    (a.umin, a.umax) = (a.umin.max(b.umin), a.umax.min(b.umax));
    (a.smin, a.smax) = (a.smin.max(b.smin), a.smax.min(b.smax));
    a.var_off = a.var_off.intersect(b.var_off);
    (b.umin, b.umax, b.smin, b.smax, b.var_off) = (a.umin, a.umax, a.smin, a.smax, a.var_off);
}

fn refine_eq32(a: &mut Bounds, b: &mut Bounds) {
    (a.u32_min, a.u32_max) = (a.u32_min.max(b.u32_min), a.u32_max.min(b.u32_max));
    (a.s32_min, a.s32_max) = (a.s32_min.max(b.s32_min), a.s32_max.min(b.s32_max));
    (b.u32_min, b.u32_max, b.s32_min, b.s32_max) = (a.u32_min, a.u32_max, a.s32_min, a.s32_max);
    let low = a.var_off.subreg().intersect(b.var_off.subreg());
    a.var_off = a.var_off.with_subreg(low);
    b.var_off = b.var_off.with_subreg(low);
}

/// `reg != bits`, `reg & bits`, `!(reg & bits)`.
fn refine_const(cond: Cond, is_jmp32: bool, reg: &mut Bounds, bits: u64) {
    match cond {
        Cond::Ne if is_jmp32 => {
            trim(
                &mut reg.u32_min,
                &mut reg.u32_max,
                bits as u32,
                |v| v.wrapping_add(1),
                |v| v.wrapping_sub(1),
            );
            trim(
                &mut reg.s32_min,
                &mut reg.s32_max,
                bits as i32,
                |v| v.wrapping_add(1),
                |v| v.wrapping_sub(1),
            );
        }
        Cond::Ne => {
            trim(&mut reg.umin, &mut reg.umax, bits, |v| v.wrapping_add(1), |v| v.wrapping_sub(1));
            trim(
                &mut reg.smin,
                &mut reg.smax,
                bits as i64,
                |v| v.wrapping_add(1),
                |v| v.wrapping_sub(1),
            );
        }
        // More than one bit: which of them is set stays open.
        Cond::Set if bits.is_power_of_two() => reg.var_off = with_bits(reg.var_off, is_jmp32, bits),
        Cond::NotSet => {
            reg.mark_unbounded();
            reg.var_off = without_bits(reg.var_off, is_jmp32, bits);
        }
        _ => {}
    }
}

/// Takes `value` off a range when it is at an edge.
fn trim<T: PartialEq + Copy>(min: &mut T, max: &mut T, value: T, up: fn(T) -> T, down: fn(T) -> T) {
    if *min == value {
        *min = up(value);
    }
    if *max == value {
        *max = down(value);
    }
}

fn with_bits(t: Tnum, is_jmp32: bool, bits: u64) -> Tnum {
    if is_jmp32 { t.with_subreg(t.subreg().or(Tnum::known(bits))) } else { t.or(Tnum::known(bits)) }
}

fn without_bits(t: Tnum, is_jmp32: bool, bits: u64) -> Tnum {
    let keep = Tnum::known(!bits);
    if is_jmp32 { t.with_subreg(t.subreg().and(keep)) } else { t.and(keep) }
}

fn refine_less64(cond: Cond, a: &mut Bounds, b: &mut Bounds) {
    match cond {
        Cond::Le => {
            a.umax = a.umax.min(b.umax);
            b.umin = b.umin.max(a.umin);
        }
        Cond::Lt => {
            a.umax = a.umax.min(b.umax.wrapping_sub(1));
            b.umin = b.umin.max(a.umin.wrapping_add(1));
        }
        Cond::Sle => {
            a.smax = a.smax.min(b.smax);
            b.smin = b.smin.max(a.smin);
        }
        _ => {
            a.smax = a.smax.min(b.smax.wrapping_sub(1));
            b.smin = b.smin.max(a.smin.wrapping_add(1));
        }
    }
}

fn refine_less32(cond: Cond, a: &mut Bounds, b: &mut Bounds) {
    match cond {
        Cond::Le => {
            a.u32_max = a.u32_max.min(b.u32_max);
            b.u32_min = b.u32_min.max(a.u32_min);
        }
        Cond::Lt => {
            a.u32_max = a.u32_max.min(b.u32_max.wrapping_sub(1));
            b.u32_min = b.u32_min.max(a.u32_min.wrapping_add(1));
        }
        Cond::Sle => {
            a.s32_max = a.s32_max.min(b.s32_max);
            b.s32_min = b.s32_min.max(a.s32_min);
        }
        _ => {
            a.s32_max = a.s32_max.min(b.s32_max.wrapping_sub(1));
            b.s32_min = b.s32_min.max(a.s32_min.wrapping_add(1));
        }
    }
}
