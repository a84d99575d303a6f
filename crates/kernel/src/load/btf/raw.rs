//! A `.BTF` section whose types can be rewritten in place, sound or not.

use stylet_btf::Kind;

/// `.BTF` header bytes (`struct btf_header`).
const HEADER: usize = 24;

/// The types of a section, and its strings.
pub(super) struct RawBtf {
    /// Types from id 1 on.
    pub types: Vec<RawType>,
    strings: Vec<u8>,
}

/// A type: its header and the words behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawType {
    pub name_off: u32,
    pub info: u32,
    /// Size, or type referred to.
    pub arg: u32,
    pub words: Vec<u32>,
}

impl RawType {
    pub(super) fn kind(&self) -> Kind {
        Kind::from_u8((self.info >> 24 & 0x7f) as u8).unwrap_or(Kind::Void)
    }

    pub(super) fn vlen(&self) -> u32 {
        self.info & 0xff_ffff
    }

    /// Another kind with the same number of members and the same flag.
    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.info = self.info & !(0x7f << 24) | u32::from(kind as u8) << 24;
    }

    /// Another kind with this `vlen` and no flag.
    pub(super) fn set_info(&mut self, kind: Kind, vlen: u32) {
        self.info = u32::from(kind as u8) << 24 | vlen;
    }
}

/// Words behind the header of a type.
fn extra_words(kind: Kind, vlen: usize) -> usize {
    match kind {
        Kind::Int | Kind::Var | Kind::DeclTag => 1,
        Kind::Array => 3,
        Kind::Struct | Kind::Union | Kind::DataSec | Kind::Enum64 => vlen * 3,
        Kind::Enum | Kind::FuncProto => vlen * 2,
        _ => 0,
    }
}

impl RawBtf {
    /// Reads a little-endian section; `None` for one that does not hold what it says.
    pub(super) fn parse(bytes: &[u8]) -> Option<RawBtf> {
        let word = |at: usize| {
            bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes).map(|word| word as usize)
        };
        let (header, type_off, type_len, str_off, str_len) =
            (word(4)?, word(8)?, word(12)?, word(16)?, word(20)?);
        let body = bytes.get(header..)?;
        let types = body.get(type_off..type_off.checked_add(type_len)?)?;
        let strings = body.get(str_off..str_off.checked_add(str_len)?)?.to_vec();
        let words: Vec<u32> =
            types.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let head = words.get(at..at + 3)?;
            let mut ty =
                RawType { name_off: head[0], info: head[1], arg: head[2], words: Vec::new() };
            let extra = extra_words(ty.kind(), ty.vlen() as usize);
            ty.words = words.get(at + 3..at + 3 + extra)?.to_vec();
            at += 3 + extra;
            found.push(ty);
        }
        Some(RawBtf { types: found, strings })
    }

    /// Type by id.
    pub(super) fn get(&self, id: u32) -> Option<&RawType> {
        self.types.get((id as usize).checked_sub(1)?)
    }

    /// Type by id, to change.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut RawType> {
        self.types.get_mut((id as usize).checked_sub(1)?)
    }

    /// String at an offset; empty for one that is none.
    pub(super) fn name(&self, off: u32) -> &str {
        let tail = self.strings.get(off as usize..).unwrap_or_default();
        let end = tail.iter().position(|&b| b == 0).unwrap_or(0);
        std::str::from_utf8(&tail[..end]).unwrap_or("")
    }

    /// Adds a string.
    pub(super) fn add_str(&mut self, text: &str) -> u32 {
        let off = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        off
    }

    /// Adds a type without members and returns its id.
    pub(super) fn push(&mut self, name: &str, kind: Kind, arg: u32, words: &[u32]) -> u32 {
        let name_off = self.add_str(name);
        let info = u32::from(kind as u8) << 24;
        self.types.push(RawType { name_off, info, arg, words: words.to_vec() });
        self.types.len() as u32
    }

    /// The section.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let words: Vec<u32> = self
            .types
            .iter()
            .flat_map(|ty| {
                [ty.name_off, ty.info, ty.arg].into_iter().chain(ty.words.iter().copied())
            })
            .collect();
        let types_len = words.len() as u32 * 4;
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let header = [HEADER as u32, 0, types_len, types_len, self.strings.len() as u32];
        for word in header.iter().chain(&words) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.strings);
        out
    }
}
