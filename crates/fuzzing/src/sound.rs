//! Soundness: what the verifier accepts never leaves its memory, whatever the inputs.
//!
//! The interpreter checks every access, so it is the judge. The programs compute an index from unknown numbers,
//! bound it in some way, and access a map value with it: where the verifier's bounds are too narrow, an access
//! fails.

use arbitrary::{Result, Unstructured};
use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, listing, opcode::*};
use stylet_interp::{Error, Host, Interp, Limits, Vm};
use stylet_uapi::{HelperId, MapType, ProgType};
use stylet_verifier::{MapDef, ProgInput, VerifiedProg, verify};

/// Bytes of the map's value.
const VALUE_SIZE: u32 = 48;
/// Bytes of `struct pt_regs`.
const CTX_SIZE: usize = 168;
/// Instructions of one walk, and of one run.
const MAX_INSNS: u32 = 20_000;
/// Numbers around which bounds go wrong.
const EDGES: &[u64] = &[
    0,
    1,
    7,
    8,
    40,
    41,
    47,
    48,
    49,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_8000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// Verifies a program that indexes a map value, and runs it with several inputs if it is accepted.
pub fn bounds(u: &mut Unstructured<'_>) -> Result<()> {
    let insns = program(u)?;
    let Some(prog) = accepted(&insns) else { return Ok(()) };
    for _ in 0..8 {
        let mut host = Maps { value: value(u)?, maps: None };
        let mut ctx = [0; CTX_SIZE];
        let limits = Limits { insns: MAX_INSNS.into(), ..Limits::default() };
        match Interp::run(&prog, &mut ctx, &mut host, limits) {
            Ok(_) | Err(Error::TooManyInsns { .. }) => {}
            Err(err) => panic!(
                "accepted, but {err} with the value {:x?}:\n{}",
                host.value,
                listing(&insns, &())
            ),
        }
    }
    Ok(())
}

/// The program, if the verifier accepts it.
pub fn accepted(insns: &[Insn]) -> Option<VerifiedProg> {
    let mut env = Env::kernel(Release::V6_18);
    env.limits.complexity_limit_insns = MAX_INSNS;
    let maps = [MapDef {
        name: "m".into(),
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: VALUE_SIZE,
        max_entries: 1,
        ..MapDef::default()
    }];
    let input = ProgInput {
        name: "sound",
        prog_type: ProgType::KPROBE,
        license: "GPL",
        insns,
        maps: &maps,
        ..ProgInput::default()
    };
    verify(&env, &input).ok()
}

/// Contents of the map's value: six numbers, mostly at edges.
fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    for _ in 0..VALUE_SIZE / 8 {
        let number: u64 = if u.ratio(3, 4u8)? {
            u.choose(EDGES)?.wrapping_add(u.int_in_range(-2i64..=2)? as u64)
        } else {
            u.arbitrary()?
        };
        value.extend(number.to_le_bytes());
    }
    Ok(value)
}

/// The one map, made when it is first named.
struct Maps {
    value: Vec<u8>,
    /// Addresses of the map and of its value.
    maps: Option<(u64, u64)>,
}

impl Host for Maps {
    fn map(&mut self, _index: u32, vm: &mut Vm) -> core::result::Result<u64, Error> {
        let value = &self.value;
        let (map, _) = *self.maps.get_or_insert_with(|| {
            (vm.memory.map(vec![0; 8], false), vm.memory.map(value.clone(), true))
        });
        Ok(map)
    }

    fn helper(
        &mut self,
        id: u32,
        args: [u64; 5],
        _vm: &mut Vm,
    ) -> core::result::Result<u64, Error> {
        match self.maps {
            Some((map, value)) if id == HelperId::MAP_LOOKUP_ELEM.0 && args[0] == map => Ok(value),
            _ => Err(Error::NoHelper { id }),
        }
    }
}

/// `r7` = the value, `r2` to `r5`, `r8`, `r9` = numbers in it; steps on them; an access at `r7 + r8`.
fn program(u: &mut Unstructured<'_>) -> Result<Vec<Insn>> {
    let mut insns = Insn::ld_map_idx(1, 0).to_vec();
    insns.extend([
        Insn::st(W, 10, -4, 0),
        Insn::mov64_reg(2, 10),
        Insn::alu64_imm(ADD, 2, -4),
        Insn::call(HelperId::MAP_LOOKUP_ELEM),
        Insn::jmp_imm(JNE, 0, 0, 1),
        Insn::exit(),
        Insn::mov64_reg(7, 0),
    ]);
    for (reg, off) in [(8, 0), (9, 8), (2, 16), (3, 24), (4, 32)] {
        let size = *u.choose(&[DW, DW, DW, W, H, B])?;
        let signed = size != DW && u.ratio(1, 3u8)?;
        insns.push(if signed {
            Insn::ldxsx(size, reg, 7, off)
        } else {
            Insn::ldx(size, reg, 7, off)
        });
    }
    for _ in 0..u.int_in_range(0..=10)? {
        insns.push(step(u)?);
    }
    insns.extend(bound(u)?);
    for _ in 0..u.int_in_range(0..=2)? {
        insns.push(step(u)?);
    }
    let size = *u.choose(&[B, H, W, DW])?;
    let off = u.int_in_range(-8..=40i16)?;
    insns.push(Insn::alu64_reg(if u.ratio(1, 6u8)? { SUB } else { ADD }, 7, 8));
    insns.push(if u.arbitrary()? { Insn::ldx(size, 0, 7, off) } else { Insn::st(size, 7, off, 1) });
    // the same end for all jumps, some of which go past the first instruction of it
    insns.extend([Insn::mov64_imm(0, 0), Insn::mov64_imm(0, 0), Insn::exit()]);
    let end = insns.len() as i64 - 2;
    for (at, insn) in insns.iter_mut().enumerate() {
        if is_open(insn) {
            insn.off = (end - at as i64 - 1) as i16;
        }
    }
    Ok(insns)
}

/// The offset of a jump to the end, before it is known.
const OPEN: i16 = i16::MAX;

fn is_open(insn: &Insn) -> bool {
    matches!(insn.class(), JMP | JMP32) && insn.off == OPEN
}

const NUMBERS: [u8; 6] = [8, 8, 9, 2, 3, 4];

/// Anything that can be done to numbers.
fn step(u: &mut Unstructured<'_>) -> Result<Insn> {
    let (dst, src) = (*u.choose(&NUMBERS)?, *u.choose(&NUMBERS)?);
    let op = *u.choose(&[ADD, SUB, MUL, DIV, MOD, AND, OR, XOR, MOV])?;
    let shift = *u.choose(&[LSH, RSH, ARSH])?;
    let imm = match u.int_in_range(0..=2u8)? {
        0 => u.int_in_range(1..=64)?,
        1 => (*u.choose(EDGES)? as i32).max(1),
        _ => -u.int_in_range(1..=64)?,
    };
    let is_div = matches!(op, DIV | MOD) && u.ratio(1, 3u8)?;
    let sign = |insn: Insn| if is_div { insn.signed() } else { insn };
    Ok(match u.int_in_range(0..=11u8)? {
        0 | 1 => sign(Insn::alu64_imm(op, dst, imm)),
        2 => sign(Insn::alu32_imm(op, dst, imm)),
        3 => sign(Insn::alu64_reg(op, dst, src)),
        4 => sign(Insn::alu32_reg(op, dst, src)),
        5 => Insn::alu64_imm(shift, dst, u.int_in_range(0..=63)?),
        6 => Insn::alu32_imm(shift, dst, u.int_in_range(0..=31)?),
        7 => *u.choose(&[
            Insn::neg64(dst),
            Insn::neg32(dst),
            Insn::bswap(dst, 16),
            Insn::endian(TO_BE, dst, 32),
        ])?,
        8 => Insn::movsx64(dst, src, *u.choose(&[8, 16, 32])?),
        9 => Insn::movsx32(dst, src, *u.choose(&[8, 16])?),
        _ => jump(u, dst)?,
    })
}

/// A conditional jump to the end, or over the next instruction.
fn jump(u: &mut Unstructured<'_>, dst: u8) -> Result<Insn> {
    let op = *u.choose(&[JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE])?;
    let src = *u.choose(&NUMBERS)?;
    let imm = if u.arbitrary()? { u.int_in_range(-4..=60)? } else { *u.choose(EDGES)? as i32 };
    let off = if u.ratio(3, 4u8)? { OPEN } else { 1 };
    Ok(match u.int_in_range(0..=3u8)? {
        0 => Insn::jmp_imm(op, dst, imm, off),
        1 => Insn::jmp32_imm(op, dst, imm, off),
        2 => Insn::jmp_reg(op, dst, src, off),
        _ => Insn::jmp32_reg(op, dst, src, off),
    })
}

/// What keeps `r8` small, in one of the ways that programs have.
fn bound(u: &mut Unstructured<'_>) -> Result<Vec<Insn>> {
    let most = u.int_in_range(0..=47)?;
    let mask = *u.choose(&[1, 3, 7, 15, 31, 32, 40])?;
    Ok(match u.int_in_range(0..=7u8)? {
        0 => vec![Insn::alu64_imm(AND, 8, mask)],
        1 => vec![Insn::alu32_imm(AND, 8, mask)],
        2 => vec![Insn::jmp_imm(JGT, 8, most, OPEN)],
        3 => vec![Insn::jmp32_imm(JGT, 8, most, OPEN), Insn::mov32_reg(8, 8)],
        4 => vec![Insn::jmp_imm(JSGT, 8, most, OPEN), Insn::jmp_imm(JSLT, 8, 0, OPEN)],
        5 => vec![Insn::alu64_imm(MOD, 8, most + 1)],
        6 => vec![Insn::mov64_imm(9, most), Insn::jmp_reg(JGT, 8, 9, OPEN)],
        _ => vec![Insn::alu64_imm(RSH, 8, u.int_in_range(59..=63)?)],
    })
}
