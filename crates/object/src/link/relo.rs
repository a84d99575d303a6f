//! Relocations of instructions: which map, function or extern each names (`bpf_program__record_reloc`).

use alloc::string::ToString;
use alloc::vec::Vec;

use hashbrown::HashMap;
use object::elf::{
    SHN_LORESERVE, SHN_UNDEF, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_SECTION,
};
use stylet_insn::{Insn, opcode};

use crate::elf::code_info::CodeInfo;
use crate::elf::collect::{Collected, Func};
use crate::elf::{Elf, Rel, Section, Symbol};
use crate::error::{Error, RelocFault};

/// What an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloKind {
    /// A map: index into `Spec::maps`.
    Map(u32),
    /// The value of a data section's map, `offset` added to the load's immediate.
    Data { map: u32, offset: u32 },
    /// An extern: index into `Spec::externs`.
    Extern(u32),
    /// A call of a function: byte offset of its symbol in `.text`.
    Call { offset: u64 },
    /// The address of a function: byte offset of its symbol in `.text`.
    FuncAddr { offset: u64 },
}

/// A relocation of the slot `insn_idx` of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relo {
    pub insn_idx: u32,
    pub kind: ReloKind,
}

/// Where symbols of maps and externs lead.
#[derive(Default)]
pub(crate) struct Symbols {
    /// Maps by section and byte offset.
    pub maps: HashMap<(usize, u64), u32>,
    /// Data sections' maps by section.
    pub data: HashMap<usize, u32>,
    /// Externs by symbol.
    pub externs: HashMap<usize, u32>,
}

/// Whether a symbol is an extern's (`sym_is_extern`).
pub(crate) fn is_extern(symbol: &Symbol<'_>) -> bool {
    symbol.shndx == SHN_UNDEF
        && matches!(symbol.bind, STB_GLOBAL | STB_WEAK)
        && symbol.kind == STT_NOTYPE
}

/// The function that slot `slot` of section `sec_idx` belongs to (`find_prog_by_sec_insn`).
pub(crate) fn find_func(funcs: &[Func<'_>], sec_idx: usize, slot: u64) -> Option<usize> {
    let next = funcs.partition_point(|func| (func.sec_idx, u64::from(func.off)) <= (sec_idx, slot));
    let idx = next.checked_sub(1)?;
    let func = &funcs[idx];
    (func.sec_idx == sec_idx && slot - u64::from(func.off) < u64::from(func.len())).then_some(idx)
}

/// Reads the relocations of every executable section into `collected.funcs`.
pub(crate) fn collect_relos(
    elf: &Elf<'_>,
    collected: &mut Collected<'_>,
    symbols: &Symbols,
    info: &CodeInfo<'_>,
) -> Result<(), Error> {
    for idx in core::mem::take(&mut collected.rels) {
        let section = &elf.sections[idx];
        let sec_idx = section.info as usize;
        if Some(sec_idx) == collected.btf_maps {
            continue;
        }
        for rel in elf.rels(section)? {
            add_relo(elf, collected, symbols, info, section, sec_idx, rel)?;
        }
    }
    for func in &mut collected.funcs {
        func.relos.sort_by_key(|relo| relo.insn_idx);
    }
    Ok(())
}

fn add_relo(
    elf: &Elf<'_>,
    collected: &mut Collected<'_>,
    symbols: &Symbols,
    info: &CodeInfo<'_>,
    section: &Section<'_>,
    sec_idx: usize,
    rel: Rel,
) -> Result<(), Error> {
    let malformed =
        |reason| Error::Section { section: section.name.to_string(), offset: rel.offset, reason };
    let symbol = elf
        .symbols
        .get(rel.sym)
        .ok_or_else(|| malformed("relocation names a symbol that does not exist"))?;
    if symbol.shndx < SHN_LORESERVE && symbol.shndx as usize >= elf.sections.len() {
        return Err(malformed("relocation names a symbol of a section that does not exist"));
    }
    if !rel.offset.is_multiple_of(8) || rel.offset >= elf.sections[sec_idx].data.len() as u64 {
        return Err(malformed("relocation is not at an instruction"));
    }
    // A weak function that another file's replaced leaves its relocations behind.
    let Some(func_idx) = find_func(&collected.funcs, sec_idx, rel.offset / 8) else {
        return Ok(());
    };
    let func = &collected.funcs[func_idx];
    let insn_idx = (rel.offset / 8) as u32 - func.off;
    let kind =
        resolve(elf, collected, symbols, func, insn_idx, rel.sym, symbol).map_err(|fault| {
            Error::Reloc {
                at: info.place(func, insn_idx),
                symbol: elf.symbol_name(symbol).to_string(),
                fault,
            }
        })?;
    collected.funcs[func_idx].relos.push(Relo { insn_idx, kind });
    Ok(())
}

fn resolve(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    symbols: &Symbols,
    func: &Func<'_>,
    insn_idx: u32,
    sym_idx: usize,
    symbol: &Symbol<'_>,
) -> Result<ReloKind, RelocFault> {
    let insn: &Insn = &func.insns[insn_idx as usize];
    let is_call = insn.code == (opcode::JMP | opcode::CALL);
    if !is_call && !insn.is_lddw() {
        return Err(RelocFault::Insn { code: insn.code });
    }
    if insn.is_lddw() && insn_idx + 1 >= func.len() {
        return Err(RelocFault::CutOff);
    }
    if is_extern(symbol) {
        return symbols
            .externs
            .get(&sym_idx)
            .map(|&idx| ReloKind::Extern(idx))
            .ok_or(RelocFault::NoExtern);
    }
    if is_call {
        return resolve_call(elf, collected, insn, symbol);
    }
    let shndx = symbol.shndx as usize;
    if symbol.shndx == SHN_UNDEF || symbol.shndx >= SHN_LORESERVE {
        return Err(RelocFault::SpecialSection { shndx: symbol.shndx });
    }
    if is_subprog(collected, symbol) {
        if !symbol.value.is_multiple_of(8) || insn.imm % 8 != 0 {
            return Err(RelocFault::Unaligned {
                offset: (symbol.value as i64).wrapping_add(i64::from(insn.imm)),
            });
        }
        return Ok(ReloKind::FuncAddr { offset: symbol.value });
    }
    if let Some(&map) = symbols.data.get(&shndx) {
        let offset =
            u32::try_from(symbol.value).map_err(|_| RelocFault::Offset { offset: symbol.value })?;
        return Ok(ReloKind::Data { map, offset });
    }
    let section = elf.sections[shndx].name;
    if Some(shndx) != collected.btf_maps && Some(shndx) != collected.legacy_maps {
        return Err(RelocFault::NoMapSection { section: section.to_string() });
    }
    match symbols.maps.get(&(shndx, symbol.value)) {
        Some(&map) => Ok(ReloKind::Map(map)),
        None => Err(RelocFault::NoMap { section: section.to_string(), offset: symbol.value }),
    }
}

fn resolve_call(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    insn: &Insn,
    symbol: &Symbol<'_>,
) -> Result<ReloKind, RelocFault> {
    if insn.src != opcode::PSEUDO_CALL {
        return Err(RelocFault::CallSrc { src: insn.src });
    }
    if collected.text.is_none_or(|text| text != symbol.shndx as usize) {
        let section = elf.sections.get(symbol.shndx as usize).map_or("", |section| section.name);
        return Err(RelocFault::CallSection { section: section.to_string() });
    }
    if !symbol.value.is_multiple_of(8) {
        return Err(RelocFault::Unaligned { offset: symbol.value as i64 });
    }
    Ok(ReloKind::Call { offset: symbol.value })
}

/// Whether a symbol is that of a function in `.text`, or `.text` itself (`sym_is_subprog`).
fn is_subprog(collected: &Collected<'_>, symbol: &Symbol<'_>) -> bool {
    if collected.text != Some(symbol.shndx as usize) {
        return false;
    }
    match symbol.bind {
        STB_LOCAL => symbol.kind == STT_SECTION,
        STB_GLOBAL | STB_WEAK => symbol.kind == STT_FUNC,
        _ => false,
    }
}

/// The relocation of a slot of a function.
pub(crate) fn relo_at(relos: &[Relo], insn_idx: u32) -> Option<&Relo> {
    let idx = relos.binary_search_by_key(&insn_idx, |relo| relo.insn_idx).ok()?;
    relos.get(idx)
}

/// Relocations of `.maps`, with their byte offsets.
pub(crate) fn map_rels<'a>(elf: &Elf<'a>, collected: &Collected<'a>) -> Result<Vec<Rel>, Error> {
    let mut all = Vec::new();
    for &idx in &collected.rels {
        let section = &elf.sections[idx];
        if Some(section.info as usize) == collected.btf_maps {
            all.extend(elf.rels(section)?);
        }
    }
    Ok(all)
}
