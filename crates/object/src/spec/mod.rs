//! What an object file holds, as plain data.

mod ext;
mod global;
mod map;

pub use ext::{ExternKind, ExternSpec, KconfigType, KconfigVar};
pub use global::Global;
pub use map::{MapKind, MapSpec, Pinning, SlotValue};

use alloc::string::String;
use alloc::vec::Vec;

use stylet_btf::core_relo::Outcome;
use stylet_btf::{Btf, ReloKind};
use stylet_insn::Insn;

use crate::sec::SecSpec;

/// An object file, parsed: a pure function of its bytes and its name.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Name of the object (file name up to the first dot, at most 15 bytes), the prefix of internal maps' names.
    pub name: String,
    /// Licence string of `SEC("license")`, empty when there is none (at most 63 bytes, as in libbpf).
    pub license: String,
    /// `SEC("version")`: `LINUX_VERSION_CODE` that old kernels demand of kprobes.
    pub version: Option<u32>,
    /// Types of the object, with section sizes and variable offsets filled in as the kernel wants them.
    pub btf: Option<Btf>,
    /// Maps, in libbpf's order: legacy, `.maps`, data sections, `.kconfig`.
    pub maps: Vec<MapSpec>,
    /// Entry-point programs, ascending by section and offset.
    pub progs: Vec<ProgSpec>,
    /// Externs in libbpf's order: kconfig by alignment, size and name, then ksyms by name.
    pub externs: Vec<ExternSpec>,
}

/// An entry-point program linked with the functions it uses.
#[derive(Clone, Debug, Default)]
pub struct ProgSpec {
    /// Name of the function.
    pub name: String,
    /// Name of the section, without a leading `?`.
    pub section: String,
    /// What the section name says about the program.
    pub sec: SecSpec,
    /// Whether the program is loaded unless the user says otherwise (`SEC("?...")` is not).
    pub autoload: bool,
    /// Slots of the program and then of its functions, each once, in libbpf's order.
    pub insns: Vec<Insn>,
    /// The functions in `insns`, ascending; the first is the program itself.
    pub funcs: Vec<Subprog>,
    /// Functions with their BTF, ascending; empty when the object has none.
    pub func_info: Vec<FuncInfo>,
    /// Source lines, ascending; empty when the object has none.
    pub line_info: Vec<LineInfo>,
    /// CO-RE relocations that are still to be applied.
    pub core_relos: Vec<CoreRelo>,
    /// What became of the CO-RE relocations that have been applied.
    pub core_outcomes: Vec<Outcome>,
    /// Uses of externs that are still to be resolved.
    pub extern_relos: Vec<ExternRelo>,
}

/// Where a function lies in a linked program, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprog {
    /// Name of its symbol.
    pub name: String,
    /// ELF section it came from.
    pub section: String,
    /// First slot in the linked program.
    pub insn_idx: u32,
    /// First slot in its ELF section.
    pub sec_insn_idx: u32,
    /// Number of slots.
    pub len: u32,
}

/// Start of a function (`struct bpf_func_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// First slot in the linked program.
    pub insn_idx: u32,
    /// `BTF_KIND_FUNC` in [`Spec::btf`].
    pub type_id: u32,
}

/// Source line of an instruction (`struct bpf_line_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// First slot that the line covers, in the linked program.
    pub insn_idx: u32,
    /// File name: offset in the strings of [`Spec::btf`].
    pub file_name_off: u32,
    /// Text of the line: offset in the strings of [`Spec::btf`].
    pub line_off: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub col: u32,
}

/// A CO-RE relocation (`struct bpf_core_relo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelo {
    /// Slot to patch, in the linked program.
    pub insn_idx: u32,
    /// Root type in [`Spec::btf`].
    pub type_id: u32,
    /// Access string: offset in the strings of [`Spec::btf`].
    pub access_str_off: u32,
    /// What it asks of the target.
    pub kind: ReloKind,
}

/// An instruction that names a ksym extern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternRelo {
    /// Slot to patch, in the linked program: a call or a 64-bit immediate load.
    pub insn_idx: u32,
    /// Index into [`Spec::externs`].
    pub extern_idx: u32,
}

impl Spec {
    /// The program of that name.
    pub fn prog(&self, name: &str) -> Option<&ProgSpec> {
        self.progs.iter().find(|prog| prog.name == name)
    }

    /// The map of that name; data sections also answer to their section's name
    /// (`bpf_object__find_map_by_name`).
    pub fn map(&self, name: &str) -> Option<&MapSpec> {
        self.map_idx(name).map(|idx| &self.maps[idx])
    }

    /// Index of the map of that name, see [`Spec::map`].
    pub fn map_idx(&self, name: &str) -> Option<usize> {
        let by_section = |map: &MapSpec| map.kind.is_internal() && map.section == name;
        if name.starts_with('.') {
            let idx = self.maps.iter().position(by_section);
            if idx.is_some() {
                return idx;
            }
        }
        self.maps.iter().position(|map| map.name == name)
    }
}

impl ProgSpec {
    /// The function that slot `insn_idx` of the linked program belongs to.
    pub fn func_at(&self, insn_idx: u32) -> Option<&Subprog> {
        let next = self.funcs.partition_point(|func| func.insn_idx <= insn_idx);
        self.funcs.get(next.checked_sub(1)?).filter(|func| insn_idx - func.insn_idx < func.len)
    }

    /// The source line that covers slot `insn_idx` of the linked program.
    pub fn line_at(&self, insn_idx: u32) -> Option<&LineInfo> {
        let next = self.line_info.partition_point(|line| line.insn_idx <= insn_idx);
        self.line_info.get(next.checked_sub(1)?)
    }
}
