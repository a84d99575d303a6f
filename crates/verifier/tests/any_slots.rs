//! Whatever the slots hold, there is a verdict and no panic.

use stylet_catalog::{Env, Release};
use stylet_insn::Insn;
use stylet_uapi::{MapType, ProgType};
use stylet_verifier::{MapDef, ProgInput, verify};

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *seed >> 33
}

/// Opcodes that get past the first checks, mixed with any byte.
const CODES: [u8; 20] = [
    0xb7, 0xbf, 0x07, 0x0f, 0x79, 0x7b, 0x7a, 0x61, 0x85, 0x95, 0x15, 0x1d, 0x05, 0x18, 0xdb, 0xe5,
    0xb4, 0x00, 0x57, 0xc3,
];

fn slot(seed: &mut u64) -> Insn {
    let code = if next(seed).is_multiple_of(8) {
        next(seed) as u8
    } else {
        CODES[next(seed) as usize % 20]
    };
    let reg = |seed: &mut u64| {
        if next(seed).is_multiple_of(16) { next(seed) as u8 & 15 } else { next(seed) as u8 % 11 }
    };
    let off = if next(seed).is_multiple_of(4) {
        next(seed) as i16
    } else {
        next(seed) as i16 % 6 * 8 / 3
    };
    let imm = if next(seed).is_multiple_of(4) { next(seed) as i32 } else { next(seed) as i32 % 24 };
    Insn { code, dst: reg(seed), src: reg(seed), off, imm }
}

#[test]
fn a_verdict_on_any_slots() {
    let env = Env::kernel(Release::V6_18);
    let map = MapDef {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapDef::default()
    };
    let maps = [map];
    let mut seed = 1;
    for round in 0..60_000u32 {
        let len = 1 + next(&mut seed) % 12;
        let mut insns: Vec<Insn> = (0..len).map(|_| slot(&mut seed)).collect();
        if round % 4 != 0 {
            insns.push(Insn { code: 0xb7, ..Insn::default() });
            insns.push(Insn { code: 0x95, ..Insn::default() });
        }
        let prog_type = [ProgType::KPROBE, ProgType::RAW_TRACEPOINT_WRITABLE][round as usize % 2];
        let input = ProgInput {
            prog_type,
            license: "GPL",
            insns: &insns,
            maps: &maps,
            ..ProgInput::default()
        };
        let _ = verify(&env, &input);
    }
}
