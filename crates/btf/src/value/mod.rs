//! Raw bytes as values of a type, for people and for JSON.

mod decode;
mod display;

use alloc::vec::Vec;

use crate::{Btf, TypeId};

/// A value of some type. Names are those of the [`Btf`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A signed integer.
    Int(i128),
    /// An unsigned integer.
    UInt(u128),
    /// A boolean: any byte but 0 is true.
    Bool(bool),
    /// A single `char`.
    Char(u8),
    /// A floating-point number of 4 or 8 bytes.
    Float(f64),
    /// An enum's value.
    Enum {
        /// Name of the first enumerator of that value.
        name: Option<&'a str>,
        /// The value.
        val: i128,
    },
    /// An address.
    Ptr(u64),
    /// The elements of an array.
    Array(Vec<Value<'a>>),
    /// The members of a struct or union, or the variables of a section. The members of anonymous members stand
    /// beside the others, as C names them.
    Struct(Vec<(&'a str, Value<'a>)>),
    /// A `char` array, up to its NUL.
    Str(&'a str),
    /// What cannot be told better: a `char` array without NUL or not in UTF-8, an incomplete type.
    Bytes(&'a [u8]),
    /// The bytes given end before or inside of the value.
    Missing,
}

/// Reads `bytes` as a value of type `id`, in the byte order of `btf`.
///
/// Never fails: what the bytes do not reach is [`Value::Missing`], what has no value is
/// [`Value::Bytes`]. A flexible array takes what is left.
pub fn decode<'a>(btf: &'a Btf, id: TypeId, bytes: &'a [u8]) -> Value<'a> {
    decode::Decoder::new(btf, bytes).value(id, 0)
}
