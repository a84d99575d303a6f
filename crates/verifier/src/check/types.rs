//! Questions about BTF types that arguments ask.

use stylet_btf::{Btf, Kind as BtfKind, Type};

/// `btf_type_is_scalar`.
pub(super) fn is_scalar(ty: Option<Type<'_>>) -> bool {
    matches!(ty, Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)))
}

/// `btf_type_str`.
pub(crate) fn kind_text(ty: Option<Type<'_>>) -> &'static str {
    match ty.map(|t| t.kind()) {
        None => "UNKNOWN",
        Some(BtfKind::Int) => "INT",
        Some(BtfKind::Ptr) => "PTR",
        Some(BtfKind::Array) => "ARRAY",
        Some(BtfKind::Struct) => "STRUCT",
        Some(BtfKind::Union) => "UNION",
        Some(BtfKind::Enum) => "ENUM",
        Some(BtfKind::Fwd) => "FWD",
        Some(BtfKind::FuncProto) => "FUNC_PROTO",
        Some(BtfKind::Float) => "FLOAT",
        Some(BtfKind::Enum64) => "ENUM64",
        Some(_) => "UNKNOWN",
    }
}

/// A structure of numbers only, nested and in arrays too (`__btf_type_is_scalar_struct`).
pub(super) fn is_scalar_struct(btf: &Btf, ty: Option<Type<'_>>, depth: u32) -> bool {
    let Some(Type::Struct(s) | Type::Union(s)) = ty else { return false };
    s.members().all(|member| match btf.type_by_id(btf.skip_mods_and_typedefs(member.ty)) {
        inner @ Some(Type::Struct(_) | Type::Union(_)) => {
            depth < 3 && is_scalar_struct(btf, inner, depth + 1)
        }
        Some(Type::Array(array)) => {
            array.nelems != 0 && is_scalar(btf.type_by_id(btf.skip_mods_and_typedefs(array.elem)))
        }
        other => is_scalar(other),
    })
}
