//! Initial slots of maps of maps and program arrays (`bpf_object__collect_map_relos`).

use alloc::collections::BTreeMap;
use alloc::string::ToString;

use stylet_btf::Btf;
use stylet_uapi::MapType;

use crate::elf::collect::Collected;
use crate::elf::{Elf, Rel, Symbol};
use crate::error::{Error, MapFault};
use crate::link::relo::map_rels;
use crate::maps::btf::{BtfMap, is_map_in_map};
use crate::spec::SlotValue;

/// Bytes of a pointer in a BPF object.
const PTR_SIZE: u64 = 8;

/// What the initial slots may name.
pub(crate) struct SlotNames<'a> {
    /// Index of a map by name.
    pub map: &'a dyn Fn(&str) -> Option<u32>,
    /// Index of an entry-point program by section and byte offset.
    pub prog: &'a dyn Fn(usize, u64) -> Option<u32>,
}

/// Reads the relocations of `.maps` into the maps' `values`.
pub(crate) fn fill_values(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    btf: &Btf,
    maps: &mut [BtfMap<'_>],
    names: &SlotNames<'_>,
) -> Result<(), Error> {
    // Maps lie behind one another: the one that holds an offset is the last that starts at or before it.
    let mut by_offset: BTreeMap<u32, usize> = BTreeMap::new();
    for (idx, map) in maps.iter().enumerate() {
        by_offset.insert(map.var.offset, idx);
    }
    let mut values: BTreeMap<(usize, u32), SlotValue> = BTreeMap::new();
    for rel in map_rels(elf, collected)? {
        let malformed =
            |reason| Error::Section { section: ".maps".to_string(), offset: rel.offset, reason };
        let symbol = elf
            .symbols
            .get(rel.sym)
            .ok_or_else(|| malformed("relocation names a symbol that does not exist"))?;
        let offset = u32::try_from(rel.offset)
            .map_err(|_| malformed("relocation is outside of the section"))?;
        let held = by_offset.range(..=offset).next_back().map(|(_, &idx)| idx);
        let held = held.filter(|&idx| {
            let var = maps[idx].var;
            rel.offset + PTR_SIZE <= u64::from(var.offset) + u64::from(var.size)
        });
        let idx = held.ok_or_else(|| malformed("relocation is in no map"))?;
        let map = &maps[idx];
        let fail = |reason| {
            let symbol = elf.symbol_name(symbol).to_string();
            Error::Map {
                map: map.map.name.clone(),
                fault: MapFault::Value { offset: rel.offset, symbol, reason },
            }
        };
        let value = slot_value(collected, map, symbol, names).map_err(fail)?;
        let slot = slot(btf, map, rel).map_err(fail)?;
        values.insert((idx, slot), value);
    }
    for ((idx, slot), value) in values {
        maps[idx].map.values.push((slot, value));
    }
    Ok(())
}

fn slot_value(
    collected: &Collected<'_>,
    map: &BtfMap<'_>,
    symbol: &Symbol<'_>,
    names: &SlotNames<'_>,
) -> Result<SlotValue, &'static str> {
    if is_map_in_map(map.map.map_type) {
        if Some(symbol.shndx as usize) != collected.btf_maps {
            return Err("not a map of section .maps");
        }
        if map.map.map_type == MapType::HASH_OF_MAPS && map.map.key_size != 4 {
            return Err("only a hash of maps with a key of 4 bytes can have initial slots");
        }
        return (names.map)(symbol.name).map(SlotValue::Map).ok_or("not a map of this object");
    }
    if map.map.map_type == MapType::PROG_ARRAY {
        let prog = (names.prog)(symbol.shndx as usize, symbol.value);
        return prog.map(SlotValue::Prog).ok_or("not an entry-point program of this object");
    }
    Err("the map is neither map-in-map nor prog-array")
}

fn slot(btf: &Btf, map: &BtfMap<'_>, rel: Rel) -> Result<u32, &'static str> {
    let last = map.def.len().checked_sub(1).and_then(|last| map.def.member(last));
    let values = last
        .filter(|member| btf.name(member.name_off) == "values")
        .ok_or("the map has no values")?;
    let start = u64::from(map.var.offset) + u64::from(values.bit_offset / 8);
    let inside = rel.offset.checked_sub(start).ok_or("not among the map's values")?;
    if inside % PTR_SIZE != 0 {
        return Err("not at the start of a value");
    }
    u32::try_from(inside / PTR_SIZE).map_err(|_| "not among the map's values")
}
