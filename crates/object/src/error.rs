//! What can be wrong with an object file, and with relocating it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin as an ELF file.
    #[error("not an ELF file ({len} bytes)")]
    NotElf {
        /// Size of the input in bytes.
        len: usize,
    },
    /// Not a 64-bit ELF file.
    #[error("not a 64-bit ELF file (EI_CLASS is {class})")]
    Class {
        /// `EI_CLASS`.
        class: u8,
    },
    /// A BPF object for big-endian machines.
    #[error(
        "the object is big-endian (clang -target bpfeb); only little-endian objects (-target bpf, bpfel) can run here"
    )]
    BigEndian,
    /// `EI_DATA` is neither of the two byte orders.
    #[error("unknown byte order (EI_DATA is {data})")]
    ByteOrder {
        /// `EI_DATA`.
        data: u8,
    },
    /// Code of another machine.
    #[error("not a BPF object: e_machine is {machine}, expected EM_BPF (247)")]
    Machine {
        /// `e_machine`.
        machine: u16,
    },
    /// Not a relocatable object.
    #[error("not a relocatable object: e_type is {e_type}, expected ET_REL (1)")]
    FileType {
        /// `e_type`.
        e_type: u16,
    },
    /// A header, the section table or the symbol table is malformed or cut off.
    #[error("ELF {what}: {reason}")]
    Elf {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file ends before something that its headers speak of.
    #[error("the file looks cut off: {what} ends at byte {end}, the file at {len}")]
    CutOff {
        /// Which part.
        what: &'static str,
        /// Where it ends by the headers, a byte offset.
        end: u64,
        /// Size of the file in bytes.
        len: usize,
    },
    /// A section's header is malformed or points outside of the file.
    #[error("ELF section #{index}: {reason}")]
    SectionHeader {
        /// Index of the section.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// A symbol is malformed.
    #[error("ELF symbol #{index}: {reason}")]
    Symbol {
        /// Index of the symbol.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// No symbol table.
    #[error("no symbol table: was the object stripped?")]
    NoSymbols,
    /// More than one symbol table.
    #[error("{count} symbol tables")]
    SymbolTables {
        /// How many.
        count: usize,
    },
    /// A section's contents are malformed.
    #[error("section '{section}' at offset {offset}: {reason}")]
    Section {
        /// Name of the section.
        section: String,
        /// Byte offset in it.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A section that asks for something Stylet does not implement.
    #[error("section '{section}': {what} not supported")]
    Unsupported {
        /// Name of the section.
        section: String,
        /// What is not there.
        what: &'static str,
    },
    /// A function's symbol is malformed.
    #[error("section '{section}': function '{func}' at offset {offset}, {size} bytes: {reason}")]
    Func {
        /// Name of the section.
        section: String,
        /// Name of the function.
        func: String,
        /// Byte offset in the section.
        offset: u64,
        /// Bytes.
        size: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A program's section name is not one that libbpf knows.
    #[error("program '{prog}': unknown section name SEC(\"{section}\"){}", DidYouMean(near))]
    UnknownSec {
        /// Name of the section.
        section: String,
        /// Name of the program.
        prog: String,
        /// Names that resemble it.
        near: Vec<&'static str>,
    },
    /// A bound that keeps memory in check was exceeded.
    #[error("{what}: {value} exceeds {max}")]
    Limit {
        /// Which quantity.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The bound.
        max: u64,
    },
    /// Something needs BTF and the object has none.
    #[error("{what} '{name}' needs BTF, and the object has none (compile with -g)")]
    NoBtf {
        /// What needs it.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// `.BTF` or `.BTF.ext` is malformed.
    #[error("section '{section}': {source}")]
    Btf {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What is wrong.
        source: stylet_btf::Error,
    },
    /// A map's definition is wrong.
    #[error("map '{map}': {fault}")]
    Map {
        /// Name of the map.
        map: String,
        /// What is wrong.
        fault: MapFault,
    },
    /// An extern is wrong, or the target does not offer it.
    #[error("extern '{name}': {fault}")]
    Extern {
        /// Name of the extern.
        name: String,
        /// What is wrong.
        fault: ExternFault,
    },
    /// A relocation of an instruction is wrong.
    #[error("{at}: relocation against '{symbol}': {fault}")]
    Reloc {
        /// The instruction.
        at: Box<Place>,
        /// Symbol that the relocation names.
        symbol: String,
        /// What is wrong.
        fault: RelocFault,
    },
    /// A call of another function cannot be linked.
    #[error("{at}: {fault}")]
    Call {
        /// The instruction.
        at: Box<Place>,
        /// What is wrong.
        fault: RelocFault,
    },
    /// A program has CO-RE relocations and the target has no BTF.
    #[error("{at}: a CO-RE relocation needs the target's BTF, and it has none")]
    NoTargetBtf {
        /// The first such instruction.
        at: Box<Place>,
    },
    /// A CO-RE relocation failed.
    #[error("{at}: {source}")]
    Core {
        /// The instruction.
        at: Box<Place>,
        /// What is wrong.
        source: stylet_btf::Error,
    },
}

/// An instruction, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// ELF section.
    pub section: String,
    /// Function.
    pub func: String,
    /// Slot from the start of the function.
    pub insn_idx: u32,
    /// C source line, when the object has line information.
    pub line: Option<SourceLine>,
}

/// A line of C.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLine {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub col: u32,
    /// Its text.
    pub text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section '{}': function '{}': insn {}", self.section, self.func, self.insn_idx)?;
        match &self.line {
            Some(line) => write!(f, " ({}:{}: {})", line.file, line.line, line.text.trim()),
            None => Ok(()),
        }
    }
}

/// Faults of map definitions (`parse_btf_map_def`, `bpf_object__init_user_btf_map`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum MapFault {
    #[error("{reason}")]
    Definition { reason: &'static str },
    #[error("field '{field}': expected {expected}, got {found}")]
    FieldKind { field: String, expected: &'static str, found: &'static str },
    #[error("unknown field '{field}'")]
    UnknownField { field: String },
    #[error("field '{field}': conflicting sizes {first} and {second}")]
    Size { field: &'static str, first: u32, second: u32 },
    #[error("field '{field}': type [{type_id}] has no size")]
    NoSize { field: &'static str, type_id: u32 },
    #[error("invalid pinning value {value}")]
    Pinning { value: u32 },
    #[error("unsupported linkage {linkage}")]
    Linkage { linkage: &'static str },
    #[error("relocation at offset {offset} against '{symbol}': {reason}")]
    Value { offset: u64, symbol: String, reason: &'static str },
}

/// Faults of externs (`bpf_object__collect_externs`, `bpf_object__resolve_externs`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ExternFault {
    #[error("not found in the object's BTF")]
    NoBtfId,
    #[error("its BTF is not that of an extern")]
    NotExtern,
    #[error("declared neither __ksym nor __kconfig, and defined nowhere in the object")]
    NoSection,
    #[error("unrecognized extern section '{section}'")]
    Section { section: String },
    #[error("a function cannot be in .kconfig")]
    KconfigFunc,
    #[error("type is unsupported for a kconfig value")]
    KconfigType,
    #[error("unrecognized virtual extern")]
    Virtual,
    #[error("value {value} does not suit a {ty:?} of {size} bytes")]
    Value { value: String, ty: crate::KconfigType, size: u32 },
    #[error("not found in the target's BTF")]
    NotInBtf,
    #[error("not found in the target's symbols")]
    NoAddress,
    #[error("not set in the target's kernel configuration")]
    NotSet,
    #[error("the target has no BTF")]
    NoTargetBtf,
    #[error("incompatible types, expected [{local}] but the target has [{target}]")]
    Incompatible { local: u32, target: u32 },
}

/// Faults of instruction relocations (`bpf_program__record_reloc`, `bpf_object__reloc_code`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum RelocFault {
    #[error("instruction with opcode {code:#04x} is neither a call nor a 64-bit immediate load")]
    Insn { code: u8 },
    #[error("the 64-bit immediate load is cut off")]
    CutOff,
    #[error("the call is not a call of a function (src is {src})")]
    CallSrc { src: u8 },
    #[error("calls a function in section '{section}'; only functions in .text can be called")]
    CallSection { section: String },
    #[error("offset {offset} is not that of an instruction")]
    Unaligned { offset: i64 },
    #[error("not an extern of this object")]
    NoExtern,
    #[error("a {what} extern cannot be used so")]
    ExternUse { what: &'static str },
    #[error("special section {shndx:#x}; is a variable not initialized?")]
    SpecialSection { shndx: u16 },
    #[error("section '{section}' holds neither maps nor data")]
    NoMapSection { section: String },
    #[error("no map at offset {offset} of section '{section}'")]
    NoMap { section: String, offset: u64 },
    #[error("offset {offset} does not fit in 32 bits")]
    Offset { offset: u64 },
    #[error("no function in .text at slot {slot}")]
    NoFunc { slot: i64 },
    #[error("the relocation is not that of a function")]
    NotFunc,
    #[error("the function has no {info} although the program has")]
    NoInfo { info: &'static str },
}

struct DidYouMean<'a>(&'a [&'static str]);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}SEC(\"{name}\")", if i == 0 { "; did you mean " } else { " or " })?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str("?") }
    }
}
