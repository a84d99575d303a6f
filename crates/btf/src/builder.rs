//! Writing BTF.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use once_cell::race::OnceBox;

use crate::btf::Inner;
use crate::parse::finish;
use crate::types::*;
use crate::{Btf, Error, copy, limits};

/// Collects types and writes them as a `.BTF` section.
///
/// Ids are given out in order, from 1 or from where the base ends; a type may refer to one that is
/// added later. Equal strings are stored once.
#[derive(Clone, Debug)]
pub struct BtfBuilder {
    base: Option<Btf>,
    start_id: u32,
    words: Vec<u32>,
    offsets: Vec<u32>,
    strings: Vec<u8>,
    start_str: u32,
    known: HashMap<String, u32>,
    /// The first limit that was passed; reported at the end, so that adding stays plain.
    error: Option<Error>,
}

/// A member as the writer wants it.
#[derive(Clone, Copy, Debug)]
pub struct MemberDef<'a> {
    /// Name, empty for an anonymous struct or union.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
    /// Offset in bits.
    pub bit_offset: u32,
    /// Width in bits of a bitfield, otherwise 0.
    pub bitfield_size: u32,
}

impl<'a> MemberDef<'a> {
    /// A member at a byte offset that is no bitfield.
    pub const fn new(name: &'a str, ty: TypeId, byte_offset: u32) -> MemberDef<'a> {
        MemberDef { name, ty, bit_offset: byte_offset * 8, bitfield_size: 0 }
    }
}

/// How an integer is to be read (`BTF_INT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntEncoding {
    Unsigned,
    Signed,
    Char,
    Bool,
}

impl Default for BtfBuilder {
    fn default() -> BtfBuilder {
        BtfBuilder::new()
    }
}

impl BtfBuilder {
    /// A set on its own.
    pub fn new() -> BtfBuilder {
        BtfBuilder {
            base: None,
            start_id: 1,
            words: Vec::new(),
            offsets: Vec::new(),
            strings: alloc::vec![0],
            start_str: 0,
            known: HashMap::new(),
            error: None,
        }
    }

    /// A set on top of `base` (split BTF). Strings of the base are used where they are equal to
    /// the name of a type of it.
    pub fn split(base: &Btf) -> BtfBuilder {
        BtfBuilder {
            base: Some(base.clone()),
            start_id: base.len(),
            strings: Vec::new(),
            start_str: base.strings_len(),
            ..BtfBuilder::new()
        }
    }

    /// Id that the next type gets.
    pub fn next_id(&self) -> TypeId {
        self.start_id + self.offsets.len() as u32
    }

    /// Offset of a string, which is added if it is new. The empty string is at 0.
    pub fn add_str(&mut self, text: &str) -> u32 {
        // A NUL would end the string early.
        let text = text.split('\0').next().unwrap_or("");
        if text.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.known.get(text) {
            return offset;
        }
        if let Some(base) = &self.base
            && let Some(id) = base.find_by_name(text).next()
        {
            return base.type_by_id(id).map_or(0, |t| t.name_off());
        }
        let end = u64::from(self.start_str) + self.strings.len() as u64;
        let offset = self.limit("string offset", end, u64::from(u32::MAX));
        self.known.insert(text.into(), offset);
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        offset
    }

    fn limit(&mut self, what: &'static str, value: u64, max: u64) -> u32 {
        if value > max && self.error.is_none() {
            self.error = Some(Error::Limit { what, value, max });
        }
        value.min(max) as u32
    }

    /// Adds a header; the words that follow it are pushed by the caller.
    fn add(&mut self, name: &str, kind: Kind, vlen: usize, kind_flag: bool, arg: u32) -> TypeId {
        let vlen = self.limit("vlen", vlen as u64, u64::from(limits::BTF_MAX_VLEN));
        let id = self.next_id();
        let name_off = self.add_str(name);
        self.offsets.push(self.words.len() as u32);
        let info = vlen | u32::from(kind as u8) << 24 | u32::from(kind_flag) << 31;
        self.words.extend_from_slice(&[name_off, info, arg]);
        id
    }

    /// An integer of `size` bytes that uses all its bits.
    pub fn int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
        let encoding: u32 = match encoding {
            IntEncoding::Unsigned => 0,
            IntEncoding::Signed => 1,
            IntEncoding::Char => 2,
            IntEncoding::Bool => 4,
        };
        let bits = self.limit("integer bits", u64::from(size) * 8, 128);
        let id = self.add(name, Kind::Int, 0, false, size);
        self.words.push(encoding << 24 | bits);
        id
    }

    /// A floating-point number of `size` bytes.
    pub fn float(&mut self, name: &str, size: u32) -> TypeId {
        self.add(name, Kind::Float, 0, false, size)
    }

    /// A pointer to `ty`.
    pub fn ptr(&mut self, ty: TypeId) -> TypeId {
        self.add("", Kind::Ptr, 0, false, ty)
    }

    /// A typedef.
    pub fn typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(name, Kind::Typedef, 0, false, ty)
    }

    /// A `const` type.
    pub fn constant(&mut self, ty: TypeId) -> TypeId {
        self.add("", Kind::Const, 0, false, ty)
    }

    /// A `volatile` type.
    pub fn volatile(&mut self, ty: TypeId) -> TypeId {
        self.add("", Kind::Volatile, 0, false, ty)
    }

    /// A `restrict` pointer.
    pub fn restrict(&mut self, ty: TypeId) -> TypeId {
        self.add("", Kind::Restrict, 0, false, ty)
    }

    /// A type tag, `btf_type_tag(value)`.
    pub fn type_tag(&mut self, value: &str, ty: TypeId) -> TypeId {
        self.add(value, Kind::TypeTag, 0, false, ty)
    }

    /// A declaration tag on the whole of `ty` or on one of its members or parameters.
    pub fn decl_tag(&mut self, value: &str, ty: TypeId, component: Option<u32>) -> TypeId {
        let id = self.add(value, Kind::DeclTag, 0, false, ty);
        self.words.push(component.unwrap_or(u32::MAX));
        id
    }

    /// An array; 0 elements for a flexible one.
    pub fn array(&mut self, elem: TypeId, index: TypeId, nelems: u32) -> TypeId {
        let id = self.add("", Kind::Array, 0, false, 0);
        self.words.extend_from_slice(&[elem, index, nelems]);
        id
    }

    /// A struct of `size` bytes.
    pub fn structure(&mut self, name: &str, size: u32, members: &[MemberDef<'_>]) -> TypeId {
        self.composite(Kind::Struct, name, size, members)
    }

    /// A union of `size` bytes.
    pub fn union(&mut self, name: &str, size: u32, members: &[MemberDef<'_>]) -> TypeId {
        self.composite(Kind::Union, name, size, members)
    }

    fn composite(
        &mut self,
        kind: Kind,
        name: &str,
        size: u32,
        members: &[MemberDef<'_>],
    ) -> TypeId {
        let kind_flag = members.iter().any(|m| m.bitfield_size != 0);
        let id = self.add(name, kind, members.len(), kind_flag, size);
        let max_offset = if kind_flag { 0x00ff_ffff } else { u32::MAX };
        for m in members {
            let name_off = self.add_str(m.name);
            let offset = self.limit("bit offset", m.bit_offset.into(), max_offset.into());
            let width = self.limit("bitfield bits", m.bitfield_size.into(), 255);
            self.words.extend_from_slice(&[name_off, m.ty, offset | width << 24]);
        }
        id
    }

    /// An enum of `size` bytes; `signed` says how the values are to be read.
    pub fn enumeration(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        values: &[(&str, i32)],
    ) -> TypeId {
        let id = self.add(name, Kind::Enum, values.len(), signed, size);
        for &(name, value) in values {
            let name_off = self.add_str(name);
            self.words.extend_from_slice(&[name_off, value.cast_unsigned()]);
        }
        id
    }

    /// An enum with 64-bit values.
    pub fn enum64(
        &mut self,
        name: &str,
        size: u32,
        signed: bool,
        values: &[(&str, i64)],
    ) -> TypeId {
        let id = self.add(name, Kind::Enum64, values.len(), signed, size);
        for &(name, value) in values {
            let name_off = self.add_str(name);
            self.words.extend_from_slice(&[name_off, value as u32, (value >> 32) as u32]);
        }
        id
    }

    /// A forward declaration.
    pub fn fwd(&mut self, name: &str, is_union: bool) -> TypeId {
        self.add(name, Kind::Fwd, 0, is_union, 0)
    }

    /// A prototype; a last parameter of no name and type 0 is `...`.
    pub fn func_proto(&mut self, ret: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        let id = self.add("", Kind::FuncProto, params.len(), false, ret);
        for &(name, ty) in params {
            let name_off = self.add_str(name);
            self.words.extend_from_slice(&[name_off, ty]);
        }
        id
    }

    /// A function of the given prototype.
    pub fn func(&mut self, name: &str, linkage: FuncLinkage, proto: TypeId) -> TypeId {
        let linkage = match linkage {
            FuncLinkage::Static => 0,
            FuncLinkage::Global => 1,
            FuncLinkage::Extern => 2,
            FuncLinkage::Unknown(other) => other,
        };
        self.add(name, Kind::Func, linkage as usize, false, proto)
    }

    /// A variable.
    pub fn var(&mut self, name: &str, linkage: VarLinkage, ty: TypeId) -> TypeId {
        let linkage = match linkage {
            VarLinkage::Static => 0,
            VarLinkage::Global => 1,
            VarLinkage::Extern => 2,
            VarLinkage::Unknown(other) => other,
        };
        let id = self.add(name, Kind::Var, 0, false, ty);
        self.words.push(linkage);
        id
    }

    /// The variables of a section of `size` bytes.
    pub fn datasec(&mut self, name: &str, size: u32, vars: &[SecVar]) -> TypeId {
        let id = self.add(name, Kind::DataSec, vars.len(), false, size);
        for v in vars {
            self.words.extend_from_slice(&[v.ty, v.offset, v.size]);
        }
        id
    }

    /// Takes over type `id` of `btf` with its names; `map` translates the ids it refers to. Returns 0
    /// for `void` and for ids that do not exist.
    pub fn copy(&mut self, btf: &Btf, id: TypeId, mut map: impl FnMut(TypeId) -> TypeId) -> TypeId {
        let Some(words) = copy::translate(self, btf, id, &mut map) else {
            return 0;
        };
        let id = self.next_id();
        self.offsets.push(self.words.len() as u32);
        self.words.extend_from_slice(&words);
        id
    }

    /// The section in little-endian byte order.
    ///
    /// # Errors
    /// [`Error::Limit`] when a name, member, value or the whole was too large for its field.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        Ok(encode(&self.words, &self.strings, false))
    }

    /// The set as the parser would see it.
    ///
    /// # Errors
    /// [`Error::Limit`], or [`Error::Type`] for references and loops the parser refuses.
    pub fn build(self) -> Result<Btf, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let pointer_size =
            self.base.as_ref().map_or(limits::DEFAULT_POINTER_SIZE, Btf::pointer_size);
        finish(Inner {
            base: self.base,
            start_id: self.start_id,
            start_str: self.start_str,
            words: self.words,
            offsets: self.offsets,
            strings: self.strings,
            pointer_size,
            big_endian: false,
            index: OnceBox::new(),
        })
    }
}

impl Btf {
    /// The own types as a `.BTF` section, in the byte order they were parsed from.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Inner { words, strings, big_endian, .. } = Arc::as_ref(&self.inner);
        encode(words, strings, *big_endian)
    }
}

fn encode(words: &[u32], strings: &[u8], big_endian: bool) -> Vec<u8> {
    let types_len = words.len() as u32 * 4;
    let header = [limits::BTF_HEADER_LEN, 0, types_len, types_len, strings.len() as u32];
    let mut out = Vec::with_capacity(limits::BTF_HEADER_LEN as usize + types_len as usize);
    let magic = limits::BTF_MAGIC;
    out.extend_from_slice(&if big_endian { magic.to_be_bytes() } else { magic.to_le_bytes() });
    out.extend_from_slice(&[limits::BTF_VERSION, 0]);
    for &word in header.iter().chain(words) {
        out.extend_from_slice(&if big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
    }
    out.extend_from_slice(strings);
    out
}
