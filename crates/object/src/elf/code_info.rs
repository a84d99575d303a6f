//! `.BTF.ext`: functions, lines and CO-RE relocations by section.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_btf::{Btf, Ext, ext};

use crate::elf::Elf;
use crate::elf::collect::Func;
use crate::error::{Error, Place, SourceLine};
use crate::spec::{CoreRelo, FuncInfo, LineInfo};

/// What `.BTF.ext` says about a section; `insn_idx` counts slots of the section, ascending.
#[derive(Default)]
pub(crate) struct SecInfo {
    pub funcs: Vec<FuncInfo>,
    pub lines: Vec<LineInfo>,
    pub core_relos: Vec<CoreRelo>,
}

/// What `.BTF.ext` says, by section index.
#[derive(Default)]
pub(crate) struct CodeInfo<'a> {
    pub btf: Option<&'a Btf>,
    pub sections: HashMap<usize, SecInfo>,
}

impl<'a> CodeInfo<'a> {
    /// Parses `.BTF.ext`. Records of sections that the file does not have are dropped, as libbpf does.
    pub fn new(elf: &Elf<'_>, btf: &'a Btf, bytes: &[u8]) -> Result<CodeInfo<'a>, Error> {
        let ext =
            Ext::parse(bytes, btf).map_err(|source| Error::Btf { section: ".BTF.ext", source })?;
        let mut info = CodeInfo { btf: Some(btf), sections: HashMap::new() };
        for part in &ext.func_info {
            let record = |r: &ext::FuncInfo| {
                Ok(FuncInfo { insn_idx: slot(&part.name, r.insn_off)?, type_id: r.type_id })
            };
            info.add(elf, &part.name, &part.records, record, |info| &mut info.funcs)?;
        }
        for part in &ext.line_info {
            let record = |r: &ext::LineInfo| {
                Ok(LineInfo {
                    insn_idx: slot(&part.name, r.insn_off)?,
                    file_name_off: r.file_name_off,
                    line_off: r.line_off,
                    line: r.line(),
                    col: r.col(),
                })
            };
            info.add(elf, &part.name, &part.records, record, |info| &mut info.lines)?;
        }
        for part in &ext.core_relo {
            let record = |r: &ext::CoreRelo| {
                Ok(CoreRelo {
                    insn_idx: slot(&part.name, r.insn_off)?,
                    type_id: r.type_id,
                    access_str_off: r.access_str_off,
                    kind: r.kind,
                })
            };
            info.add(elf, &part.name, &part.records, record, |info| &mut info.core_relos)?;
        }
        for section in info.sections.values_mut() {
            section.funcs.sort_by_key(|r| r.insn_idx);
            section.lines.sort_by_key(|r| r.insn_idx);
            section.core_relos.sort_by_key(|r| r.insn_idx);
        }
        Ok(info)
    }

    fn add<R, T>(
        &mut self,
        elf: &Elf<'_>,
        name: &str,
        records: &[R],
        record: impl Fn(&R) -> Result<T, Error>,
        part: impl Fn(&mut SecInfo) -> &mut Vec<T>,
    ) -> Result<(), Error> {
        let Some(idx) = elf.section_idx(name) else {
            return Ok(());
        };
        let part = part(self.sections.entry(idx).or_default());
        for raw in records {
            part.push(record(raw)?);
        }
        Ok(())
    }

    /// A slot of a function, for messages.
    pub fn place(&self, func: &Func<'_>, insn_idx: u32) -> Box<Place> {
        Box::new(Place {
            section: func.section.to_string(),
            func: func.name.to_string(),
            insn_idx,
            line: self.line(func, insn_idx),
        })
    }

    fn line(&self, func: &Func<'_>, insn_idx: u32) -> Option<SourceLine> {
        let lines = in_func(&self.sections.get(&func.sec_idx)?.lines, func, |line| line.insn_idx);
        let next = lines.partition_point(|line| line.insn_idx <= func.off + insn_idx);
        source_line(self.btf?, lines.get(next.checked_sub(1)?)?)
    }
}

fn slot(section: &str, insn_off: u32) -> Result<u32, Error> {
    if !insn_off.is_multiple_of(8) {
        let reason = ".BTF.ext record is not at an instruction";
        return Err(Error::Section {
            section: section.to_string(),
            offset: insn_off.into(),
            reason,
        });
    }
    Ok(insn_off / 8)
}

/// The text behind a line record.
pub(crate) fn source_line(btf: &Btf, line: &LineInfo) -> Option<SourceLine> {
    Some(SourceLine {
        file: btf.str(line.file_name_off)?.to_string(),
        line: line.line,
        col: line.col,
        text: btf.str(line.line_off).unwrap_or_default().to_string(),
    })
}

/// The records that fall into a function.
pub(crate) fn in_func<'r, T>(
    records: &'r [T],
    func: &Func<'_>,
    idx: impl Fn(&T) -> u32,
) -> &'r [T] {
    let start = records.partition_point(|record| idx(record) < func.off);
    let end = records.partition_point(|record| idx(record) < func.off + func.len());
    records.get(start..end).unwrap_or_default()
}
