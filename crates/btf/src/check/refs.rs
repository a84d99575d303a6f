//! What a type may refer to (`btf_check_all_types` and the `resolve` operations).

use super::member;
use super::meta::ensure;
use super::names::is_identifier;
use crate::types::*;
use crate::{Btf, Fault, limits};

/// Checks what one type refers to.
pub(super) fn check<'a>(btf: &'a Btf, id: TypeId, t: &Type<'a>) -> Result<(), Fault> {
    match *t {
        Type::Ptr(r) => refers(btf, id, r.ty),
        Type::Typedef(r)
        | Type::Volatile(r)
        | Type::Const(r)
        | Type::Restrict(r)
        | Type::TypeTag(r) => {
            refers(btf, id, r.ty)?;
            tag_order(btf, *t)
        }
        Type::Array(a) => array(btf, &a),
        Type::Struct(c) | Type::Union(c) => members(btf, c),
        Type::FuncProto(p) => prototype(btf, p),
        Type::Func(f) => function(btf, &f),
        Type::Var(v) => {
            ensure(!is_source_only(btf, v.ty), Fault::TypeId { type_id: v.ty })?;
            ensure(is_sized(btf, v.ty), Fault::TypeId { type_id: v.ty })
        }
        Type::DataSec(d) => datasec(btf, d),
        Type::DeclTag(d) => decl_tag(btf, &d),
        Type::Void
        | Type::Int(_)
        | Type::Float(_)
        | Type::Fwd(_)
        | Type::Enum(_)
        | Type::Enum64(_) => Ok(()),
    }
}

/// Kinds that nothing may refer to but a section or a tag (`btf_type_is_resolve_source_only`).
fn is_source_only(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.kind(id), None | Some(Kind::Var | Kind::DeclTag | Kind::DataSec))
}

/// Whether values of the type have a size (`btf_type_id_size`).
fn is_sized(btf: &Btf, id: TypeId) -> bool {
    use Kind::*;
    let id = btf.skip_mods_and_typedefs(id);
    matches!(btf.kind(id), Some(Int | Ptr | Array | Struct | Union | Enum | Enum64 | Float))
}

/// Pointers and modifiers take types without a size as well: also functions, but only those the kernel
/// has seen before it comes to `id`.
fn refers(btf: &Btf, id: TypeId, to: TypeId) -> Result<(), Fault> {
    let fault = Fault::TypeId { type_id: to };
    ensure(!is_source_only(btf, to), fault)?;
    let target = btf.skip_mods_and_typedefs(to);
    let sizeless = match btf.kind(target) {
        Some(Kind::Void | Kind::Fwd | Kind::FuncProto) => true,
        Some(Kind::Func) => target < id,
        _ => false,
    };
    ensure(is_sized(btf, to) || sizeless, fault)
}

/// From each modifier on type tags come first, then other modifiers (`btf_check_type_tags`).
fn tag_order<'a>(btf: &'a Btf, mut t: Type<'a>) -> Result<(), Fault> {
    let mut in_tags = true;
    for _ in 0..limits::MAX_RESOLVE_DEPTH {
        let next = match t {
            Type::TypeTag(r) => {
                ensure(in_tags, Fault::TagOrder)?;
                r.ty
            }
            Type::Typedef(r) | Type::Const(r) | Type::Volatile(r) | Type::Restrict(r) => {
                in_tags = false;
                r.ty
            }
            _ => return Ok(()),
        };
        t = btf.type_by_id(next).unwrap_or(Type::Void);
    }
    let too_long = t.kind().is_mod() || t.kind() == Kind::Typedef;
    ensure(!too_long, Fault::Depth { depth: limits::MAX_RESOLVE_DEPTH })
}

/// An integer of whole bytes, 1, 2, 4, 8 or 16 of them (`btf_type_int_is_regular`).
pub(super) fn is_regular(i: &Int) -> bool {
    let bits = u32::from(i.bits);
    i.offset == 0 && matches!(bits, 8 | 16 | 32 | 64 | 128)
}

fn array(btf: &Btf, a: &Array) -> Result<(), Fault> {
    let index = btf.type_by_id(btf.skip_mods_and_typedefs(a.index));
    let regular = matches!(index, Some(Type::Int(i)) if is_regular(&i));
    let fault = Fault::Index { type_id: a.index };
    ensure(!is_source_only(btf, a.index) && regular, fault)?;
    let fault = Fault::Elem { type_id: a.elem };
    ensure(!is_source_only(btf, a.elem) && is_sized(btf, a.elem), fault)?;
    let elem = btf.type_by_id(btf.skip_mods_and_typedefs(a.elem));
    let irregular = matches!(elem, Some(Type::Int(i)) if !is_regular(&i));
    ensure(!irregular, fault)?;
    let size = btf.resolve_size(a.elem).map_err(|_| Fault::Overflow)?;
    ensure(size.checked_mul(a.nelems).is_some(), Fault::Overflow)
}

fn members(btf: &Btf, c: Composite<'_>) -> Result<(), Fault> {
    for (member, m) in (0..).zip(c.members()) {
        let fault = Fault::MemberType { member, type_id: m.ty };
        ensure(!is_source_only(btf, m.ty) && is_sized(btf, m.ty), fault)?;
        member::check(btf, c, member, &m)?;
    }
    Ok(())
}

fn prototype(btf: &Btf, p: FuncProto<'_>) -> Result<(), Fault> {
    let ret = p.ret == 0 || (!is_source_only(btf, p.ret) && is_sized(btf, p.ret));
    ensure(ret, Fault::TypeId { type_id: p.ret })?;
    for (arg, param) in (0..).zip(p.params()) {
        let fault = Fault::Arg { arg };
        if param.ty == 0 {
            // `...`
            let last = arg as usize + 1 == p.len();
            ensure(last && param.name_off == 0, fault)?;
            continue;
        }
        let named = param.name_off == 0 || is_identifier(btf, param.name_off);
        ensure(named, fault)?;
        ensure(!is_source_only(btf, param.ty) && is_sized(btf, param.ty), fault)?;
    }
    Ok(())
}

/// A function has a prototype whose parameters all have names.
fn function(btf: &Btf, f: &Func) -> Result<(), Fault> {
    let Some(Type::FuncProto(p)) = btf.type_by_id(f.ty) else {
        return Err(Fault::TypeId { type_id: f.ty });
    };
    for (arg, param) in (0..).zip(p.params()) {
        ensure(param.name_off != 0 || param.ty == 0, Fault::Arg { arg })?;
    }
    Ok(())
}

fn datasec(btf: &Btf, d: DataSec<'_>) -> Result<(), Fault> {
    for (var, v) in (0..).zip(d.vars()) {
        let Some(Type::Var(_)) = btf.type_by_id(v.ty) else {
            return Err(Fault::SecVar { var });
        };
        let size = btf.resolve_size(v.ty).map_err(|_| Fault::SecVar { var })?;
        ensure(v.size >= size, Fault::SecSize { var })?;
    }
    Ok(())
}

/// A tag stands on a struct, union, function, variable or typedef, or on a member or parameter.
fn decl_tag(btf: &Btf, d: &DeclTag) -> Result<(), Fault> {
    let (parts, ok) = match btf.type_by_id(d.ty) {
        Some(Type::Struct(c) | Type::Union(c)) => (c.len(), true),
        Some(Type::Func(f)) => match btf.type_by_id(f.ty) {
            Some(Type::FuncProto(p)) => (p.len(), true),
            _ => (0, false),
        },
        Some(Type::Var(_) | Type::Typedef(_)) => (0, true),
        _ => (0, false),
    };
    ensure(ok, Fault::TypeId { type_id: d.ty })?;
    let component = d.component.filter(|&index| index as usize >= parts);
    component.map_or(Ok(()), |index| Err(Fault::Component { index: index.cast_signed() }))
}
