//! What the sections of an object are for (`bpf_object__elf_collect`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use object::elf::{
    SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA, STB_LOCAL, STT_FUNC, STV_HIDDEN,
    STV_INTERNAL,
};
use stylet_insn::Insn;

use crate::elf::{Elf, Section, Symbol};
use crate::error::Error;
use crate::link::relo::Relo;
use crate::spec::CoreRelo;
use crate::spec::MapKind;

/// Bytes kept of a licence (`bpf_object::license` with its NUL is 64).
const LICENSE_MAX: usize = 63;

/// A function before linking. Relocations are ascending by slot and count from the function's start.
pub(crate) struct Func<'a> {
    pub name: &'a str,
    pub sec_idx: usize,
    /// Section name as in the file.
    pub section: &'a str,
    /// First slot in the section.
    pub off: u32,
    pub insns: Vec<Insn>,
    /// Global or weak, and not hidden: verified on its own.
    pub global: bool,
    /// Global or weak with hidden visibility: its BTF becomes static.
    pub hidden: bool,
    pub relos: Vec<Relo>,
    pub core_relos: Vec<CoreRelo>,
}

impl Func<'_> {
    pub fn len(&self) -> u32 {
        self.insns.len() as u32
    }
}

/// The sections of an object, sorted out.
#[derive(Default)]
pub(crate) struct Collected<'a> {
    pub license: String,
    pub version: Option<u32>,
    pub btf: Option<&'a [u8]>,
    pub btf_ext: Option<&'a [u8]>,
    pub legacy_maps: Option<usize>,
    pub btf_maps: Option<usize>,
    pub text: Option<usize>,
    /// Data sections that are not empty, ascending.
    pub data: Vec<(usize, MapKind)>,
    /// Functions, ascending by section and offset.
    pub funcs: Vec<Func<'a>>,
    /// `SHT_REL` sections that apply to code or maps.
    pub rels: Vec<usize>,
}

impl<'a> Collected<'a> {
    pub fn new(elf: &Elf<'a>) -> Result<Collected<'a>, Error> {
        let mut collected = Collected::default();
        for (idx, section) in elf.sections.iter().enumerate().skip(1) {
            collected.add(elf, idx, section)?;
        }
        collected.funcs = functions(elf)?;
        Ok(collected)
    }

    fn add(&mut self, elf: &Elf<'a>, idx: usize, section: &Section<'a>) -> Result<(), Error> {
        let executable = section.flags & u64::from(SHF_EXECINSTR) != 0;
        match (section.name, section.kind) {
            (name, _) if name.starts_with(".debug_") => {}
            ("license", _) => self.license = license(section)?,
            ("version", _) => {
                let bytes = section
                    .data
                    .try_into()
                    .map_err(|_| malformed(section, "a kernel version has 4 bytes"))?;
                self.version = Some(u32::from_le_bytes(bytes));
            }
            ("maps", SHT_PROGBITS) => self.legacy_maps = Some(idx),
            (".maps", SHT_PROGBITS) => self.btf_maps = Some(idx),
            (".BTF", SHT_PROGBITS) => self.btf = Some(section.data),
            (".BTF.ext", SHT_PROGBITS) => self.btf_ext = Some(section.data),
            (".BTF" | ".BTF.ext", _) => return Err(malformed(section, "not SHT_PROGBITS")),
            (".text", SHT_PROGBITS) if executable => self.text = Some(idx),
            (_, SHT_PROGBITS) if executable => {}
            (_, SHT_PROGBITS) if section.data.is_empty() => {}
            (name, SHT_PROGBITS) => match data_kind(name) {
                Some(kind) => self.data.push((idx, kind)),
                None => refuse_unsupported(section)?,
            },
            (name, SHT_NOBITS) if is_named(name, ".bss") && section.size > 0 => {
                self.data.push((idx, MapKind::Bss));
            }
            (_, SHT_REL | SHT_RELA) => self.add_rel(elf, idx, section)?,
            _ => {}
        }
        Ok(())
    }

    fn add_rel(&mut self, elf: &Elf<'a>, idx: usize, section: &Section<'a>) -> Result<(), Error> {
        let Some(target) = elf.sections.get(section.info as usize) else {
            return Err(malformed(section, "relocates a section that does not exist"));
        };
        let executable =
            target.kind == SHT_PROGBITS && target.flags & u64::from(SHF_EXECINSTR) != 0;
        if !executable && target.name != ".maps" {
            return Ok(());
        }
        if section.kind == SHT_RELA {
            return Err(malformed(section, "BPF objects have REL relocations, not RELA"));
        }
        self.rels.push(idx);
        Ok(())
    }
}

/// Whether `name` is `base` or `base.something`.
fn is_named(name: &str, base: &str) -> bool {
    name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn data_kind(name: &str) -> Option<MapKind> {
    if is_named(name, ".data") {
        Some(MapKind::Data)
    } else if is_named(name, ".rodata") {
        Some(MapKind::Rodata)
    } else {
        None
    }
}

fn refuse_unsupported(section: &Section<'_>) -> Result<(), Error> {
    let what = match section.name.trim_start_matches('?') {
        ".struct_ops" | ".struct_ops.link" => "struct_ops maps are",
        ".addr_space.1" => "variables in an arena are",
        ".jumptables" => "jump tables are",
        _ => return Ok(()),
    };
    Err(Error::Unsupported { section: section.name.to_string(), what })
}

pub(crate) fn malformed(section: &Section<'_>, reason: &'static str) -> Error {
    Error::Section { section: section.name.to_string(), offset: 0, reason }
}

fn license(section: &Section<'_>) -> Result<String, Error> {
    let end = section.data.iter().position(|&b| b == 0).unwrap_or(section.data.len());
    core::str::from_utf8(&section.data[..end.min(LICENSE_MAX)])
        .map(ToString::to_string)
        .map_err(|_| malformed(section, "the licence is not UTF-8"))
}

/// Every function of the executable sections, in order (`bpf_object__add_programs`).
fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Func<'a>>, Error> {
    let mut symbols = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == STT_FUNC && symbol.shndx != 0) {
        let section =
            elf.sections.get(symbol.shndx as usize).filter(|section| section.kind == SHT_PROGBITS);
        let Some(section) = section.filter(|section| section.flags & u64::from(SHF_EXECINSTR) != 0)
        else {
            continue;
        };
        let fail = |reason| func_error(section, symbol, reason);
        if symbol.value.checked_add(symbol.size).is_none_or(|end| end > section.data.len() as u64) {
            return Err(fail("crosses the section's end"));
        }
        if symbol.size == 0 || symbol.size % 8 != 0 || symbol.value % 8 != 0 {
            return Err(fail("not a whole number of instructions"));
        }
        if symbol.value / 8 > u64::from(u32::MAX / 2) {
            return Err(fail("lies too far into the section"));
        }
        if section.name != ".text" && symbol.bind == STB_LOCAL {
            return Err(fail("a static function can only be in .text"));
        }
        symbols.push(symbol);
    }
    symbols.sort_by_key(|symbol| (symbol.shndx, symbol.value));
    for pair in symbols.windows(2) {
        if pair[0].shndx == pair[1].shndx && pair[0].value + pair[0].size > pair[1].value {
            return Err(func_error(
                &elf.sections[pair[1].shndx as usize],
                pair[1],
                "overlaps another function",
            ));
        }
    }
    Ok(symbols.into_iter().map(|symbol| func(elf, symbol)).collect())
}

fn func_error(section: &Section<'_>, symbol: &Symbol<'_>, reason: &'static str) -> Error {
    Error::Func {
        section: section.name.to_string(),
        func: symbol.name.to_string(),
        offset: symbol.value,
        size: symbol.size,
        reason,
    }
}

/// Decodes a function whose bounds have been checked.
fn func<'a>(elf: &Elf<'a>, symbol: &Symbol<'a>) -> Func<'a> {
    let section = &elf.sections[symbol.shndx as usize];
    let bytes = &section.data[symbol.value as usize..(symbol.value + symbol.size) as usize];
    let hidden = matches!(symbol.visibility, STV_HIDDEN | STV_INTERNAL);
    Func {
        name: symbol.name,
        sec_idx: symbol.shndx as usize,
        section: section.name,
        off: (symbol.value / 8) as u32,
        insns: bytes.as_chunks::<8>().0.iter().map(|slot| Insn::from_bytes(*slot)).collect(),
        hidden: symbol.bind != STB_LOCAL && hidden,
        global: symbol.bind != STB_LOCAL && !hidden,
        relos: Vec::new(),
        core_relos: Vec::new(),
    }
}
