//! What the verifier is given: plain data, no file descriptors.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use stylet_btf::Btf;
use stylet_insn::Insn;
use stylet_uapi::{AttachType, MapType, ProgType};

/// A map as the verifier sees it.
#[derive(Clone, Debug, Default)]
pub struct MapDef {
    /// Name, for messages.
    pub name: String,
    /// Map type.
    pub map_type: MapType,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes, as declared (not rounded).
    pub value_size: u32,
    /// Number of entries (bytes for ring buffers).
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub map_flags: u32,
    /// `map_extra` of BPF_MAP_CREATE.
    pub map_extra: u64,
    /// Contents when the map is read-only to programs and frozen: loads from it are constants.
    pub frozen: Option<Vec<u8>>,
    /// Template of the inner maps of a map of maps.
    pub inner: Option<Box<MapDef>>,
    /// BTF type of the key in the program's BTF, 0 when there is none.
    pub btf_key_type_id: u32,
    /// BTF type of the value in the program's BTF, 0 when there is none.
    pub btf_value_type_id: u32,
}

/// Start of a function (`struct bpf_func_info`, `insn_idx` in slots).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// First slot of the function.
    pub insn_idx: u32,
    /// BTF_KIND_FUNC in the program's BTF.
    pub type_id: u32,
}

/// Source line of an instruction (`struct bpf_line_info`, `insn_idx` in slots).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// First slot that the line covers.
    pub insn_idx: u32,
    /// Offset of the file name in the program's BTF strings.
    pub file_name_off: u32,
    /// Offset of the line's text in the program's BTF strings.
    pub line_off: u32,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub col: u32,
}

/// A program to verify, after CO-RE and linking.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgInput<'a> {
    /// Name of the main function.
    pub name: &'a str,
    /// Program type.
    pub prog_type: ProgType,
    /// Expected attach type (0 when the type has none).
    pub expected_attach_type: AttachType,
    /// Loaded with BPF_F_SLEEPABLE.
    pub sleepable: bool,
    /// Licence string of the object.
    pub license: &'a str,
    /// Slots; maps are named by `PSEUDO_MAP_IDX` / `PSEUDO_MAP_IDX_VALUE` with `imm` an index into `maps`.
    pub insns: &'a [Insn],
    /// Maps of the object.
    pub maps: &'a [MapDef],
    /// The program's own BTF.
    pub btf: Option<&'a Btf>,
    /// Functions, ascending by slot; empty when there is no BTF.
    pub func_info: &'a [FuncInfo],
    /// Lines, ascending by slot; empty when there is no BTF.
    pub line_info: &'a [LineInfo],
    /// BTF id in the target's BTF of what TRACING/LSM programs attach to, 0 otherwise.
    pub attach_btf_id: u32,
    /// How much text `Rejection::log` carries: 0 the message, 1 the path to it, 2 every path.
    pub log_level: u32,
}
