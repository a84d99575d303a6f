//! Addresses of a process as names.

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The file mappings of a process at some time.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    maps: Vec<Mapping>,
}

#[derive(Clone, Debug)]
struct Mapping {
    start: u64,
    end: u64,
    file_offset: u64,
    path: PathBuf,
}

impl Mappings {
    /// Reads the executable file mappings of a process; empty when it is gone.
    pub fn of(pid: i32) -> Mappings {
        let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        Mappings { maps: text.lines().filter_map(parse).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    fn find(&self, address: u64) -> Option<(&Path, u64)> {
        let map = self.maps.iter().find(|m| (m.start..m.end).contains(&address))?;
        Some((&map.path, address - map.start + map.file_offset))
    }
}

/// `start-end perms offset dev inode path` of an executable file mapping.
fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    if !fields.next()?.contains('x') {
        return None;
    }
    let file_offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let path = fields.nth(2)?.trim_start();
    path.starts_with('/').then(|| {
        Some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            file_offset,
            path: PathBuf::from(path),
        })
    })?
}

/// Names of functions, read from the files' symbol tables when first needed.
#[derive(Debug, Default)]
pub struct Symbolizer {
    files: HashMap<PathBuf, File>,
}

/// What is needed of an ELF file.
#[derive(Debug, Default)]
struct File {
    /// File offset, size, address of each loaded segment.
    segments: Vec<(u64, u64, u64)>,
    /// Address, size, name of each function, ascending.
    functions: Vec<(u64, u64, String)>,
}

impl Symbolizer {
    /// `function+0x1f (libc.so.6)`; the file and the offset in it where no symbol covers the address; the bare address where
    /// no file does.
    pub fn name(&mut self, maps: &Mappings, address: u64) -> String {
        let Some((path, offset)) = maps.find(address) else { return format!("{address:#x}") };
        let base = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = self.files.entry(path.to_path_buf()).or_insert_with(|| File::read(path));
        match file.function(offset) {
            Some((name, rest)) => {
                format!("{:#}+{rest:#x} ({base})", rustc_demangle::demangle(name))
            }
            None => format!("+{offset:#x} ({base})"),
        }
    }
}

impl File {
    /// A file that can not be read or parsed has no symbols.
    fn read(path: &Path) -> File {
        let Ok(bytes) = std::fs::read(path) else { return File::default() };
        let Ok(elf) = object::File::parse(&*bytes) else { return File::default() };
        let segments = elf.segments().map(|s| {
            let (offset, size) = s.file_range();
            (offset, size, s.address())
        });
        let symbols = elf.symbols().chain(elf.dynamic_symbols());
        let mut functions: Vec<(u64, u64, String)> = symbols
            .filter(|s| s.kind() == object::SymbolKind::Text && s.is_definition() && s.size() > 0)
            .filter_map(|s| Some((s.address(), s.size(), s.name().ok()?.to_owned())))
            .collect();
        functions.sort();
        File { segments: segments.collect(), functions }
    }

    /// The function at a file offset, and how far into it that is.
    fn function(&self, offset: u64) -> Option<(&str, u64)> {
        let (start, _, address) = self
            .segments
            .iter()
            .find(|(o, size, _)| (*o..o.saturating_add(*size)).contains(&offset))?;
        let address = offset - start + address;
        let after = self.functions.partition_point(|(a, ..)| *a <= address);
        let (at, size, name) = self.functions.get(after.checked_sub(1)?)?;
        (address - at < *size).then(|| (name.as_str(), address - at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_maps() {
        let map = parse("7f00-7f80 r-xp 00001000 08:01 42                 /lib/a b.so").unwrap();
        assert_eq!((map.start, map.end, map.file_offset), (0x7f00, 0x7f80, 0x1000));
        assert_eq!(map.path, Path::new("/lib/a b.so"));
        assert!(parse("7f00-7f80 rw-p 00001000 08:01 42 /lib/a.so").is_none());
        assert!(parse("7f00-7f80 r-xp 00000000 00:00 0 [vdso]").is_none());
    }

    #[test]
    fn own_functions_have_names() {
        let maps = Mappings::of(std::process::id() as i32);
        let address = own_functions_have_names as *const () as u64;
        let name = Symbolizer::default().name(&maps, address);
        assert!(name.contains("own_functions_have_names+0x0"), "{name}");
    }
}
