//! `.BTF.ext`: functions, source lines and CO-RE relocations of each program section.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::parse::Endian;
use crate::{Btf, Error, ExtFault, HeaderFault, TypeId, limits};

/// What `.BTF.ext` says, by ELF section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext {
    /// The type of each function.
    pub func_info: Vec<Section<FuncInfo>>,
    /// The source line of instructions.
    pub line_info: Vec<Section<LineInfo>>,
    /// CO-RE relocations.
    pub core_relo: Vec<Section<CoreRelo>>,
}

/// Records of one ELF section, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<T> {
    /// Name of the ELF section that holds the instructions.
    pub name: String,
    /// Its records.
    pub records: Vec<T>,
}

/// A function (`struct bpf_func_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Its start, in bytes from the start of the section.
    pub insn_off: u32,
    /// Its [`crate::Func`].
    pub type_id: TypeId,
}

/// A source line (`struct bpf_line_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// First instruction, in bytes from the start of the section.
    pub insn_off: u32,
    /// String offset of the file's name.
    pub file_name_off: u32,
    /// String offset of the line's text.
    pub line_off: u32,
    /// Line and column.
    pub line_col: u32,
}

impl LineInfo {
    /// Line number, from 1 (`BPF_LINE_INFO_LINE_NUM`).
    pub fn line(&self) -> u32 {
        self.line_col >> 10
    }

    /// Column, from 1; 0 if not known (`BPF_LINE_INFO_LINE_COL`).
    pub fn col(&self) -> u32 {
        self.line_col & 0x3ff
    }
}

/// A CO-RE relocation (`struct bpf_core_relo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreRelo {
    /// The instruction, in bytes from the start of the section.
    pub insn_off: u32,
    /// Local root type.
    pub type_id: TypeId,
    /// String offset of the access string, `0:1:2`.
    pub access_str_off: u32,
    /// What is asked.
    pub kind: ReloKind,
}

/// What a CO-RE relocation asks (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ReloKind {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshiftU64,
    FieldRshiftU64,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
    /// A number that has no meaning yet.
    Unknown(u32),
}

impl ReloKind {
    /// From the number in the file.
    pub const fn from_u32(kind: u32) -> ReloKind {
        match kind {
            0 => ReloKind::FieldByteOffset,
            1 => ReloKind::FieldByteSize,
            2 => ReloKind::FieldExists,
            3 => ReloKind::FieldSigned,
            4 => ReloKind::FieldLshiftU64,
            5 => ReloKind::FieldRshiftU64,
            6 => ReloKind::TypeIdLocal,
            7 => ReloKind::TypeIdTarget,
            8 => ReloKind::TypeExists,
            9 => ReloKind::TypeSize,
            10 => ReloKind::EnumvalExists,
            11 => ReloKind::EnumvalValue,
            12 => ReloKind::TypeMatches,
            other => ReloKind::Unknown(other),
        }
    }

    /// Name as libbpf prints it.
    pub const fn name(self) -> &'static str {
        match self {
            ReloKind::FieldByteOffset => "byte_off",
            ReloKind::FieldByteSize => "byte_sz",
            ReloKind::FieldExists => "field_exists",
            ReloKind::FieldSigned => "signed",
            ReloKind::FieldLshiftU64 => "lshift_u64",
            ReloKind::FieldRshiftU64 => "rshift_u64",
            ReloKind::TypeIdLocal => "local_type_id",
            ReloKind::TypeIdTarget => "target_type_id",
            ReloKind::TypeExists => "type_exists",
            ReloKind::TypeSize => "type_size",
            ReloKind::EnumvalExists => "enumval_exists",
            ReloKind::EnumvalValue => "enumval_value",
            ReloKind::TypeMatches => "type_matches",
            ReloKind::Unknown(_) => "unknown",
        }
    }
}

/// Place of one of the three parts in the data behind the header.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    offset: u32,
    len: u32,
    /// Size of the part of a record that is read; longer records are cut.
    min_record: usize,
}

struct Reader<'a> {
    endian: Endian,
    /// What follows the header.
    body: &'a [u8],
    btf: &'a Btf,
}

impl Ext {
    /// Parses a `.BTF.ext` section whose strings are those of `btf`, in either byte order.
    ///
    /// # Errors
    /// [`Error::Header`] or [`Error::Ext`], for what libbpf's `btf_ext_parse` refuses, and for
    /// section names that are not strings of `btf`.
    pub fn parse(data: &[u8], btf: &Btf) -> Result<Ext, Error> {
        let header = |fault| Error::Header { section: ".BTF.ext", fault };
        let truncated = || header(HeaderFault::Truncated { len: data.len() });
        let endian = Endian::detect(data, ".BTF.ext")?;
        let field = |at| endian.u32(data, at).ok_or_else(truncated);
        let &[_, _, version, flags, ..] = data else { return Err(truncated()) };
        if version != limits::BTF_VERSION {
            return Err(header(HeaderFault::Version { version }));
        }
        if flags != 0 {
            return Err(header(HeaderFault::Flags { flags }));
        }
        let hdr_len = field(4)?;
        if hdr_len < 24 {
            return Err(header(HeaderFault::HdrLen { hdr_len }));
        }
        let body = data.get(hdr_len as usize..).ok_or_else(truncated)?;
        let reader = Reader { endian, body, btf };
        let part = |name, at, min_record| {
            Ok(Part { name, offset: field(at)?, len: field(at + 4)?, min_record })
        };
        let core_relo = if hdr_len >= 32 {
            reader.sections(part("core_relo", 24, 16)?, core_relo)?
        } else {
            Vec::new()
        };
        Ok(Ext {
            func_info: reader.sections(part("func_info", 8, 8)?, func_info)?,
            line_info: reader.sections(part("line_info", 16, 16)?, line_info)?,
            core_relo,
        })
    }
}

fn func_info(w: &[u32; 4]) -> FuncInfo {
    FuncInfo { insn_off: w[0], type_id: w[1] }
}

fn line_info(w: &[u32; 4]) -> LineInfo {
    LineInfo { insn_off: w[0], file_name_off: w[1], line_off: w[2], line_col: w[3] }
}

fn core_relo(w: &[u32; 4]) -> CoreRelo {
    CoreRelo { insn_off: w[0], type_id: w[1], access_str_off: w[2], kind: ReloKind::from_u32(w[3]) }
}

impl Reader<'_> {
    /// A record size, then for each section its name, its number of records, and the records.
    fn sections<T>(
        &self,
        part: Part,
        record: fn(&[u32; 4]) -> T,
    ) -> Result<Vec<Section<T>>, Error> {
        if part.len == 0 {
            return Ok(Vec::new());
        }
        let (start, len) = (part.offset as usize, part.len as usize);
        let header = |fault| Error::Header { section: ".BTF.ext", fault };
        if start % 4 != 0 {
            return Err(header(HeaderFault::Unaligned { part: part.name }));
        }
        let outside = HeaderFault::Section {
            part: part.name,
            offset: part.offset,
            len: part.len,
            total: self.body.len(),
        };
        let data =
            self.body.get(start..start.saturating_add(len)).ok_or_else(|| header(outside))?;
        let fault = |offset, fault| Error::Ext { part: part.name, offset, fault };
        let truncated = |at: usize, needed| {
            fault(at, ExtFault::Truncated { left: len.saturating_sub(at), needed })
        };
        let word = |at| self.endian.u32(data, at).ok_or_else(|| truncated(at, 4));
        let size = word(0)?;
        let record_size = size as usize;
        if record_size < part.min_record || !record_size.is_multiple_of(4) {
            return Err(fault(0, ExtFault::RecordSize { size }));
        }
        let mut sections = Vec::new();
        let mut at = 4;
        if at == len {
            return Err(fault(at, ExtFault::NoRecords));
        }
        while at < len {
            let (offset, count) = (word(at)?, word(at + 4)? as usize);
            if count == 0 {
                return Err(fault(at, ExtFault::NoRecords));
            }
            let name = self.btf.str(offset).filter(|n| !n.is_empty());
            let name = name.ok_or_else(|| fault(at, ExtFault::Name { offset }))?.to_string();
            at += 8;
            let needed = count.saturating_mul(record_size);
            if len - at < needed {
                return Err(truncated(at, needed));
            }
            let records = data[at..at + needed].chunks_exact(record_size);
            let records = records.map(|bytes| record(&self.words(bytes))).collect();
            sections.push(Section { name, records });
            at += needed;
        }
        Ok(sections)
    }

    /// The first four words of a record, as far as it has them.
    fn words(&self, bytes: &[u8]) -> [u32; 4] {
        core::array::from_fn(|i| self.endian.u32(bytes, i * 4).unwrap_or(0))
    }
}
