//! Legacy map definitions: `struct bpf_map_def SEC("maps")` (libbpf before 1.0, `bpf_object__init_user_maps`).

use alloc::string::ToString;
use alloc::vec::Vec;

use object::elf::{STB_LOCAL, STT_SECTION};
use stylet_uapi::MapType;

use crate::elf::collect::malformed;
use crate::elf::{Elf, Symbol};
use crate::error::{Error, MapFault};
use crate::spec::MapSpec;

/// Bytes of `struct bpf_map_def`: type, key size, value size, entries, flags.
const MAP_DEF_SIZE: usize = 20;

/// The maps of section `idx`, each with its byte offset there, ascending.
///
/// The section is cut evenly among its symbols; a definition longer than libbpf's must be zero beyond it, a shorter
/// one is zero where it ends.
pub(crate) fn legacy_maps(elf: &Elf<'_>, idx: usize) -> Result<Vec<(u64, MapSpec)>, Error> {
    let section = &elf.sections[idx];
    let of_section =
        |symbol: &&Symbol<'_>| symbol.shndx as usize == idx && symbol.kind != STT_SECTION;
    let mut symbols: Vec<&Symbol<'_>> = elf.symbols.iter().filter(of_section).collect();
    symbols.sort_by_key(|symbol| symbol.value);
    if section.data.is_empty() || symbols.is_empty() {
        return Ok(Vec::new());
    }
    if !section.data.len().is_multiple_of(symbols.len()) {
        return Err(malformed(section, "map definitions of different sizes"));
    }
    let size = section.data.len() / symbols.len();
    symbols
        .into_iter()
        .map(|symbol| Ok((symbol.value, map(section.name, section.data, size, symbol)?)))
        .collect()
}

fn map(section: &str, data: &[u8], size: usize, symbol: &Symbol<'_>) -> Result<MapSpec, Error> {
    let fail = |reason| Error::Map {
        map: symbol.name.to_string(),
        fault: MapFault::Definition { reason },
    };
    if symbol.name.is_empty() {
        return Err(fail("a map without a name"));
    }
    if symbol.bind == STB_LOCAL {
        return Err(fail("a map cannot be static"));
    }
    let start = usize::try_from(symbol.value).ok();
    let bytes = start.and_then(|start| data.get(start..start.checked_add(size)?));
    let bytes = bytes.ok_or_else(|| fail("the definition crosses the section's end"))?;
    if bytes.iter().skip(MAP_DEF_SIZE).any(|&b| b != 0) {
        return Err(fail("the definition has fields that are not known and not zero"));
    }
    let field = |idx: usize| {
        bytes.get(idx * 4..idx * 4 + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    };
    Ok(MapSpec {
        name: symbol.name.to_string(),
        section: section.to_string(),
        map_type: MapType(field(0)),
        key_size: field(1),
        value_size: field(2),
        max_entries: field(3),
        map_flags: field(4),
        ..MapSpec::default()
    })
}
