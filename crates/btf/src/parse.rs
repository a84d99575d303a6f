//! From bytes to a [`Btf`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use once_cell::race::OnceBox;

use crate::btf::{Inner, extra_words, info_kind, info_vlen};
use crate::types::*;
use crate::{Btf, Error, Fault, HeaderFault, limits, loops};

impl Btf {
    /// Parses a `.BTF` section or `/sys/kernel/btf/vmlinux`, in either byte order.
    ///
    /// Accepts what libbpf accepts, and refuses loops (kernel/bpf/btf.c). What the kernel refuses
    /// on top of that is for [`Btf::check`].
    ///
    /// # Errors
    /// [`Error::Header`], [`Error::Strings`] or [`Error::Type`].
    pub fn parse(data: &[u8]) -> Result<Btf, Error> {
        parse(data, None)
    }

    /// Parses split BTF (a kernel module's) on top of `base`.
    ///
    /// # Errors
    /// Like [`Btf::parse`].
    pub fn parse_split(data: &[u8], base: &Btf) -> Result<Btf, Error> {
        parse(data, Some(base))
    }
}

/// Reads integers of the section's byte order.
#[derive(Clone, Copy)]
pub(crate) struct Endian {
    pub(crate) big: bool,
}

impl Endian {
    /// Tells the byte order from the magic number in the first two bytes.
    pub(crate) fn detect(data: &[u8], section: &'static str) -> Result<Endian, Error> {
        let header = |fault| Error::Header { section, fault };
        let &[a, b, ..] = data else {
            return Err(header(HeaderFault::Truncated { len: data.len() }));
        };
        match u16::from_le_bytes([a, b]) {
            limits::BTF_MAGIC => Ok(Endian { big: false }),
            magic if magic.swap_bytes() == limits::BTF_MAGIC => Ok(Endian { big: true }),
            magic => Err(header(HeaderFault::Magic { magic })),
        }
    }

    pub(crate) fn u32(self, data: &[u8], at: usize) -> Option<u32> {
        let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn words(self, data: &[u8]) -> Vec<u32> {
        let word = |c: &[u8]| [c[0], c[1], c[2], c[3]];
        let chunks = data.chunks_exact(4);
        if self.big {
            chunks.map(|c| u32::from_be_bytes(word(c))).collect()
        } else {
            chunks.map(|c| u32::from_le_bytes(word(c))).collect()
        }
    }
}

struct Sections<'a> {
    endian: Endian,
    types: &'a [u8],
    strings: &'a [u8],
}

fn header_error(fault: HeaderFault) -> Error {
    Error::Header { section: ".BTF", fault }
}

fn sections(data: &[u8]) -> Result<Sections<'_>, Error> {
    let endian = Endian::detect(data, ".BTF")?;
    let truncated = || header_error(HeaderFault::Truncated { len: data.len() });
    let field = |at| endian.u32(data, at).ok_or_else(truncated);
    let &[_, _, version, flags, ..] = data else { return Err(truncated()) };
    if version != limits::BTF_VERSION {
        return Err(header_error(HeaderFault::Version { version }));
    }
    if flags != 0 {
        return Err(header_error(HeaderFault::Flags { flags }));
    }
    let hdr_len = field(4)?;
    if hdr_len < limits::BTF_HEADER_LEN {
        return Err(header_error(HeaderFault::HdrLen { hdr_len }));
    }
    let body = data.get(hdr_len as usize..).ok_or_else(truncated)?;
    let section = |part: &'static str, offset: u32, len: u32| {
        let (start, end) = (offset as usize, (offset as usize).saturating_add(len as usize));
        let fault = HeaderFault::Section { part, offset, len, total: body.len() };
        body.get(start..end).ok_or_else(|| header_error(fault))
    };
    let types = section("type section", field(8)?, field(12)?)?;
    let strings = section("string section", field(16)?, field(20)?)?;
    // The kind layout section that may follow describes kinds to those who do not know them; its
    // place is checked, its content not needed. Anything else that is not zero is from the future.
    let known = if hdr_len >= limits::BTF_HEADER_LEN + 8 {
        section("layout section", field(24)?, field(28)?)?;
        limits::BTF_HEADER_LEN + 8
    } else {
        limits::BTF_HEADER_LEN
    };
    if data[known as usize..hdr_len as usize].iter().any(|&b| b != 0) {
        return Err(header_error(HeaderFault::HdrLen { hdr_len }));
    }
    if field(8)? % 4 != 0 || types.len() % 4 != 0 {
        return Err(header_error(HeaderFault::Unaligned { part: "type section" }));
    }
    Ok(Sections { endian, types, strings })
}

fn parse(data: &[u8], base: Option<&Btf>) -> Result<Btf, Error> {
    let Sections { endian, types, strings } = sections(data)?;
    // Split BTF may leave its own strings empty.
    let empty_ok = base.is_some() && strings.is_empty();
    let bounded = strings.last() == Some(&0) && (base.is_some() || strings[0] == 0);
    if !empty_ok && !bounded {
        return Err(Error::Strings { len: strings.len() });
    }
    let (start_id, start_str) = base.map_or((1, 0), |b| (b.len(), b.strings_len()));
    if base.is_some_and(|b| b.is_big_endian() != endian.big) {
        return Err(header_error(HeaderFault::Endianness));
    }
    if start_str.checked_add(strings.len() as u32).is_none()
        || start_id.checked_add(types.len() as u32 / 12).is_none()
    {
        return Err(header_error(HeaderFault::TooLarge));
    }
    let words = endian.words(types);
    let offsets = type_offsets(&words, start_id)?;
    let mut inner = Inner {
        base: base.cloned(),
        start_id,
        start_str,
        words,
        offsets,
        strings: strings.to_vec(),
        pointer_size: limits::DEFAULT_POINTER_SIZE,
        big_endian: endian.big,
        index: OnceBox::new(),
    };
    inner.pointer_size = base.map_or(limits::DEFAULT_POINTER_SIZE, Btf::pointer_size);
    finish(inner)
}

/// Checks what needs all types, and wraps up.
pub(crate) fn finish(inner: Inner) -> Result<Btf, Error> {
    let mut btf = Btf { inner: Arc::new(inner) };
    check_references(&btf)?;
    loops::check(&btf)?;
    if btf.inner.base.is_none()
        && let Some(size) = long_size(&btf)
        && let Some(inner) = Arc::get_mut(&mut btf.inner)
    {
        inner.pointer_size = size;
    }
    Ok(btf)
}

/// Where each type starts, in words.
fn type_offsets(words: &[u32], start_id: u32) -> Result<Vec<u32>, Error> {
    let mut offsets = Vec::with_capacity(words.len() / 8);
    let mut at = 0;
    while at < words.len() {
        let id = start_id + offsets.len() as u32;
        let left = words.len() - at;
        let fault = |kind, fault| Error::Type { id, kind, fault };
        if left < 3 {
            let short = Fault::Truncated { left: left * 4, needed: 12 };
            return Err(fault(Kind::Void, short));
        }
        let info = words[at + 1];
        let Some(kind) = info_kind(info) else {
            return Err(fault(Kind::Void, Fault::Kind { kind: (info >> 24 & 0x7f) as u8 }));
        };
        let needed = 3 + extra_words(kind, info_vlen(info));
        if left < needed {
            return Err(fault(kind, Fault::Truncated { left: left * 4, needed: needed * 4 }));
        }
        offsets.push(at as u32);
        at += needed;
    }
    Ok(offsets)
}

/// Checks every name offset and type id.
fn check_references(btf: &Btf) -> Result<(), Error> {
    let names = NameCheck { btf, end: btf.strings_len(), ascii: btf.inner.strings.is_ascii() };
    let end = btf.len();
    for id in btf.inner.start_id..end {
        let t = btf.get(id)?;
        let fault = |fault| Error::Type { id, kind: t.kind(), fault };
        names.check(t.name_off()).map_err(fault)?;
        let type_id = |type_id: TypeId| {
            if type_id < end { Ok(()) } else { Err(fault(Fault::TypeId { type_id })) }
        };
        match t {
            Type::Void | Type::Int(_) | Type::Float(_) | Type::Fwd(_) => {}
            Type::Ptr(r)
            | Type::Typedef(r)
            | Type::Volatile(r)
            | Type::Const(r)
            | Type::Restrict(r)
            | Type::TypeTag(r) => type_id(r.ty)?,
            Type::Array(a) => {
                type_id(a.elem)?;
                type_id(a.index)?;
            }
            Type::Struct(c) | Type::Union(c) => {
                for m in c.members() {
                    names.check(m.name_off).map_err(fault)?;
                    type_id(m.ty)?;
                }
            }
            Type::Enum(e) => e.values().try_for_each(|v| names.check(v.name_off)).map_err(fault)?,
            Type::Enum64(e) => {
                e.values().try_for_each(|v| names.check(v.name_off)).map_err(fault)?;
            }
            Type::FuncProto(p) => {
                type_id(p.ret)?;
                for param in p.params() {
                    names.check(param.name_off).map_err(fault)?;
                    type_id(param.ty)?;
                }
            }
            Type::Func(f) => type_id(f.ty)?,
            Type::Var(v) => type_id(v.ty)?,
            Type::DataSec(d) => d.vars().try_for_each(|v| type_id(v.ty))?,
            Type::DeclTag(d) => type_id(d.ty)?,
        }
    }
    Ok(())
}

/// Checks that name offsets are in range and the names UTF-8.
struct NameCheck<'a> {
    btf: &'a Btf,
    end: u32,
    /// Whether the own strings are ASCII, so that names need no look.
    ascii: bool,
}

impl NameCheck<'_> {
    fn check(&self, offset: u32) -> Result<(), Fault> {
        if offset >= self.end {
            return Err(Fault::NameOffset { offset });
        }
        if !self.ascii && self.btf.str(offset).is_none() {
            return Err(Fault::Name);
        }
        Ok(())
    }
}

/// Size of `long`, from which libbpf's `determine_ptr_size` infers that of pointers.
fn long_size(btf: &Btf) -> Option<u32> {
    let is_long = |name: &str| {
        matches!(
            name,
            "long int"
                | "long"
                | "int long"
                | "unsigned long"
                | "long unsigned"
                | "unsigned long int"
                | "unsigned int long"
                | "long unsigned int"
                | "long int unsigned"
                | "int unsigned long"
                | "int long unsigned"
        )
    };
    btf.types().find_map(|(_, t)| match t {
        Type::Int(i) if matches!(i.size, 4 | 8) && is_long(btf.name(i.name_off)) => Some(i.size),
        _ => None,
    })
}
