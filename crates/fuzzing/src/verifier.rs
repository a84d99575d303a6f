//! The verifier on hostile instructions: it ends, and with a verdict.

use arbitrary::{Result, Unstructured};
use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, opcode};
use stylet_object::{MapSpec, Spec};
use stylet_uapi::{AttachType, HelperId, MapType, ProgType};
use stylet_verifier::{FuncInfo, LineInfo, MapDef, ProgInput, verify};

use crate::{btf, insn, object};

/// Instructions that one walk may process here: the kernel's million would take too long for many runs.
const COMPLEXITY_LIMIT: u32 = 5_000;

/// Programs of these types are generated.
const PROG_TYPES: &[ProgType] = &[
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::RAW_TRACEPOINT,
    ProgType::RAW_TRACEPOINT_WRITABLE,
    ProgType::SYSCALL,
    ProgType::TRACING,
];

/// Verifies a program of random instructions, most of them valid ones.
pub fn insns(u: &mut Unstructured<'_>) -> Result<()> {
    let insns = program(u)?;
    let maps = maps();
    let env = env(u)?;
    check(
        &env,
        &ProgInput {
            name: "fuzz",
            prog_type: *u.choose(PROG_TYPES)?,
            expected_attach_type: AttachType(if u.ratio(1, 8u8)? {
                u.int_in_range(0..=60)?
            } else {
                0
            }),
            sleepable: u.ratio(1, 8u8)?,
            license: "GPL",
            insns: &insns,
            maps: &maps,
            attach_btf_id: u32::from(u.ratio(1, 8u8)?),
            log_level: u.int_in_range(0..=2)?,
            ..ProgInput::default()
        },
    );
    Ok(())
}

/// Verifies the programs of a hostile object.
pub fn object(u: &mut Unstructured<'_>) -> Result<()> {
    let Some(spec) = object::hostile(u)? else { return Ok(()) };
    let target = btf::hostile(u)?;
    let Ok(spec) = object::fit(&spec, target.as_ref()) else { return Ok(()) };
    let mut env = env(u)?;
    env.btf = target;
    let maps: Vec<MapDef> = spec.maps.iter().map(map_def).collect();
    for prog in &spec.progs {
        let func_info =
            prog.func_info.iter().map(|f| FuncInfo { insn_idx: f.insn_idx, type_id: f.type_id });
        let line_info = prog.line_info.iter().map(|l| LineInfo {
            insn_idx: l.insn_idx,
            file_name_off: l.file_name_off,
            line_off: l.line_off,
            line: l.line,
            col: l.col,
        });
        check(
            &env,
            &input(
                &spec,
                prog,
                &maps,
                &func_info.collect::<Vec<_>>(),
                &line_info.collect::<Vec<_>>(),
            ),
        );
    }
    Ok(())
}

fn input<'a>(
    spec: &'a Spec,
    prog: &'a stylet_object::ProgSpec,
    maps: &'a [MapDef],
    func_info: &'a [FuncInfo],
    line_info: &'a [LineInfo],
) -> ProgInput<'a> {
    ProgInput {
        name: &prog.name,
        prog_type: prog.sec.prog_type,
        expected_attach_type: prog.sec.expected_attach_type,
        license: &spec.license,
        insns: &prog.insns,
        maps,
        btf: spec.btf.as_ref(),
        func_info,
        line_info,
        ..ProgInput::default()
    }
}

/// A verdict is whole: facts for each slot, or an errno and a message.
pub(crate) fn check(env: &Env, input: &ProgInput<'_>) {
    match verify(env, input) {
        Ok(prog) => {
            assert_eq!(prog.insns(), input.insns);
            assert_eq!(prog.facts().insns.len(), input.insns.len());
            let mut end = 0;
            for subprog in prog.subprogs() {
                assert_eq!(subprog.start, end, "functions follow each other");
                end = subprog.end;
            }
            assert_eq!(end as usize, input.insns.len());
        }
        Err(rejection) => {
            assert!(rejection.errno > 0, "{rejection:?}");
            assert!(!rejection.kind.to_string().is_empty());
            assert!((rejection.insn_idx as usize) <= input.insns.len());
        }
    }
}

fn env(u: &mut Unstructured<'_>) -> Result<Env> {
    let mut env = Env::kernel(*u.choose(&Release::KNOWN)?);
    env.limits.complexity_limit_insns = COMPLEXITY_LIMIT;
    Ok(env)
}

/// Half of the programs are sound on purpose, so that walks are long; the others are whatever comes.
fn program(u: &mut Unstructured<'_>) -> Result<Vec<Insn>> {
    let sound = u.arbitrary()?;
    let mut insns =
        vec![Insn::mov64_reg(6, 1), Insn::st(opcode::DW, 10, -8, 0), Insn::mov64_imm(0, 0)];
    if sound {
        insns.push(Insn::call(HelperId::GET_PRANDOM_U32));
        insns.extend((1..=5).map(|reg| Insn::mov64_imm(reg, 1)));
        insns.extend((7..=9).map(|reg| Insn::mov64_reg(reg, 0)));
    }
    for _ in 0..u.int_in_range(0..=60)? {
        match u.int_in_range(0..=29u8)? {
            0 if !sound => insns.push(insn::any(u)?),
            1 => insns.extend(lookup(u.int_in_range(0..=4)?)),
            2 => insns.extend(Insn::lddw(u.int_in_range(0..=9)?, u.arbitrary()?)),
            _ if sound => insns.push(sound_insn(u)?),
            _ => insns.push(insn::plausible(u)?),
        }
    }
    // room for forward jumps of the last instructions
    insns.extend([Insn::mov64_imm(0, 0); 8]);
    insns.push(Insn::exit());
    Ok(insns)
}

/// An instruction on numbers, the stack or the context that mostly keeps a program acceptable.
fn sound_insn(u: &mut Unstructured<'_>) -> Result<Insn> {
    use opcode::*;
    let numbers = [0u8, 1, 2, 3, 4, 5, 7, 8, 9];
    let (dst, src) = (*u.choose(&numbers)?, *u.choose(&numbers)?);
    let size = *u.choose(&[B, H, W, DW])?;
    let stack = -8 * u.int_in_range(1..=4i16)?;
    let alu = *u.choose(&[ADD, SUB, MUL, DIV, OR, AND, MOD, XOR, MOV])?;
    let shift = *u.choose(&[LSH, RSH, ARSH])?;
    let jmp = *u.choose(&[JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE])?;
    let imm = *u.choose(&[1, 2, 7, 8, 16, 63, 255, -1, -8, i32::MAX, i32::MIN])?;
    // a loop now and then
    let off =
        if u.ratio(1, 24u8)? { -u.int_in_range(1..=6i16)? } else { u.int_in_range(0..=6i16)? };
    Ok(match u.int_in_range(0..=15u8)? {
        0 | 1 => Insn::alu64_imm(alu, dst, imm),
        2 | 3 => Insn::alu64_reg(alu, dst, src),
        4 => Insn::alu32_imm(alu, dst, imm),
        5 => Insn::alu32_reg(alu, dst, src),
        6 => Insn::alu64_imm(shift, dst, u.int_in_range(0..=63)?),
        7 => Insn::alu32_imm(shift, dst, u.int_in_range(0..=31)?),
        8 => Insn::jmp_imm(jmp, dst, imm, off),
        9 => Insn::jmp_reg(jmp, dst, src, off),
        10 => Insn::jmp32_imm(jmp, dst, imm, off),
        11 => Insn::stx(size, 10, src, stack),
        12 => Insn::ldx(size, dst, 10, stack),
        13 => Insn::ldx(DW, dst, 6, 8 * u.int_in_range(0..=20i16)?),
        14 => *u.choose(&[
            Insn::neg64(dst),
            Insn::bswap(dst, 32),
            Insn::movsx64(dst, src, 8),
            Insn::may_goto(off),
        ])?,
        _ => Insn::atomic(DW, i32::from(ADD) | FETCH, 10, src, -8),
    })
}

/// `r0 = map_lookup_elem(map, &0)`, an exit when it is null, and numbers again in all registers.
fn lookup(map: i32) -> Vec<Insn> {
    let mut insns = Insn::ld_map_idx(1, map).to_vec();
    insns.extend([
        Insn::mov64_reg(2, 10),
        Insn::alu64_imm(opcode::ADD, 2, -8),
        Insn::st(opcode::DW, 10, -8, 0),
        Insn::call(HelperId::MAP_LOOKUP_ELEM),
        Insn::jmp_imm(opcode::JNE, 0, 0, 1),
        Insn::exit(),
        Insn::ldx(opcode::DW, 0, 0, 0),
    ]);
    insns.extend((1..=5).map(|reg| Insn::mov64_imm(reg, 3)));
    insns
}

/// One map of each common type; the programs' indices sometimes go one past.
fn maps() -> Vec<MapDef> {
    let map = |map_type, key_size, value_size, max_entries| MapDef {
        name: "m".into(),
        map_type,
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    vec![
        map(MapType::HASH, 8, 16, 4),
        map(MapType::ARRAY, 4, 48, 4),
        map(MapType::RINGBUF, 0, 0, 4096),
        map(MapType::PERCPU_ARRAY, 4, 8, 1),
    ]
}

fn map_def(map: &MapSpec) -> MapDef {
    MapDef {
        name: map.name.clone(),
        map_type: map.map_type,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        map_flags: map.map_flags,
        map_extra: map.map_extra,
        frozen: map.kind.is_frozen().then(|| map.contents.clone()),
        inner: map.inner.as_deref().map(|inner| Box::new(map_def(inner))),
        btf_key_type_id: map.btf_key_type_id,
        btf_value_type_id: map.btf_value_type_id,
    }
}
