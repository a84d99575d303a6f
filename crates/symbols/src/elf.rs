//! Functions of an ELF file.

use crate::frames::Frames;
use crate::mmap::Mmap;
use crate::usdt::{Marker, markers};
use crate::{Error, Result};
use crate::{Place, glob_match, similar};
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{
    FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym, SymbolTable, VersionTable,
};
use object::{Endianness, ReadRef};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Index of the class byte in `e_ident`.
const EI_CLASS: usize = 4;

/// A function symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Func {
    /// Name, without version.
    pub name: String,
    /// Version, if the symbol has one.
    pub version: Option<String>,
    /// It is the version a linker takes for the bare name.
    pub default: bool,
    /// Address in the file's own address space.
    pub vaddr: u64,
    /// Bytes, 0 if unknown.
    pub size: u64,
    /// `STT_GNU_IFUNC`: this is the resolver.
    pub ifunc: bool,
    /// `STB_GLOBAL` or `STB_WEAK`.
    pub global: bool,
}

/// A `PT_LOAD` segment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Load {
    vaddr: u64,
    offset: u64,
    filesz: u64,
    exec: bool,
}

/// What is needed of an ELF file: segments and functions.
#[derive(Clone, Debug)]
pub struct ElfImage {
    path: PathBuf,
    loads: Vec<Load>,
    /// By address, then size.
    funcs: Vec<Func>,
    markers: Vec<Marker>,
    /// Only of a file without `.symtab`.
    frames: Option<Frames>,
    /// The Go runtime's tables are there: stacks move.
    pub is_go: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `ET_DYN`: it is loaded at an address of the loader's choice.
    pub is_dyn: bool,
    /// `ELFCLASS64`.
    pub is_64: bool,
}

impl ElfImage {
    /// Reads a file. `shown` is its path in messages.
    pub fn open(file: &Path, shown: &Path) -> Result<ElfImage> {
        let failed = |source| Error::File { path: shown.to_owned(), source };
        let map = Mmap::new(&File::open(file).map_err(failed)?).map_err(failed)?;
        Self::parse(&map, shown)
    }

    /// Reads only what the address of one function takes: [`func`](ElfImage::func) and [`place`](ElfImage::place) of this
    /// `name` (maybe with a version) answer as for the whole file if they find it, in a fraction of the time; there are no
    /// other functions, no markers and no unwind tables. Where they do not find it the whole file tells more.
    pub fn open_for(file: &Path, shown: &Path, name: &str) -> Result<ElfImage> {
        let failed = |source| Error::File { path: shown.to_owned(), source };
        let map = Mmap::new(&File::open(file).map_err(failed)?).map_err(failed)?;
        Self::parse_part(&map, shown, Some(&split_version(name).0))
    }

    /// Parses the bytes of a file.
    pub fn parse(data: &[u8], path: &Path) -> Result<ElfImage> {
        Self::parse_part(data, path, None)
    }

    fn parse_part(data: &[u8], path: &Path, only: Option<&str>) -> Result<ElfImage> {
        let parsed = match data.get(EI_CLASS) {
            Some(&elf::ELFCLASS32) => Self::parse_as::<FileHeader32<Endianness>>(data, path, only),
            _ => Self::parse_as::<FileHeader64<Endianness>>(data, path, only),
        };
        parsed.map_err(|e| Error::BadElf { path: path.to_owned(), why: e.to_string() })
    }

    fn parse_as<H: FileHeader<Endian = Endianness>>(
        data: &[u8],
        path: &Path,
        only: Option<&str>,
    ) -> object::Result<ElfImage> {
        let header = H::parse(data)?;
        let endian = header.endian()?;
        let mut image = ElfImage {
            path: path.to_owned(),
            loads: Vec::new(),
            funcs: Vec::new(),
            markers: Vec::new(),
            frames: None,
            is_go: false,
            machine: header.e_machine(endian),
            is_dyn: header.e_type(endian) == elf::ET_DYN,
            is_64: header.is_class_64(),
        };
        for segment in header.program_headers(endian, data)? {
            if segment.p_type(endian) == elf::PT_LOAD {
                image.loads.push(Load {
                    vaddr: segment.p_vaddr(endian).into(),
                    offset: segment.p_offset(endian).into(),
                    filesz: segment.p_filesz(endian).into(),
                    exec: segment.p_flags(endian) & elf::PF_X != 0,
                });
            }
        }
        let sections = header.sections(endian, data)?;
        let has = |name: &[u8]| sections.section_by_name(endian, name).is_some();
        image.is_go = has(b".gopclntab") || has(b".go.buildinfo");
        image.read_symbols(endian, data, &sections, only);
        if only.is_some() {
            return Ok(image);
        }
        image.markers = markers(endian, data, &sections);
        if sections.iter().all(|s| s.sh_type(endian) != elf::SHT_SYMTAB) {
            image.frames = Frames::of(endian, data, &sections);
        }
        Ok(image)
    }

    /// Reads both symbol tables; damaged ones count as absent.
    fn read_symbols<'d, H: FileHeader<Endian = Endianness>>(
        &mut self,
        endian: Endianness,
        data: &'d [u8],
        sections: &SectionTable<'d, H>,
        only: Option<&str>,
    ) {
        let versions = sections.versions(endian, data).ok().flatten();
        if let Ok(table) = sections.symbols(endian, data, elf::SHT_DYNSYM) {
            self.add_table(endian, &table, versions.as_ref(), only);
        }
        if let Ok(table) = sections.symbols(endian, data, elf::SHT_SYMTAB) {
            self.add_table(endian, &table, None, only);
        }
        self.funcs.sort_by(|a, b| {
            (a.vaddr, b.size, &a.name, &b.version).cmp(&(b.vaddr, a.size, &b.name, &a.version))
        });
        self.funcs.dedup_by(|a, b| {
            a.vaddr == b.vaddr
                && a.name == b.name
                && (a.version == b.version || a.version.is_none())
        });
    }

    fn add_table<'d, H: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
        &mut self,
        endian: Endianness,
        table: &SymbolTable<'d, H, R>,
        versions: Option<&VersionTable<'d, H>>,
        only: Option<&str>,
    ) {
        for (index, symbol) in table.enumerate() {
            let ifunc = symbol.st_type() == elf::STT_GNU_IFUNC;
            if symbol.is_undefined(endian) || symbol.st_type() != elf::STT_FUNC && !ifunc {
                continue;
            }
            let Ok(text) = table.symbol_name(endian, symbol) else { continue };
            if only.is_some_and(|only| !is_named(text, only)) {
                continue;
            }
            let text = String::from_utf8_lossy(text);
            let (name, mut version, mut default) = split_version(&text);
            if let Some(versions) = versions {
                let of = versions.version_index(endian, index);
                default = !of.is_hidden();
                let entry = versions.version(of).ok().flatten();
                version = entry.map(|v| String::from_utf8_lossy(v.name()).into_owned());
            }
            self.funcs.push(Func {
                name,
                version,
                default,
                vaddr: symbol.st_value(endian).into(),
                size: symbol.st_size(endian).into(),
                ifunc,
                global: symbol.st_bind() != elf::STB_LOCAL,
            });
        }
    }

    /// Path in messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All functions, by address.
    pub fn funcs(&self) -> &[Func] {
        &self.funcs
    }

    /// All USDT markers, in the file's order.
    pub fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// The places of a USDT marker, at least one.
    pub fn marker(&self, provider: &str, name: &str) -> Result<Vec<&Marker>> {
        let fits = |m: &&Marker| m.provider == provider && m.name == name;
        let found: Vec<&Marker> = self.markers.iter().filter(fits).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let shown: Vec<String> =
            self.markers.iter().map(|m| format!("{}:{}", m.provider, m.name)).collect();
        Err(Error::NoMarker {
            path: self.path.clone(),
            provider: provider.to_owned(),
            name: name.to_owned(),
            near: similar(&format!("{provider}:{name}"), shown.iter().map(String::as_str)),
        })
    }

    /// File offset of an address of the file's own address space.
    pub fn offset_of(&self, vaddr: u64) -> Option<u64> {
        let load =
            self.loads.iter().find(|l| vaddr.checked_sub(l.vaddr).is_some_and(|d| d < l.filesz))?;
        Some(load.offset + (vaddr - load.vaddr))
    }

    /// Address of a file offset. Code is preferred where segments share bytes of the file.
    pub fn vaddr_of(&self, offset: u64) -> Option<u64> {
        let hit = |l: &&Load| offset.checked_sub(l.offset).is_some_and(|d| d < l.filesz);
        let load = self.loads.iter().filter(hit).max_by_key(|l| l.exec)?;
        Some(load.vaddr + (offset - load.offset))
    }

    /// The function around an address: of those that start last before it the longest.
    pub fn func_at(&self, vaddr: u64) -> Option<&Func> {
        let end = self.funcs.partition_point(|f| f.vaddr <= vaddr);
        let last = self.funcs[..end].last()?.vaddr;
        let first = self.funcs[..end].partition_point(|f| f.vaddr < last);
        let longest = self.funcs[first..end].iter().max_by_key(|f| f.size)?;
        (longest.size == 0 || vaddr - last < longest.size).then_some(longest)
    }

    /// Bounds of the function around an address, in a stripped file by its unwind tables. A symbol without size ends where
    /// the next one starts.
    pub fn bounds_at(&self, vaddr: u64) -> Option<Range<u64>> {
        let func = self.func_at(vaddr);
        if func.is_none_or(|f| f.size == 0)
            && let Some(bounds) = self.frames.as_ref().and_then(|f| f.bounds_at(vaddr))
        {
            return Some(bounds);
        }
        let func = func?;
        let next = self.next_after(func.vaddr).map(|f| f.vaddr);
        let end = if func.size != 0 { func.vaddr + func.size } else { next? };
        Some(func.vaddr..end)
    }

    /// The first function that starts behind an address.
    pub fn next_after(&self, vaddr: u64) -> Option<&Func> {
        self.funcs.get(self.funcs.partition_point(|f| f.vaddr <= vaddr))
    }

    /// Functions whose name matches a pattern with `*` and `?`; resolvers of indirect functions are left out.
    pub fn matching(&self, pattern: &str) -> impl Iterator<Item = &Func> {
        self.funcs.iter().filter(move |f| !f.ifunc && f.vaddr != 0 && glob_match(pattern, &f.name))
    }

    /// The function of a name, `name@VERSION` or `name@@VERSION`. Of several the default version is taken, then a global one.
    pub fn func(&self, name: &str) -> Result<&Func> {
        let (bare, version, _) = split_version(name);
        let fits = |f: &&Func| {
            f.name == bare && (version.is_none() || f.version == version) && f.vaddr != 0
        };
        let found = self
            .funcs
            .iter()
            .filter(fits)
            .max_by_key(|f| (f.default, f.global, f.version.is_some()));
        let Some(func) = found else {
            let near = similar(&bare, self.funcs.iter().map(|f| f.name.as_str()));
            return Err(Error::NoSymbol { path: self.path.clone(), name: name.to_owned(), near });
        };
        if func.ifunc { Err(self.ifunc(func)) } else { Ok(func) }
    }

    fn ifunc(&self, func: &Func) -> Error {
        let pattern = format!("__{}_*", func.name);
        let names: Vec<&str> = self.matching(&pattern).map(|f| f.name.as_str()).take(3).collect();
        let hint = match names.as_slice() {
            [] => "the file has no symbols for its implementations; name one by its file offset"
                .to_owned(),
            names => format!("in this file for example {}", names.join(", ")),
        };
        Error::Ifunc { path: self.path.clone(), name: func.name.clone(), hint }
    }

    /// Address of a place, and the function it is in, if known.
    pub fn place(&self, place: &Place) -> Result<(u64, Option<&Func>)> {
        match place {
            Place::Function { name, offset } => {
                let func = self.func(name)?;
                if func.size != 0 && *offset >= func.size {
                    let text = format!("{name}+{offset:#x}");
                    return Err(Error::BadSpec {
                        text,
                        why: "the offset is behind the function's end",
                    });
                }
                Ok((func.vaddr + offset, Some(func)))
            }
            Place::FileOffset(offset) => {
                let outside = || Error::BadSpec {
                    text: format!("{offset:#x}"),
                    why: "no segment holds this file offset",
                };
                let vaddr = self.vaddr_of(*offset).ok_or_else(outside)?;
                Ok((vaddr, self.func_at(vaddr)))
            }
        }
    }
}

/// Whether a symbol's text is this bare name, with or without a version. Names that are no UTF-8 never are.
fn is_named(text: &[u8], bare: &str) -> bool {
    text.strip_prefix(bare.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'@', ..]))
}

/// `name@VERSION`, `name@@VERSION` (the default version), or a bare name.
fn split_version(text: &str) -> (String, Option<String>, bool) {
    match text.split_once('@') {
        Some((name, version)) if !name.is_empty() => {
            let default = version.starts_with('@');
            (name.to_owned(), Some(version.trim_start_matches('@').to_owned()), default)
        }
        _ => (text.to_owned(), None, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ElfImage {
        let path = std::env::current_exe().unwrap();
        ElfImage::open(&path, &path).unwrap()
    }

    #[test]
    fn own_functions() {
        let image = own();
        let main = image.func("main").unwrap();
        let offset = image.offset_of(main.vaddr).unwrap();
        assert_eq!(image.vaddr_of(offset), Some(main.vaddr));
        assert_eq!(image.func_at(main.vaddr + 1).unwrap().vaddr, main.vaddr);
        assert_eq!(image.bounds_at(main.vaddr).unwrap(), main.vaddr..main.vaddr + main.size);
        assert!(matches!(image.func("mian"), Err(Error::NoSymbol { .. })));
        assert!(!image.is_go);
    }

    #[test]
    fn places() {
        let image = own();
        let main = image.func("main").unwrap().clone();
        let at = |text: &str| {
            image.place(&format!("x:{text}").parse::<crate::Symbolic>().unwrap().place).map(|p| p.0)
        };
        assert_eq!(at("main+1").unwrap(), main.vaddr + 1);
        assert_eq!(
            at(&format!("{:#x}", image.offset_of(main.vaddr).unwrap())).unwrap(),
            main.vaddr
        );
        assert!(matches!(at("main+0x7fffffff"), Err(Error::BadSpec { .. })));
        assert!(matches!(at("0x7fffffffffff"), Err(Error::BadSpec { .. })));
    }

    #[test]
    fn damaged_files_are_errors() {
        let data = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in [0, 4, 63, 64, 100, 1000] {
            let _ = ElfImage::parse(&data[..len], Path::new("x"));
        }
        assert!(ElfImage::parse(&data[..63], Path::new("x")).is_err());
        let mut head = data[..data.len().min(1 << 16)].to_vec();
        for i in 0..64 {
            head[i] ^= 0xff;
            let _ = ElfImage::parse(&head, Path::new("x"));
            head[i] ^= 0xff;
        }
    }

    #[test]
    fn libc_has_versions_and_indirect_functions() {
        let maps = crate::Maps::of(std::process::id() as i32).unwrap();
        let Some(path) = maps.0.iter().filter_map(|m| m.path()).find(|p| p.ends_with("libc.so.6"))
        else {
            println!("skipped: this program does not use glibc");
            return;
        };
        let libc = ElfImage::open(&path, &path).unwrap();
        assert!(matches!(libc.func("memcpy"), Err(Error::Ifunc { .. })));
        let malloc = libc.func("malloc").unwrap();
        assert_eq!(malloc.version.as_deref(), Some("GLIBC_2.2.5"));
        assert_eq!(libc.func("malloc@GLIBC_2.2.5").unwrap().vaddr, malloc.vaddr);
        assert!(libc.func("malloc@GLIBC_9").is_err());
        assert!(libc.matching("*alloc").count() > 3);
        for name in ["malloc", "malloc@GLIBC_2.2.5", "memcpy", "pthread_create", "nothing"] {
            let part = ElfImage::open_for(&path, &path, name).unwrap();
            assert_eq!(part.func(name).ok(), libc.func(name).ok(), "{name}");
            assert!(part.funcs().iter().all(|f| name.starts_with(&f.name)), "{name}");
        }
    }
}
