//! The ELF container: checked sections, symbols and relocations of a BPF object.

pub(crate) mod btf_fixup;
pub(crate) mod code_info;
pub(crate) mod collect;
pub(crate) mod externs;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use object::LittleEndian;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, EM_BPF, EM_NONE, ET_REL, FileHeader64, Rel64,
    SHT_NOBITS, SHT_SYMTAB, SectionHeader64,
};
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable, Sym as _};

use crate::error::Error;

/// Offsets in `e_ident`.
const EI_CLASS: usize = 4;
const EI_DATA: usize = 5;

/// Bytes of a section's name: a path (PATH_MAX) and what surrounds it.
const MAX_SECTION_NAME: usize = 8192;
/// Bytes of a symbol's name. Names may share their bytes in the file; copies of them do not.
const MAX_SYMBOL_NAME: usize = 1024;

const LE: LittleEndian = LittleEndian;

type Header = FileHeader64<LittleEndian>;

/// A section. `data` is empty for `SHT_NOBITS`, `size` is not.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    pub name: &'a str,
    pub kind: u32,
    pub flags: u64,
    pub info: u32,
    pub entsize: u64,
    pub size: u64,
    pub data: &'a [u8],
}

/// A symbol; `shndx` is `st_shndx`, which may be special (`SHN_*`).
#[derive(Clone, Copy)]
pub(crate) struct Symbol<'a> {
    pub name: &'a str,
    pub value: u64,
    pub size: u64,
    pub shndx: u16,
    pub bind: u8,
    pub kind: u8,
    pub visibility: u8,
}

/// A relocation of a `SHT_REL` section.
#[derive(Clone, Copy)]
pub(crate) struct Rel {
    pub offset: u64,
    pub sym: usize,
}

/// A little-endian BPF relocatable object. Section 0 is ELF's empty section.
pub(crate) struct Elf<'a> {
    pub sections: Vec<Section<'a>>,
    pub symbols: Vec<Symbol<'a>>,
}

impl<'a> Elf<'a> {
    /// Reads and checks headers, names and bounds (`bpf_object__elf_init`, `bpf_object__elf_collect`).
    pub fn parse(bytes: &'a [u8]) -> Result<Elf<'a>, Error> {
        check_ident(bytes)?;
        check_end(bytes, "the ELF header", 0, size_of::<Header>() as u64)?;
        let fail = |what| move |err: object::Error| Error::Elf { what, reason: err.to_string() };
        let header = Header::parse(bytes).map_err(fail("header"))?;
        let (e_type, machine) = (header.e_type(LE), header.e_machine(LE));
        if machine != EM_BPF && machine != EM_NONE {
            return Err(Error::Machine { machine });
        }
        if e_type != ET_REL {
            return Err(Error::FileType { e_type });
        }
        let entries = u64::from(header.e_shnum(LE)) * u64::from(header.e_shentsize(LE));
        check_end(bytes, "the section table", header.e_shoff(LE), entries)?;
        let table = header.sections(LE, bytes).map_err(fail("section table"))?;
        let mut sections = Vec::with_capacity(table.len());
        for (index, shdr) in table.iter().enumerate() {
            if shdr.sh_type(LE) != SHT_NOBITS {
                check_end(bytes, "a section", shdr.sh_offset(LE), shdr.sh_size(LE))?;
            }
            let section = section(&table, shdr, bytes);
            sections.push(section.map_err(|reason| Error::SectionHeader { index, reason })?);
        }
        // Bytes that many sections share would be copied for each.
        let held =
            sections.iter().fold(0usize, |sum, section| sum.saturating_add(section.data.len()));
        if held > bytes.len() {
            return Err(Error::Elf {
                what: "section table",
                reason: "sections overlap".to_string(),
            });
        }
        match sections.iter().filter(|section| section.kind == SHT_SYMTAB).count() {
            0 => return Err(Error::NoSymbols),
            1 => {}
            count => return Err(Error::SymbolTables { count }),
        }
        let symtab = table.symbols(LE, bytes, SHT_SYMTAB).map_err(fail("symbol table"))?;
        let mut symbols = Vec::with_capacity(symtab.len());
        for (index, sym) in symtab.symbols().iter().enumerate() {
            let name = sym.name(LE, symtab.strings()).map_err(|err| err.to_string());
            let name = name.and_then(|raw| checked_name(raw, MAX_SYMBOL_NAME));
            symbols.push(Symbol {
                name: name.map_err(|reason| Error::Symbol { index, reason })?,
                value: sym.st_value(LE),
                size: sym.st_size(LE),
                shndx: sym.st_shndx(LE),
                bind: sym.st_bind(),
                kind: sym.st_type(),
                visibility: sym.st_visibility(),
            });
        }
        Ok(Elf { sections, symbols })
    }

    /// Relocations of a `SHT_REL` section.
    pub fn rels(&self, section: &Section<'a>) -> Result<impl Iterator<Item = Rel> + 'a, Error> {
        let size = size_of::<Rel64<LittleEndian>>();
        if section.entsize != size as u64 || !section.data.len().is_multiple_of(size) {
            return Err(Error::Section {
                section: section.name.to_string(),
                offset: 0,
                reason: "its entries are no 64-bit REL entries",
            });
        }
        let (rels, _) = object::pod::slice_from_bytes::<Rel64<LittleEndian>>(
            section.data,
            section.data.len() / size,
        )
        .unwrap_or((&[], &[]));
        Ok(rels.iter().map(|rel| Rel { offset: rel.r_offset.get(LE), sym: rel.r_sym(LE) as usize }))
    }

    /// Index of the first section of that name.
    pub fn section_idx(&self, name: &str) -> Option<usize> {
        self.sections.iter().skip(1).position(|section| section.name == name).map(|idx| idx + 1)
    }

    /// The name to show for a symbol: section symbols have their section's.
    pub fn symbol_name(&self, symbol: &Symbol<'a>) -> &'a str {
        if !symbol.name.is_empty() {
            return symbol.name;
        }
        self.sections.get(symbol.shndx as usize).map_or("", |section| section.name)
    }
}

fn section<'a>(
    table: &SectionTable<'a, Header>,
    shdr: &SectionHeader64<LittleEndian>,
    bytes: &'a [u8],
) -> Result<Section<'a>, String> {
    let name = table.section_name(LE, shdr).map_err(|err| err.to_string())?;
    Ok(Section {
        name: checked_name(name, MAX_SECTION_NAME)?,
        kind: shdr.sh_type(LE),
        flags: shdr.sh_flags(LE),
        info: shdr.sh_info(LE),
        entsize: shdr.sh_entsize(LE),
        size: shdr.sh_size(LE),
        data: shdr.data(LE, bytes).map_err(|err| err.to_string())?,
    })
}

fn checked_name(raw: &[u8], max: usize) -> Result<&str, String> {
    if raw.len() > max {
        return Err(format!("its name of {} bytes exceeds {max}", raw.len()));
    }
    core::str::from_utf8(raw).map_err(|_| "its name is not UTF-8".to_string())
}

/// Whether `size` bytes from `start` lie in the file. Sums that overflow are other faults than a lost end.
fn check_end(bytes: &[u8], what: &'static str, start: u64, size: u64) -> Result<(), Error> {
    match start.checked_add(size) {
        Some(end) if end > bytes.len() as u64 => Err(Error::CutOff { what, end, len: bytes.len() }),
        _ => Ok(()),
    }
}

fn check_ident(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() < 16 || bytes[..4] != ELFMAG {
        return Err(Error::NotElf { len: bytes.len() });
    }
    if bytes[EI_CLASS] != ELFCLASS64 {
        return Err(Error::Class { class: bytes[EI_CLASS] });
    }
    match bytes[EI_DATA] {
        ELFDATA2LSB => Ok(()),
        ELFDATA2MSB => {
            let machine = bytes.get(18..20).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
            match machine {
                EM_BPF | EM_NONE => Err(Error::BigEndian),
                _ => Err(Error::Machine { machine }),
            }
        }
        data => Err(Error::ByteOrder { data }),
    }
}
