//! From bytes to a [`Spec`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_btf::Btf;

use crate::code_info::CodeInfo;
use crate::collect::{Collected, Func};
use crate::data_maps::data_maps;
use crate::elf::Elf;
use crate::error::Error;
use crate::legacy_maps::legacy_maps;
use crate::link::{Linker, assign_core_relos};
use crate::relo::{Symbols, collect_relos};
use crate::sec::{SecDef, SecSpec};
use crate::spec::{ProgSpec, Spec};

/// Bytes kept of an object's name.
const OBJ_NAME_MAX: usize = 15;

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
        let mut spec = Spec {
            name: object_name(options.name),
            license: core::mem::take(&mut collected.license),
            version: collected.version,
            ..Spec::default()
        };
        let btf: Option<Btf> = None;
        let info = CodeInfo { btf: btf.as_ref(), ..CodeInfo::default() };
        let mut symbols = Symbols::default();
        add_maps(&elf, &collected, &mut spec, &mut symbols)?;
        collect_relos(&elf, &mut collected, &symbols, &info)?;
        assign_core_relos(&mut collected.funcs, &info);
        spec.progs = link_progs(&collected, &spec, &info)?;
        Ok(spec)
    }
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

fn add_maps(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    spec: &mut Spec,
    symbols: &mut Symbols,
) -> Result<(), Error> {
    if let Some(idx) = collected.legacy_maps {
        for (offset, map) in legacy_maps(elf, idx)? {
            symbols.maps.insert((idx, offset), spec.maps.len() as u32);
            spec.maps.push(map);
        }
    }
    for (idx, map) in data_maps(elf, collected, &spec.name)? {
        symbols.data.insert(idx, spec.maps.len() as u32);
        spec.maps.push(map);
    }
    Ok(())
}

/// Links every entry-point program: every function that is not in `.text`.
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
        kconfig: None,
        exception_cbs: HashMap::new(),
        total: 0,
    };
    let mut progs = Vec::new();
    for (idx, func) in collected.funcs.iter().enumerate() {
        if Some(func.sec_idx) == collected.text {
            continue;
        }
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
