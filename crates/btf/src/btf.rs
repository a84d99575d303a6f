//! A set of types, and how to look into it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use once_cell::race::OnceBox;

use crate::index::NameIndex;
use crate::types::*;
use crate::{Error, limits};

/// A set of BTF types, maybe on top of a base set (split BTF). Cheap to clone.
///
/// Every value that was parsed or built is sound: ids and name offsets are in range, and
/// neither modifiers nor containment by value form a loop.
#[derive(Clone, Debug, Default)]
pub struct Btf {
    pub(crate) inner: Arc<Inner>,
}

/// The storage behind a [`Btf`].
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) base: Option<Btf>,
    /// Id of the first own type: 1, or the number of types of the base.
    pub(crate) start_id: u32,
    /// String offset of the first own byte: 0, or the length of the base's strings.
    pub(crate) start_str: u32,
    /// The type section in host order.
    pub(crate) words: Vec<u32>,
    /// Where each own type starts in `words`.
    pub(crate) offsets: Vec<u32>,
    pub(crate) strings: Vec<u8>,
    pub(crate) pointer_size: u32,
    pub(crate) big_endian: bool,
    pub(crate) index: OnceBox<NameIndex>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            base: None,
            start_id: 1,
            start_str: 0,
            words: Vec::new(),
            offsets: Vec::new(),
            strings: alloc::vec![0],
            pointer_size: limits::DEFAULT_POINTER_SIZE,
            big_endian: false,
            index: OnceBox::new(),
        }
    }
}

impl Btf {
    /// Number of types, `void` and those of the base counted: ids are `0..len`.
    pub fn len(&self) -> u32 {
        self.inner.start_id + self.inner.offsets.len() as u32
    }

    /// Whether there is no type but `void`.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// The base set of split BTF.
    pub fn base(&self) -> Option<&Btf> {
        self.inner.base.as_ref()
    }

    /// Id of the first type that is not the base's.
    pub fn start_id(&self) -> TypeId {
        self.inner.start_id
    }

    /// Size of a pointer in bytes: 8, unless the types say otherwise.
    pub fn pointer_size(&self) -> u32 {
        self.inner.pointer_size
    }

    /// Whether the bytes it was parsed from, and so the values it describes, are big-endian.
    pub fn is_big_endian(&self) -> bool {
        self.inner.big_endian
    }

    /// Bytes of the string section, the base's counted.
    pub fn strings_len(&self) -> u32 {
        self.inner.start_str + self.inner.strings.len() as u32
    }

    /// The type with this id, or `None` when there is none. Id 0 is [`Type::Void`].
    pub fn type_by_id(&self, id: TypeId) -> Option<Type<'_>> {
        if id == 0 {
            return Some(Type::Void);
        }
        let mut btf = self;
        while id < btf.inner.start_id {
            btf = btf.inner.base.as_ref()?;
        }
        let at = *btf.inner.offsets.get((id - btf.inner.start_id) as usize)?;
        decode(btf.inner.words.get(at as usize..)?)
    }

    /// The words that describe a type, the three of its header first.
    pub(crate) fn raw(&self, id: TypeId) -> Option<&[u32]> {
        let mut btf = self;
        while id < btf.inner.start_id {
            btf = btf.inner.base.as_ref()?;
        }
        let at = *btf.inner.offsets.get((id - btf.inner.start_id) as usize)? as usize;
        let words = btf.inner.words.get(at..)?;
        let info = *words.get(1)?;
        words.get(..3 + extra_words(info_kind(info)?, info_vlen(info)))
    }

    /// Like [`Btf::type_by_id`] with an error for ids that do not exist.
    pub fn get(&self, id: TypeId) -> Result<Type<'_>, Error> {
        self.type_by_id(id).ok_or(Error::NoSuchType { id })
    }

    /// Kind of a type; `None` when there is no such type.
    pub fn kind(&self, id: TypeId) -> Option<Kind> {
        self.type_by_id(id).map(|t| t.kind())
    }

    /// Bytes of the string at an offset, without its NUL.
    pub fn str_bytes(&self, off: u32) -> Option<&[u8]> {
        let mut btf = self;
        while off < btf.inner.start_str {
            btf = btf.inner.base.as_ref()?;
        }
        let tail = btf.inner.strings.get((off - btf.inner.start_str) as usize..)?;
        let end = tail.iter().position(|&b| b == 0)?;
        Some(&tail[..end])
    }

    /// String at an offset; `None` when the offset is out of range or the bytes are not UTF-8.
    pub fn str(&self, off: u32) -> Option<&str> {
        core::str::from_utf8(self.str_bytes(off)?).ok()
    }

    /// String at an offset known to be sound; empty otherwise.
    pub fn name(&self, off: u32) -> &str {
        self.str(off).unwrap_or("")
    }

    /// Name of a type, without `struct` and the like; empty if it has none.
    pub fn type_name(&self, id: TypeId) -> &str {
        self.type_by_id(id).map_or("", |t| self.name(t.name_off()))
    }

    /// All types with their ids, from 1, those of the base first.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, Type<'_>)> + '_ {
        (1..self.len()).filter_map(|id| Some((id, self.type_by_id(id)?)))
    }

    /// The first type (in order of ids, the base first) of that name and kind.
    pub fn find_by_name_kind(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.find_by_name(name).find(|&id| self.kind(id) == Some(kind))
    }

    /// All types of exactly that name, in order of ids, the base's first.
    pub fn find_by_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + 'a {
        let named = move |&id: &TypeId| self.type_name(id) == name;
        self.find_by_essential_name(name).filter(named)
    }

    /// All types whose name is that name once both lose their `___flavor`.
    pub fn find_by_essential_name<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = TypeId> + 'a {
        let mut chain: Vec<&'a Btf> = alloc::vec![self];
        while let Some(base) = chain[chain.len() - 1].base() {
            chain.push(base);
        }
        chain.into_iter().rev().flat_map(move |btf| btf.index().lookup(btf, name))
    }

    pub(crate) fn index(&self) -> &NameIndex {
        self.inner.index.get_or_init(|| alloc::boxed::Box::new(NameIndex::new(self)))
    }
}

/// Number of words that follow the three words of a type's header.
pub(crate) fn extra_words(kind: Kind, vlen: u32) -> usize {
    let vlen = vlen as usize;
    match kind {
        Kind::Int | Kind::Var | Kind::DeclTag => 1,
        Kind::Array => 3,
        Kind::Struct | Kind::Union | Kind::DataSec | Kind::Enum64 => vlen * 3,
        Kind::Enum | Kind::FuncProto => vlen * 2,
        _ => 0,
    }
}

/// Kind of an info word; `None` for kinds that do not exist and for 0.
pub(crate) fn info_kind(info: u32) -> Option<Kind> {
    Kind::from_u8((info >> 24 & 0x7f) as u8).filter(|&k| k != Kind::Void)
}

/// `vlen` of an info word. Since Linux 7.2 it has 24 bits; the upper ones were zero before.
pub(crate) fn info_vlen(info: u32) -> u32 {
    info & limits::BTF_MAX_VLEN
}

/// Decodes the type at the start of `words`.
pub(crate) fn decode(words: &[u32]) -> Option<Type<'_>> {
    let [name_off, info, arg, rest @ ..] = words else { return None };
    let (name_off, info, arg) = (*name_off, *info, *arg);
    let kind = info_kind(info)?;
    let kind_flag = info >> 31 != 0;
    let vlen = info_vlen(info);
    let words = rest.get(..extra_words(kind, vlen))?;
    let reference = Ref { name_off, ty: arg, kind_flag };
    let composite = Composite { name_off, size: arg, kind_flag, words };
    Some(match kind {
        Kind::Void => return None,
        Kind::Int => Type::Int(decode_int(name_off, arg, words[0])),
        Kind::Ptr => Type::Ptr(reference),
        Kind::Array => Type::Array(Array { elem: words[0], index: words[1], nelems: words[2] }),
        Kind::Struct => Type::Struct(composite),
        Kind::Union => Type::Union(composite),
        Kind::Enum => Type::Enum(Enum { name_off, size: arg, signed: kind_flag, words }),
        Kind::Fwd => Type::Fwd(Fwd { name_off, is_union: kind_flag }),
        Kind::Typedef => Type::Typedef(reference),
        Kind::Volatile => Type::Volatile(reference),
        Kind::Const => Type::Const(reference),
        Kind::Restrict => Type::Restrict(reference),
        Kind::Func => Type::Func(Func { name_off, ty: arg, linkage: func_linkage(vlen) }),
        Kind::FuncProto => Type::FuncProto(FuncProto { ret: arg, words }),
        Kind::Var => Type::Var(Var { name_off, ty: arg, linkage: var_linkage(words[0]) }),
        Kind::DataSec => Type::DataSec(DataSec { name_off, size: arg, words }),
        Kind::Float => Type::Float(Float { name_off, size: arg }),
        Kind::DeclTag => {
            let component = u32::try_from(words[0].cast_signed()).ok();
            Type::DeclTag(DeclTag { name_off, ty: arg, component, kind_flag })
        }
        Kind::TypeTag => Type::TypeTag(reference),
        Kind::Enum64 => Type::Enum64(Enum64 { name_off, size: arg, signed: kind_flag, words }),
    })
}

fn decode_int(name_off: u32, size: u32, data: u32) -> Int {
    let encoding = data >> 24 & 0xf;
    Int {
        name_off,
        size,
        signed: encoding & 1 != 0,
        is_char: encoding & 2 != 0,
        is_bool: encoding & 4 != 0,
        offset: (data >> 16) as u8,
        bits: data as u8,
    }
}

fn func_linkage(vlen: u32) -> FuncLinkage {
    match vlen {
        0 => FuncLinkage::Static,
        1 => FuncLinkage::Global,
        2 => FuncLinkage::Extern,
        other => FuncLinkage::Unknown(other),
    }
}

fn var_linkage(linkage: u32) -> VarLinkage {
    match linkage {
        0 => VarLinkage::Static,
        1 => VarLinkage::Global,
        2 => VarLinkage::Extern,
        other => VarLinkage::Unknown(other),
    }
}
