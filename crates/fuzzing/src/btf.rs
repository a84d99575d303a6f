//! BTF from hostile bytes: parsed or refused, and everything that can be asked of it answers.

use arbitrary::{Result, Unstructured};
use stylet_btf::core_relo::{Relocator, types_are_compat};
use stylet_btf::{Btf, CoreRelo, Ext, ReloKind, dump, value};
use stylet_insn::{Insn, opcode};

use crate::mutate::mutate;
use crate::seeds;

/// Types looked at in one input: hostile BTF may have many.
const TYPES: usize = 300;

/// Parses hostile BTF and asks everything of its types; a copy by `to_bytes` is the same.
pub fn bytes(u: &mut Unstructured<'_>) -> Result<()> {
    let Some(btf) = hostile(u)? else { return Ok(()) };
    let data: [u8; 64] = u.arbitrary().unwrap_or([0xa5; 64]);
    for (id, ty) in btf.types().take(TYPES) {
        let _ = (btf.type_name(id).len(), ty.kind().name(), btf.type_string(id).len());
        let _ = (btf.decl_string(id, "x").len(), btf.resolve_size(id), btf.align_of(id));
        let _ = (btf.skip_mods(id), btf.skip_mods_and_typedefs(id), format!("{ty:?}").len());
        let _ = dump::type_def(&btf, id);
        let _ = value::decode(&btf, id, &data).to_string().len();
    }
    let _ = dump::c_source(&btf);
    let written = btf.to_bytes();
    let again = Btf::parse(&written).expect("what was parsed is written as it can be parsed");
    assert_eq!(again.len(), btf.len());
    let ext: Vec<u8> = u.arbitrary()?;
    if let Ok(ext) = Ext::parse(&ext, &btf) {
        assert!(!format!("{ext:?}").is_empty());
    }
    Ok(())
}

/// CO-RE between two hostile BTFs.
pub fn core(u: &mut Unstructured<'_>) -> Result<()> {
    let (Some(local), Some(target)) = (hostile(u)?, hostile(u)?) else { return Ok(()) };
    let targets = [&target];
    let mut relocator = Relocator::new(&local, &targets);
    for _ in 0..8 {
        let relo = CoreRelo {
            insn_off: 0,
            type_id: u.int_in_range(0..=local.len() + 1)?,
            access_str_off: u.int_in_range(0..=local.strings_len())?,
            kind: ReloKind::from_u32(u.int_in_range(0..=12)?),
        };
        let [low, high] = Insn::lddw(1, 8);
        let ldx = Insn::ldx(opcode::DW, 1, 2, 8);
        let mut insns = u
            .choose(&[vec![low, high], vec![ldx], vec![Insn::mov64_imm(1, 8)], vec![low]])?
            .clone();
        let count = insns.len();
        let _ = relocator.relocate(&mut insns, 0, &[relo]);
        assert_eq!(insns.len(), count);
        let other = u.int_in_range(0..=target.len() + 1)?;
        let _ = types_are_compat(&local, relo.type_id, &target, other);
    }
    Ok(())
}

/// BTF that parses, from changed real BTF or from nothing.
pub fn hostile(u: &mut Unstructured<'_>) -> Result<Option<Btf>> {
    let raw = if u.ratio(1, 3u8)? {
        let Some(mut raw) = seeds::btf(u.arbitrary::<u8>()?.into()) else { return Ok(None) };
        let regions = [(0, 24), (24, raw.len() - 24)];
        mutate(u, &mut raw, &regions, 2)?;
        raw
    } else {
        from_nothing(u)?
    };
    Ok(Btf::parse(&raw).ok())
}

/// Names of the types from nothing; an offset is the start of one, or of an access string.
const STRINGS: &[u8] = b"\0a\0b\0int\0s\0a___x\x000:1:0\0";
const NAMES: [u32; 5] = [1, 3, 5, 9, 11];

/// A good header, then types whose ids are small, so that they refer to each other; a field in sixteen is wrong.
fn from_nothing(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let count = u.int_in_range(1..=16u32)?;
    let mut types: Vec<u8> = Vec::new();
    for id in 1..=count {
        let kind = u.int_in_range(1..=19u32)?;
        for word in one_type(u, kind, id, count)? {
            let word = if u.ratio(1, 64u8)? { u.int_in_range(0..=0x40)? } else { word };
            types.extend(word.to_le_bytes());
        }
    }
    let header = [24, 0, types.len() as u32, types.len() as u32, STRINGS.len() as u32];
    let mut raw = vec![0x9f, 0xeb, 1, 0];
    raw.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    raw.extend(types);
    raw.extend(STRINGS);
    Ok(raw)
}

/// The words of one type of `kind` (`BTF_KIND_*`).
fn one_type(u: &mut Unstructured<'_>, kind: u32, id: u32, count: u32) -> Result<Vec<u32>> {
    let name = *u.choose(&NAMES)?;
    // mostly an earlier type: what refers to itself without a pointer or a struct is refused
    let mut other =
        || if u.ratio(3, 4u8)? { u.int_in_range(0..=id - 1) } else { u.int_in_range(0..=count) };
    let (first, second) = (other()?, other()?);
    let vlen = u.int_in_range(0..=3u32)?;
    let kflag = u32::from(u.ratio(1, 4u8)?) << 31;
    let mut words = match kind {
        1 => vec![name, 1 << 24, 4, 0x0100_0020],
        3 => vec![0, 3 << 24, 0, first, second, u.int_in_range(0..=5)?],
        4 | 5 | 15 | 19 => vec![name, kflag | kind << 24 | vlen, u.int_in_range(0..=64)?],
        6 => vec![name, kflag | 6 << 24 | vlen, 4],
        7 => vec![name, kflag | 7 << 24, 0],
        13 => vec![0, 13 << 24 | vlen, first],
        14 | 17 => vec![name, kind << 24, first, u.int_in_range(0..=2)?],
        16 => vec![name, 16 << 24, 8],
        2 | 9..=11 => vec![0, kind << 24, first],
        _ => vec![name, kind << 24 | u32::from(kind == 12 && vlen == 1), first],
    };
    for n in 0..vlen {
        match kind {
            4 | 5 => words.extend([name, second, n * 32]),
            6 => words.extend([name, n]),
            13 => words.extend([name, second]),
            15 => words.extend([second, n * 8, 8]),
            19 => words.extend([name, n, 0]),
            _ => {}
        }
    }
    Ok(words)
}
