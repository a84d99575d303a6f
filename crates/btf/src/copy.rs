//! Taking a type over from one set into another, word by word.

use alloc::vec::Vec;

use crate::Btf;
use crate::builder::BtfBuilder;
use crate::types::*;

/// What a word of a type means.
#[derive(Clone, Copy)]
enum Word {
    Name,
    Ref,
    Plain,
}

/// Meaning of the third word of the header, and of the words that repeat behind it.
fn layout(kind: Kind) -> (Word, &'static [Word]) {
    use Word::*;
    match kind {
        Kind::Void | Kind::Fwd | Kind::Float => (Plain, &[]),
        Kind::Ptr
        | Kind::Typedef
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::Func
        | Kind::TypeTag => (Ref, &[]),
        Kind::Int => (Plain, &[Plain]),
        Kind::Var | Kind::DeclTag => (Ref, &[Plain]),
        Kind::Array => (Plain, &[Ref, Ref, Plain]),
        Kind::Struct | Kind::Union => (Plain, &[Name, Ref, Plain]),
        Kind::Enum => (Plain, &[Name, Plain]),
        Kind::Enum64 => (Plain, &[Name, Plain, Plain]),
        Kind::FuncProto => (Ref, &[Name, Ref]),
        Kind::DataSec => (Plain, &[Ref, Plain, Plain]),
    }
}

/// Words of type `id` of `btf`, with names in the builder's strings and ids translated by `map`.
pub(crate) fn translate(
    to: &mut BtfBuilder,
    btf: &Btf,
    id: TypeId,
    map: &mut dyn FnMut(TypeId) -> TypeId,
) -> Option<Vec<u32>> {
    let words = btf.raw(id)?;
    let kind = btf.kind(id)?;
    let (arg, tail) = layout(kind);
    let header = [Word::Name, Word::Plain, arg];
    let meanings = header.iter().chain(tail.iter().cycle());
    let mut out = Vec::with_capacity(words.len());
    for (&word, meaning) in words.iter().zip(meanings) {
        out.push(match meaning {
            Word::Name => to.add_str(btf.name(word)),
            Word::Ref => map(word),
            Word::Plain => word,
        });
    }
    Some(out)
}
