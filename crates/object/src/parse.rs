//! From bytes to a [`Spec`].

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_btf::Btf;

use crate::elf::Elf;
use crate::elf::btf_fixup::{add_value_type, fix_btf};
use crate::elf::code_info::CodeInfo;
use crate::elf::collect::{Collected, Func};
use crate::elf::externs::{externs, kconfig_size};
use crate::error::Error;
use crate::link::relo::{Symbols, collect_relos};
use crate::link::{Linker, assign_core_relos, exception_callbacks};
use crate::maps::btf::{BtfMap, btf_maps};
use crate::maps::data::{check_data_size, data_maps, internal_map};
use crate::maps::legacy::legacy_maps;
use crate::maps::values::{SlotNames, fill_values};
use crate::sec::{SecDef, SecSpec};
use crate::spec::ExternSpec;
use crate::spec::MapKind;
use crate::spec::{ProgSpec, Spec};

/// Bytes kept of an object's name.
const OBJ_NAME_MAX: usize = 15;

/// Maps of an object; a program uses at most 64 (`MAX_USED_MAPS`).
const MAX_MAPS: usize = 1 << 16;

/// What parsing is given besides the file's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Path or name of the file: what is before the first dot of its last part becomes the object's name, which
    /// internal maps carry.
    pub name: &'a str,
    /// Ignore fields of map definitions that libbpf does not know (`relaxed_maps`).
    pub relaxed_maps: bool,
}

impl Spec {
    /// Parses an object file that has no name.
    pub fn parse(bytes: &[u8]) -> Result<Spec, Error> {
        Spec::parse_with(bytes, &Options::default())
    }

    /// Parses an object file.
    pub fn parse_with(bytes: &[u8], options: &Options<'_>) -> Result<Spec, Error> {
        let elf = Elf::parse(bytes)?;
        let mut collected = Collected::new(&elf)?;
        check_data_size(&elf, &collected)?;
        let plain = collected.btf.map(parse_btf).transpose()?;
        let externs = externs(&elf, plain.as_ref())?;
        let by_symbol =
            externs.iter().enumerate().map(|(idx, (sym, _))| (*sym, idx as u32)).collect();
        let mut symbols = Symbols { externs: by_symbol, ..Symbols::default() };
        let externs: Vec<ExternSpec> = externs.into_iter().map(|(_, spec)| spec).collect();
        let btf = match (&plain, collected.btf) {
            (Some(plain), Some(raw)) => Some(fix_btf(raw, plain, &elf, &collected, &externs)?),
            _ => None,
        };
        let mut spec = Spec {
            name: object_name(options.name),
            license: core::mem::take(&mut collected.license),
            version: collected.version,
            externs,
            ..Spec::default()
        };
        add_maps(&elf, &collected, &mut spec, &mut symbols, btf.as_ref(), options)?;
        let info = match (&btf, collected.btf_ext) {
            (Some(btf), Some(bytes)) => CodeInfo::new(&elf, btf, bytes)?,
            _ => CodeInfo::default(),
        };
        collect_relos(&elf, &mut collected, &symbols, &info)?;
        assign_core_relos(&mut collected.funcs, &info);
        spec.progs = link_progs(&collected, &spec, &info)?;
        drop(info);
        spec.btf = btf;
        Ok(spec)
    }
}

fn parse_btf(bytes: &[u8]) -> Result<Btf, Error> {
    let btf = Btf::parse(bytes).map_err(|source| Error::Btf { section: ".BTF", source })?;
    if btf.is_big_endian() {
        let reason = "types are big-endian in a little-endian object";
        return Err(Error::Section { section: ".BTF".to_string(), offset: 0, reason });
    }
    Ok(btf)
}

/// `bpf_object__new`: the base name up to its first dot, cut to what a kernel object's name holds.
fn object_name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    let mut end = base.len().min(OBJ_NAME_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let base = &base[..end];
    base.split('.').next().unwrap_or(base).to_string()
}

/// All maps, in libbpf's order.
fn add_maps(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    spec: &mut Spec,
    symbols: &mut Symbols,
    btf: Option<&Btf>,
    options: &Options<'_>,
) -> Result<(), Error> {
    if let Some(idx) = collected.legacy_maps {
        for (offset, map) in legacy_maps(elf, idx)? {
            symbols.maps.insert((idx, offset), spec.maps.len() as u32);
            spec.maps.push(map);
        }
    }
    check_map_count(spec.maps.len())?;
    if let Some(idx) = collected.btf_maps {
        let btf = btf.ok_or_else(|| Error::NoBtf { what: "section", name: ".maps".to_string() })?;
        let mut maps = btf_maps(btf, elf.sections[idx].size, options.relaxed_maps)?;
        check_map_count(maps.len())?;
        fill_map_values(elf, collected, btf, &mut maps, spec.maps.len())?;
        for BtfMap { map, var, .. } in maps {
            symbols.maps.insert((idx, var.offset.into()), spec.maps.len() as u32);
            spec.maps.push(map);
        }
    }
    for (idx, map) in data_maps(elf, collected, &spec.name) {
        symbols.data.insert(idx, spec.maps.len() as u32);
        spec.maps.push(map);
    }
    let size = kconfig_size(&spec.externs);
    if size > 0 {
        spec.maps.push(internal_map(
            &spec.name,
            ".kconfig",
            MapKind::Kconfig,
            vec![0; size as usize],
        ));
    }
    if let Some(btf) = btf {
        spec.maps.iter_mut().for_each(|map| add_value_type(map, btf));
    }
    Ok(())
}

fn check_map_count(count: usize) -> Result<(), Error> {
    match count {
        0..=MAX_MAPS => Ok(()),
        _ => Err(Error::Limit { what: "maps", value: count as u64, max: MAX_MAPS as u64 }),
    }
}

fn fill_map_values(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    btf: &Btf,
    maps: &mut [BtfMap<'_>],
    first: usize,
) -> Result<(), Error> {
    let by_name: HashMap<String, u32> = maps
        .iter()
        .enumerate()
        .map(|(idx, map)| (map.map.name.clone(), (first + idx) as u32))
        .collect();
    let progs: HashMap<(usize, u64), u32> = entry_points(collected)
        .enumerate()
        .map(|(prog, idx)| {
            let func = &collected.funcs[idx];
            ((func.sec_idx, u64::from(func.off) * 8), prog as u32)
        })
        .collect();
    let names = SlotNames {
        map: &|name| by_name.get(name).copied(),
        prog: &|section, offset| progs.get(&(section, offset)).copied(),
    };
    fill_values(elf, collected, btf, maps, &names)
}

/// The functions that are programs, in order: all that are not in `.text`.
fn entry_points<'a>(collected: &'a Collected<'_>) -> impl Iterator<Item = usize> + 'a {
    let is_entry = |idx: &usize| Some(collected.funcs[*idx].sec_idx) != collected.text;
    (0..collected.funcs.len()).filter(is_entry)
}

/// Links every entry-point program.
fn link_progs(
    collected: &Collected<'_>,
    spec: &Spec,
    info: &CodeInfo<'_>,
) -> Result<Vec<ProgSpec>, Error> {
    let mut linker = Linker {
        funcs: &collected.funcs,
        text: collected.text,
        info,
        externs: &spec.externs,
        kconfig: spec
            .maps
            .iter()
            .position(|map| map.kind == MapKind::Kconfig)
            .map(|idx| idx as u32),
        exception_cbs: match info.btf {
            Some(btf) => exception_callbacks(collected, btf)?,
            None => HashMap::new(),
        },
        total: 0,
    };
    let mut progs = Vec::new();
    for idx in entry_points(collected) {
        let func = &collected.funcs[idx];
        let mut prog = linker.link(idx)?;
        prog.autoload = !func.section.starts_with('?');
        prog.section = func.section.strip_prefix('?').unwrap_or(func.section).to_string();
        prog.sec = resolve_section(func, &prog)?;
        progs.push(prog);
    }
    Ok(progs)
}

/// An unknown section is left to the user when the program is not loaded by default anyway.
fn resolve_section(func: &Func<'_>, prog: &ProgSpec) -> Result<SecSpec, Error> {
    match SecSpec::parse(&prog.section) {
        Some(sec) => Ok(sec),
        None if !prog.autoload => Ok(SecSpec::default()),
        None => Err(Error::UnknownSec {
            section: prog.section.clone(),
            prog: func.name.to_string(),
            near: SecDef::near(&prog.section),
        }),
    }
}
