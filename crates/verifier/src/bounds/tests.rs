//! Soundness: a concrete result always lies inside the abstract one.

use super::alu::AluOp;
use super::{Bounds, is_branch_taken, refine};
use crate::tnum::Tnum;
use alloc::format;
use arbitrary::{Arbitrary, Result, Unstructured};
use stylet_insn::opcode as o;

const OPS: [AluOp; 12] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Mod,
    AluOp::Or,
    AluOp::And,
    AluOp::Xor,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Arsh,
    AluOp::Neg,
];

const JUMPS: [u8; 11] =
    [o::JEQ, o::JNE, o::JSET, o::JGT, o::JGE, o::JLT, o::JLE, o::JSGT, o::JSGE, o::JSLT, o::JSLE];

fn concrete64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << (b & 63),
        AluOp::Rsh => a >> (b & 63),
        AluOp::Arsh => (a as i64 >> (b & 63)) as u64,
        AluOp::Neg => a.wrapping_neg(),
    }
}

fn concrete32(op: AluOp, a: u32, b: u32) -> u64 {
    let result = match op {
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Lsh => a << (b & 31),
        AluOp::Rsh => a >> (b & 31),
        AluOp::Arsh => (a as i32 >> (b & 31)) as u32,
        _ => concrete64(op, a as u64, b as u64) as u32,
    };
    result as u64
}

fn holds(op: u8, is_jmp32: bool, a: u64, b: u64) -> bool {
    let (x, y) = if is_jmp32 { (a as u32 as u64, b as u32 as u64) } else { (a, b) };
    let (s, t) = if is_jmp32 { (a as i32 as i64, b as i32 as i64) } else { (a as i64, b as i64) };
    match op {
        o::JEQ => x == y,
        o::JNE => x != y,
        o::JSET => x & y != 0,
        o::JGT => x > y,
        o::JGE => x >= y,
        o::JLT => x < y,
        o::JLE => x <= y,
        o::JSGT => s > t,
        o::JSGE => s >= t,
        o::JSLT => s < t,
        _ => s <= t,
    }
}

/// A number that is often close to where something wraps.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    let near = [0u64, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 63];
    Ok(match u.int_in_range(0..=3)? {
        0 => u64::arbitrary(u)?,
        1 => u32::arbitrary(u)? as u64,
        2 => u16::arbitrary(u)? as i16 as i64 as u64,
        _ => u.choose(&near)?.wrapping_add(i8::arbitrary(u)? as i64 as u64),
    })
}

/// A number and some true statements about it.
fn fact(u: &mut Unstructured<'_>) -> Result<(u64, Bounds)> {
    let x = number(u)?;
    let mut b = Bounds::unknown();
    for _ in 0..u.int_in_range(0..=3)? {
        let y = number(u)?;
        match u.int_in_range(0..=5)? {
            0 => b.var_off = b.var_off.intersect(Tnum { value: x & !y, mask: y }),
            1 => (b.umin, b.umax) = (b.umin.max(x.min(y)), b.umax.min(x.max(y))),
            2 => {
                let (s, t) = (x as i64, y as i64);
                (b.smin, b.smax) = (b.smin.max(s.min(t)), b.smax.min(s.max(t)));
            }
            3 => {
                let (s, t) = (x as u32, y as u32);
                (b.u32_min, b.u32_max) = (b.u32_min.max(s.min(t)), b.u32_max.min(s.max(t)));
            }
            4 => {
                let (s, t) = (x as i32, y as i32);
                (b.s32_min, b.s32_max) = (b.s32_min.max(s.min(t)), b.s32_max.min(s.max(t)));
            }
            _ => b = Bounds::known(x),
        }
        b.sync();
        assert!(b.has(x), "sync lost {x:#x}: {b:?}");
        assert!(!b.is_violated(), "{x:#x}: {b:?}");
    }
    Ok((x, b))
}

#[test]
fn sync_and_arithmetic_hold_every_result() {
    arbtest::arbtest(|u| {
        let (x, a) = fact(u)?;
        let (y, b) = fact(u)?;
        let op = *u.choose(&OPS)?;
        let y = if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) { y & 63 } else { y };
        let b = if b.has(y) { b } else { Bounds::known(y) };
        let wide = a.alu64(op, &b);
        assert!(wide.has(concrete64(op, x, y)), "{op:?} {x:#x} {y:#x}: {a} / {b} gave {wide}");
        let low = a.alu32(op, &b);
        let known_range = low.umax == u64::MAX || low.umax <= u32::MAX as u64;
        assert!(
            known_range && low.has(concrete32(op, x as u32, y as u32)),
            "{op:?} {a} / {b}: {low}"
        );
        Ok(())
    });
}

#[test]
fn extensions_hold_every_result() {
    arbtest::arbtest(|u| {
        let (x, a) = fact(u)?;
        let size = *u.choose(&[1u32, 2, 4])?;
        let bits = 64 - size * 8;
        let (zero, sign) = (x << bits >> bits, ((x << bits) as i64 >> bits) as u64);
        let mut b = a;
        b.byte_swap(size.max(2));
        let swapped = x.swap_bytes() >> (64 - size.max(2) * 8);
        assert!(b.has(swapped), "{a} swapped: {b}");
        b = a;
        b.coerce_to_size(size);
        assert!(b.has(zero), "{a} to {size} bytes: {b}");
        b = a;
        b.sext(size);
        assert!(b.has(sign), "{a} sign-extended from {size}: {b}");
        b = a;
        b.sext32(size);
        assert!(b.has(sign as u32 as u64), "{a} sign-extended to 32 bits from {size}: {b}");
        b = a;
        b.zext32();
        assert!(b.has(x as u32 as u64), "{a} zero-extended: {b}");
        Ok(())
    });
}

#[test]
fn branches_are_predicted_and_refined_soundly() {
    arbtest::arbtest(|u| {
        let (x, mut a) = fact(u)?;
        let (y, mut b) = if bool::arbitrary(u)? { fact(u)? } else { (x, Bounds::known(x)) };
        let (op, is_jmp32) = (*u.choose(&JUMPS)?, bool::arbitrary(u)?);
        let taken = holds(op, is_jmp32, x, y);
        let before = format!("{a} {op:#x} {b}");
        match is_branch_taken(op, is_jmp32, &a, &b) {
            Some(predicted) => assert_eq!(predicted, taken, "{before}: {x:#x} {y:#x}"),
            None => {
                refine(op, is_jmp32, taken, &mut a, &mut b);
                assert!(a.has(x) && b.has(y), "{before}: {x:#x} {y:#x} are not in {a}, {b}");
            }
        }
        Ok(())
    });
}

/// All ranges and tnums of three bits, on each side of the sign.
#[test]
fn small_operands_exhaustively() {
    let base = [0u64, (-4i64) as u64, 0x7fff_fffc, 0xffff_fffc];
    let ranges = || (0..8u64).flat_map(|min| (min..8).map(move |max| (min, max)));
    for b1 in base {
        for (min1, max1) in ranges() {
            let a = hull(b1, min1, max1);
            for (min2, max2) in ranges() {
                let b = hull(0, min2, max2);
                for op in OPS {
                    check_all(op, (b1, min1, max1, a), (min2, max2, b));
                }
            }
        }
    }
}

fn hull(base: u64, min: u64, max: u64) -> Bounds {
    let (min, max) = (base.wrapping_add(min), base.wrapping_add(max));
    if min <= max { Bounds::range(min, max) } else { Bounds::range_signed(min as i64, max as i64) }
}

fn check_all(
    op: AluOp,
    (base, min1, max1, a): (u64, u64, u64, Bounds),
    (min2, max2, b): (u64, u64, Bounds),
) {
    let (wide, low) = (a.alu64(op, &b), a.alu32(op, &b));
    for x in (min1..=max1).map(|x| base.wrapping_add(x)) {
        assert!(a.has(x));
        for y in min2..=max2 {
            assert!(wide.has(concrete64(op, x, y)), "{op:?} {x:#x} {y:#x}: {wide}");
            assert!(low.has(concrete32(op, x as u32, y as u32)), "{op:?} {x:#x} {y:#x}: {low}");
        }
    }
}

#[test]
fn a_contradiction_becomes_unknown() {
    let mut a = Bounds::range(5, 10);
    let mut b = Bounds::range(20, 30);
    assert_eq!(is_branch_taken(o::JEQ, false, &a, &b), Some(false));
    refine(o::JEQ, false, true, &mut a, &mut b);
    assert!(a.has(7) && a.has(25) || !a.is_violated());
}

#[test]
fn containment_is_by_each_range() {
    let (small, large) = (Bounds::range(2, 5), Bounds::range(0, 7));
    assert!(large.contains(&small) && !small.contains(&large));
    assert!(Bounds::unknown().contains(&large) && large.contains(&large));
    let odd = Bounds { var_off: Tnum { value: 1, mask: 6 }, ..large };
    assert!(!odd.contains(&small));
}

#[test]
fn prints_as_the_kernel() {
    let text = |b: Bounds| format!("{b}");
    assert_eq!(text(Bounds::known(-1i64 as u64)), "-1");
    assert_eq!(text(Bounds::known(0x12345)), "0x12345");
    assert_eq!(
        text(Bounds::loaded(1)),
        "smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff)"
    );
    assert_eq!(text(Bounds::unknown()), "");
    assert_eq!(text(Bounds::loaded(4)), "smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)");
    assert_eq!(text(Bounds::range_signed(-5, 9)), "smin=smin32=-5,smax=smax32=9");
}
