//! Names and addresses of a process's code.

use super::Target;
use super::state::State;
use crate::proc::{Map, Maps};
use crate::symbols::{ElfImage, FileRef, Func, Symbolic, find_file, open_mapped};
use crate::{Error, Result};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use stylet_symbols::usdt::Marker;

/// `e_machine` of x86-64.
const EM_X86_64: u16 = 62;

/// A site with what its file says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Address in the process.
    pub site: u64,
    /// Address of the function around it, 0 if unknown.
    pub func_ip: u64,
    /// The function's bounds, if known.
    pub func: Option<Range<u64>>,
    /// The function's name, if known.
    pub name: Option<String>,
    /// File, as the process names it.
    pub path: PathBuf,
}

/// A place of a USDT marker in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerPlace {
    /// Where.
    pub site: Resolved,
    /// Address of its semaphore, if it has one.
    pub semaphore: Option<u64>,
    /// Its arguments as the assembler wrote them.
    pub args: String,
}

/// What a file's symbols say about an address of a process.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Bounds of the function, if known.
    pub func: Option<Range<u64>>,
    /// The first symbol behind the address.
    pub next_symbol: Option<(String, u64)>,
    /// The file is a Go program.
    pub is_go: bool,
}

impl Target {
    /// Finds the address of `path:function+offset` in the process. The path may be a library's name (`libc`).
    pub fn resolve(&mut self, what: &Symbolic) -> Result<Resolved> {
        let maps = self.maps()?;
        let file = find_file(&what.path, Some((self.pid, &maps)))?;
        let map = mapped(self.pid, &maps, &file)?.clone();
        let image = self.state_mut().image(&map)?;
        let (vaddr, func) = image.place(&what.place)?;
        resolved(self.pid, &maps, &map, &image, vaddr, func)
    }

    /// Functions of a mapped file whose names match a pattern with `*` and `?`; of several names of one address the first.
    pub fn functions(&mut self, path: &str, pattern: &str) -> Result<Vec<Resolved>> {
        let maps = self.maps()?;
        let file = find_file(path, Some((self.pid, &maps)))?;
        let map = mapped(self.pid, &maps, &file)?.clone();
        let image = self.state_mut().image(&map)?;
        let found = image
            .matching(pattern)
            .map(|f| resolved(self.pid, &maps, &map, &image, f.vaddr, Some(f)));
        let mut found: Vec<Resolved> = found.flatten().collect();
        found.dedup_by_key(|r| r.site);
        Ok(found)
    }

    /// The places of a USDT marker of a mapped file.
    pub fn marker(&mut self, path: &str, provider: &str, name: &str) -> Result<Vec<MarkerPlace>> {
        let maps = self.maps()?;
        let file = find_file(path, Some((self.pid, &maps)))?;
        let map = mapped(self.pid, &maps, &file)?.clone();
        let image = self.state_mut().image(&map)?;
        let place = |marker: &Marker| {
            let func = image.func_at(marker.vaddr);
            let site = resolved(self.pid, &maps, &map, &image, marker.vaddr, func)?;
            let bias = site.site.wrapping_sub(marker.vaddr);
            let semaphore = (marker.semaphore != 0).then(|| marker.semaphore.wrapping_add(bias));
            Ok(MarkerPlace { site, semaphore, args: marker.args.clone() })
        };
        image.marker(provider, name)?.into_iter().map(place).collect()
    }
}

impl State {
    /// The file of a mapping, read once.
    pub fn image(&mut self, map: &Map) -> Result<Arc<ElfImage>> {
        let key = (map.dev, map.inode);
        if let Some(image) = self.images.get(&key) {
            return Ok(image.clone());
        }
        let file = open_mapped(self.pid, map)?;
        let image = Arc::new(ElfImage::open(&file.open, &file.path)?);
        if image.machine != EM_X86_64 {
            let why = "not an x86-64 file".to_owned();
            return Err(stylet_symbols::Error::BadElf { path: file.path, why }.into());
        }
        self.images.insert(key, image.clone());
        Ok(image)
    }

    /// What symbols say about the code at an address. A file that cannot be read says nothing.
    pub fn around(&mut self, map: &Map, addr: u64) -> Around {
        let Ok(image) = self.image(map) else { return Around::default() };
        let Some(vaddr) = image.vaddr_of(addr - map.start + map.offset) else {
            return Around::default();
        };
        let bias = addr.wrapping_sub(vaddr);
        let bounds =
            image.bounds_at(vaddr).map(|b| b.start.wrapping_add(bias)..b.end.wrapping_add(bias));
        let next = image.next_after(vaddr).map(|f| (f.name.clone(), f.vaddr.wrapping_add(bias)));
        Around { func: bounds, next_symbol: next, is_go: image.is_go }
    }
}

/// The first mapping of a file.
fn mapped<'m>(pid: i32, maps: &'m Maps, file: &FileRef) -> Result<&'m Map> {
    let by_path = maps.0.iter().find(|m| m.is_file() && m.path().as_ref() == Some(&file.path));
    let inode = std::fs::metadata(&file.open).map(|m| m.ino()).unwrap_or(0);
    let by_inode =
        || maps.0.iter().find(|m| m.is_file() && m.inode == inode && m.name.starts_with('/'));
    by_path.or_else(by_inode).ok_or_else(|| Error::NotMapped { path: file.path.clone(), pid })
}

fn resolved(
    pid: i32,
    maps: &Maps,
    map: &Map,
    image: &ElfImage,
    vaddr: u64,
    func: Option<&Func>,
) -> Result<Resolved> {
    let missing = || Error::NotMapped { path: image.path().to_owned(), pid };
    let offset = image.offset_of(vaddr).ok_or_else(missing)?;
    let covers = |m: &&Map| {
        let inside = offset.checked_sub(m.offset).is_some_and(|d| d < m.size());
        m.exec && m.inode == map.inode && m.dev == map.dev && inside
    };
    let outside = || Error::NotCodeOffset { path: image.path().to_owned(), offset };
    let at = maps.0.iter().find(covers).ok_or_else(outside)?;
    let site = at.start + (offset - at.offset);
    let bias = site.wrapping_sub(vaddr);
    Ok(Resolved {
        site,
        func_ip: func.map_or(0, |f| f.vaddr.wrapping_add(bias)),
        func: image.bounds_at(vaddr).map(|b| b.start.wrapping_add(bias)..b.end.wrapping_add(bias)),
        name: func.map(|f| f.name.clone()),
        path: image.path().to_owned(),
    })
}
