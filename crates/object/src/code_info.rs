//! `.BTF.ext`: functions, lines and CO-RE relocations by section.

use alloc::string::ToString;
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_btf::Btf;

use crate::collect::Func;
use crate::error::{Place, SourceLine};
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

impl CodeInfo<'_> {
    /// A slot of a function, for messages.
    pub fn place(&self, func: &Func<'_>, insn_idx: u32) -> Place {
        Place {
            section: func.section.to_string(),
            func: func.name.to_string(),
            insn_idx,
            line: self.line(func, insn_idx),
        }
    }

    fn line(&self, func: &Func<'_>, insn_idx: u32) -> Option<SourceLine> {
        let lines = in_func(&self.sections.get(&func.sec_idx)?.lines, func, |line| line.insn_idx);
        let next = lines.partition_point(|line| line.insn_idx <= func.off + insn_idx);
        source_line(self.btf?, lines.get(next.checked_sub(1)?)?)
    }
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
