//! Views of single types, as they lie in the type section.
//!
//! The type section is kept as 32-bit words; a view borrows the words behind a type's header.

pub use crate::kind::Kind;

/// Number of a type; 0 is `void`.
pub type TypeId = u32;

/// One type. Names are offsets for [`crate::Btf::str`]; offset 0 means no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Type<'a> {
    Void,
    Int(Int),
    Ptr(Ref),
    Array(Array),
    Struct(Composite<'a>),
    Union(Composite<'a>),
    Enum(Enum<'a>),
    Fwd(Fwd),
    Typedef(Ref),
    Volatile(Ref),
    Const(Ref),
    Restrict(Ref),
    Func(Func),
    FuncProto(FuncProto<'a>),
    Var(Var),
    DataSec(DataSec<'a>),
    Float(Float),
    DeclTag(DeclTag),
    TypeTag(Ref),
    Enum64(Enum64<'a>),
}

/// An integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Int {
    /// Name.
    pub name_off: u32,
    /// Size in bytes.
    pub size: u32,
    /// Whether `BTF_INT_SIGNED` is set.
    pub signed: bool,
    /// Whether `BTF_INT_CHAR` is set; compilers do not set it for `char`.
    pub is_char: bool,
    /// Whether `BTF_INT_BOOL` is set.
    pub is_bool: bool,
    /// Legacy bitfield offset in bits inside of the integer.
    pub offset: u8,
    /// Width in bits.
    pub bits: u8,
}

/// A pointer, typedef, modifier or type tag: something that refers to one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ref {
    /// Name of a typedef, value of a type tag, otherwise 0.
    pub name_off: u32,
    /// What is referred to.
    pub ty: TypeId,
    /// `kind_flag`: the type tag is any attribute, not only `btf_type_tag`.
    pub kind_flag: bool,
}

/// An array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Array {
    /// Type of an element.
    pub elem: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// Number of elements; 0 for a flexible array.
    pub nelems: u32,
}

/// A struct or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Composite<'a> {
    /// Name; 0 for an anonymous one.
    pub name_off: u32,
    /// Size in bytes.
    pub size: u32,
    /// Whether member offsets also carry bitfield sizes.
    pub kind_flag: bool,
    pub(crate) words: &'a [u32],
}

/// A member of a struct or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Name; 0 for an anonymous struct or union.
    pub name_off: u32,
    /// Its type.
    pub ty: TypeId,
    /// Offset in bits from the start of the struct.
    pub bit_offset: u32,
    /// Width in bits of a bitfield, otherwise 0. Legacy bitfields (an [`Int`] with
    /// fewer bits than its size) have 0 here.
    pub bitfield_size: u32,
}

impl<'a> Composite<'a> {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.words.len() / 3
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Member by position.
    pub fn member(&self, index: usize) -> Option<Member> {
        let at = index.checked_mul(3)?;
        let w = self.words.get(at..at.checked_add(3)?)?;
        let (bit_offset, bitfield_size) =
            if self.kind_flag { (w[2] & 0x00ff_ffff, w[2] >> 24) } else { (w[2], 0) };
        Some(Member { name_off: w[0], ty: w[1], bit_offset, bitfield_size })
    }

    /// All members in order.
    pub fn members(
        self,
    ) -> impl DoubleEndedIterator<Item = Member> + ExactSizeIterator + Clone + 'a {
        (0..self.len()).map(move |i| self.member(i).expect("index below len"))
    }
}

/// An enum of at most 32 bits (its `size` can be 1, 2, 4 or 8 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enum<'a> {
    /// Name; 0 for an anonymous one.
    pub name_off: u32,
    /// Size in bytes.
    pub size: u32,
    /// `kind_flag`: values are signed.
    pub signed: bool,
    pub(crate) words: &'a [u32],
}

/// An enum with 64-bit values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enum64<'a> {
    /// Name; 0 for an anonymous one.
    pub name_off: u32,
    /// Size in bytes.
    pub size: u32,
    /// `kind_flag`: values are signed.
    pub signed: bool,
    pub(crate) words: &'a [u32],
}

/// One enumerator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enumerator {
    /// Name.
    pub name_off: u32,
    /// Value: sign-extended to 64 bits for a signed enum, zero-extended otherwise.
    pub value: i64,
}

impl<'a> Enum<'a> {
    /// Number of enumerators.
    pub fn len(&self) -> usize {
        self.words.len() / 2
    }

    /// Whether this is a forward declaration (`enum e;`).
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All enumerators in order.
    pub fn values(self) -> impl ExactSizeIterator<Item = Enumerator> + Clone + 'a {
        self.words.chunks_exact(2).map(move |w| Enumerator {
            name_off: w[0],
            value: if self.signed { i64::from(w[1].cast_signed()) } else { i64::from(w[1]) },
        })
    }
}

impl<'a> Enum64<'a> {
    /// Number of enumerators.
    pub fn len(&self) -> usize {
        self.words.len() / 3
    }

    /// Whether there is no enumerator.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All enumerators in order.
    pub fn values(self) -> impl ExactSizeIterator<Item = Enumerator> + Clone + 'a {
        self.words.chunks_exact(3).map(|w| Enumerator {
            name_off: w[0],
            value: (u64::from(w[1]) | u64::from(w[2]) << 32).cast_signed(),
        })
    }
}

/// A forward declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fwd {
    /// Name.
    pub name_off: u32,
    /// Of a union rather than a struct.
    pub is_union: bool,
}

/// Linkage of a function (`enum btf_func_linkage`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FuncLinkage {
    Static,
    Global,
    Extern,
    Unknown(u32),
}

/// A function: a name and a prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Func {
    /// Name.
    pub name_off: u32,
    /// Its [`FuncProto`].
    pub ty: TypeId,
    /// Linkage.
    pub linkage: FuncLinkage,
}

/// A function's prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncProto<'a> {
    /// Type of the result; 0 for `void`.
    pub ret: TypeId,
    pub(crate) words: &'a [u32],
}

/// A parameter. One without name and type, in last position, is `...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param {
    /// Name, 0 if it has none.
    pub name_off: u32,
    /// Its type.
    pub ty: TypeId,
}

impl<'a> FuncProto<'a> {
    /// Number of parameters, `...` counted.
    pub fn len(&self) -> usize {
        self.words.len() / 2
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All parameters in order.
    pub fn params(self) -> impl ExactSizeIterator<Item = Param> + Clone + 'a {
        self.words.chunks_exact(2).map(|w| Param { name_off: w[0], ty: w[1] })
    }
}

/// Linkage of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum VarLinkage {
    Static,
    Global,
    Extern,
    Unknown(u32),
}

/// A variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Var {
    /// Name.
    pub name_off: u32,
    /// Its type.
    pub ty: TypeId,
    /// Linkage.
    pub linkage: VarLinkage,
}

/// The variables of an ELF section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataSec<'a> {
    /// Name of the section (`.data`).
    pub name_off: u32,
    /// Size in bytes; compilers leave 0 here and the loader fills it in from ELF.
    pub size: u32,
    pub(crate) words: &'a [u32],
}

/// Where a variable lies in its section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecVar {
    /// A [`Var`], or a [`Func`] for kernel functions in `.ksyms`.
    pub ty: TypeId,
    /// Offset in bytes; compilers leave 0 here and the loader fills it in from ELF.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl<'a> DataSec<'a> {
    /// Number of variables.
    pub fn len(&self) -> usize {
        self.words.len() / 3
    }

    /// Whether there is no variable.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Variable by position.
    pub fn var(&self, index: usize) -> Option<SecVar> {
        let at = index.checked_mul(3)?;
        let w = self.words.get(at..at.checked_add(3)?)?;
        Some(SecVar { ty: w[0], offset: w[1], size: w[2] })
    }

    /// All variables in order.
    pub fn vars(self) -> impl ExactSizeIterator<Item = SecVar> + Clone + 'a {
        self.words.chunks_exact(3).map(|w| SecVar { ty: w[0], offset: w[1], size: w[2] })
    }
}

/// A floating-point number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Float {
    /// Name.
    pub name_off: u32,
    /// Size in bytes.
    pub size: u32,
}

/// A tag on a declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeclTag {
    /// The tag's text.
    pub name_off: u32,
    /// What is tagged: struct, union, func, var or typedef.
    pub ty: TypeId,
    /// Member or parameter that is tagged; `None` for the whole.
    pub component: Option<u32>,
    /// `kind_flag`: any attribute, not only `btf_decl_tag`.
    pub kind_flag: bool,
}

impl<'a> Type<'a> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Type::Void => Kind::Void,
            Type::Int(_) => Kind::Int,
            Type::Ptr(_) => Kind::Ptr,
            Type::Array(_) => Kind::Array,
            Type::Struct(_) => Kind::Struct,
            Type::Union(_) => Kind::Union,
            Type::Enum(_) => Kind::Enum,
            Type::Fwd(_) => Kind::Fwd,
            Type::Typedef(_) => Kind::Typedef,
            Type::Volatile(_) => Kind::Volatile,
            Type::Const(_) => Kind::Const,
            Type::Restrict(_) => Kind::Restrict,
            Type::Func(_) => Kind::Func,
            Type::FuncProto(_) => Kind::FuncProto,
            Type::Var(_) => Kind::Var,
            Type::DataSec(_) => Kind::DataSec,
            Type::Float(_) => Kind::Float,
            Type::DeclTag(_) => Kind::DeclTag,
            Type::TypeTag(_) => Kind::TypeTag,
            Type::Enum64(_) => Kind::Enum64,
        }
    }

    /// Offset of its name, 0 if it has none.
    pub fn name_off(&self) -> u32 {
        match self {
            Type::Void | Type::Array(_) | Type::FuncProto(_) => 0,
            Type::Int(t) => t.name_off,
            Type::Struct(t) | Type::Union(t) => t.name_off,
            Type::Enum(t) => t.name_off,
            Type::Enum64(t) => t.name_off,
            Type::Fwd(t) => t.name_off,
            Type::Func(t) => t.name_off,
            Type::Var(t) => t.name_off,
            Type::DataSec(t) => t.name_off,
            Type::Float(t) => t.name_off,
            Type::DeclTag(t) => t.name_off,
            Type::Ptr(t)
            | Type::Typedef(t)
            | Type::Volatile(t)
            | Type::Const(t)
            | Type::Restrict(t)
            | Type::TypeTag(t) => t.name_off,
        }
    }

    /// The struct or union it is.
    pub fn composite(&self) -> Option<Composite<'a>> {
        match *self {
            Type::Struct(c) | Type::Union(c) => Some(c),
            _ => None,
        }
    }

    /// The type a modifier refers to (see [`Kind::is_mod`]).
    pub fn modified(&self) -> Option<TypeId> {
        match self {
            Type::Const(r) | Type::Volatile(r) | Type::Restrict(r) | Type::TypeTag(r) => Some(r.ty),
            _ => None,
        }
    }
}
