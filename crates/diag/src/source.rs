//! From a slot to the function, the C source line and the instruction's text.

use crate::report::Location;
use stylet_btf::Btf;
use stylet_insn::{Names, Style, disasm};
use stylet_verifier::{MapDef, ProgInput};

/// Maps by their names, kernel functions by the target's BTF.
struct ProgNames<'a> {
    maps: &'a [MapDef],
    target: Option<&'a Btf>,
}

impl Names for ProgNames<'_> {
    fn kfunc(&self, btf_id: i32, _btf_idx: i16) -> Option<&str> {
        let name = self.target?.type_name(u32::try_from(btf_id).ok()?);
        (!name.is_empty()).then_some(name)
    }

    fn map(&self, idx: i32) -> Option<&str> {
        Some(self.maps.get(usize::try_from(idx).ok()?)?.name.as_str())
    }
}

/// The instruction's text in the kernel's syntax; empty outside the program.
pub(crate) fn insn_text(input: &ProgInput<'_>, target: Option<&Btf>, insn_idx: u32) -> String {
    let at = insn_idx as usize;
    let Some(insn) = input.insns.get(at) else { return String::new() };
    let names = ProgNames { maps: input.maps, target };
    disasm(insn, input.insns.get(at + 1)).names(&names).style(Style::Log).to_string()
}

/// Name of the function that holds a slot.
pub(crate) fn function(input: &ProgInput<'_>, insn_idx: u32) -> String {
    let next = input.func_info.partition_point(|f| f.insn_idx <= insn_idx);
    let name = || {
        let id = input.func_info.get(next.checked_sub(1)?)?.type_id;
        let name = input.btf?.type_name(id);
        (!name.is_empty()).then_some(name)
    };
    name().unwrap_or(input.name).to_string()
}

/// Where a slot comes from; `None` without line information.
pub(crate) fn location(input: &ProgInput<'_>, insn_idx: u32) -> Option<Location> {
    let next = input.line_info.partition_point(|l| l.insn_idx <= insn_idx);
    let info = input.line_info.get(next.checked_sub(1)?)?;
    let btf = input.btf?;
    Some(Location {
        file: btf.str(info.file_name_off)?.to_string(),
        line: info.line,
        column: info.col,
        source: btf.str(info.line_off).unwrap_or_default().trim_end().to_string(),
    })
}
