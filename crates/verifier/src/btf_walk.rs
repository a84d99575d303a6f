//! What lies at an offset of a structure (`btf_struct_access`, `btf_struct_walk`, kernel/bpf/btf.c).

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use stylet_btf::{Btf, Composite, Kind as BtfKind, Member, Type, TypeId};
use stylet_uapi::errno;

use crate::kind::RejectionKind as Kind;
use crate::regs::RegFlags;
use crate::rejection::{Reject, Res};

/// What an access of a structure's field gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<'a> {
    /// A number.
    Scalar,
    /// A pointer to the structure `id`, from the member `field`; `flags` are those of its type tags, and untrusted when the
    /// way led through a union.
    Object { id: TypeId, flags: RegFlags, field: &'a str },
    /// A pointer to anything else.
    OtherPointer,
}

/// Where one step ended.
enum Step<'a> {
    Done(Found<'a>),
    /// At the start of a nested structure.
    Nested(TypeId),
}

/// A walk through the structures of one BTF.
struct Walk<'a> {
    btf: &'a Btf,
    size: i64,
    /// The way led through a union of several members.
    untrusted: bool,
    /// A flexible array at the end may be walked.
    flex: bool,
}

/// Structures nest less deep than this in any BTF; it bounds the walk through one that nests in itself.
const MAX_STEPS: u32 = 256;

/// What `size` bytes at `off` of the structure `id` are. Flexible arrays are left out where `alloc` is set: objects of the
/// program's own types have none.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn struct_access(
    btf: &Btf,
    id: TypeId,
    off: i64,
    size: u32,
    alloc: bool,
) -> Res<Found<'_>> {
    let mut walk = Walk { btf, size: size.into(), untrusted: false, flex: !alloc };
    let (mut id, mut off) = (id, off);
    for _ in 0..MAX_STEPS {
        match walk.step(id, off)? {
            Step::Done(found) => return Ok(found),
            Step::Nested(inner) => (id, off) = (inner, 0),
        }
    }
    Err(Reject::bug("structures nest without end"))
}

/// Whether an object of type `id` has one of type `want` at `off`: it is one, or begins with one, or one of its members does.
/// `strict` allows the first only (`btf_struct_ids_match`).
///
/// # Errors
/// There is none; with what the walk ran into, if it did.
pub(crate) fn ids_match(
    btf: &Btf,
    id: TypeId,
    off: i64,
    want: TypeId,
    strict: bool,
) -> Result<(), Option<Box<Reject>>> {
    if off == 0 && id == want {
        return Ok(());
    }
    if strict {
        return Err(None);
    }
    let mut walk = Walk { btf, size: 1, untrusted: false, flex: true };
    let (mut id, mut off) = (id, off);
    for _ in 0..MAX_STEPS {
        match walk.step(id, off)? {
            Step::Nested(inner) if inner == want => return Ok(()),
            Step::Nested(inner) => (id, off) = (inner, 0),
            Step::Done(_) => return Err(None),
        }
    }
    Err(None)
}

/// Name of a type or member; the kernel's word for none.
pub(crate) fn name_of(btf: &Btf, name_off: u32) -> &str {
    match btf.name(name_off) {
        "" => "(anon)",
        name => name,
    }
}

/// A member's type: what an array's elements are, and how many bytes one of them and all of them are
/// (`__btf_resolve_size`).
struct Sized<'a> {
    elem: Type<'a>,
    /// As an array names it, otherwise without modifiers.
    elem_id: TypeId,
    elem_size: i64,
    size: i64,
    is_array: bool,
}

impl<'a> Walk<'a> {
    /// One structure, and those within it in which the access begins past their start.
    fn step(&mut self, id: TypeId, off: i64) -> Res<Step<'a>> {
        let (mut id, mut off) = (self.btf.skip_mods_and_typedefs(id), off);
        for _ in 0..MAX_STEPS {
            let ty = self.btf.type_by_id(id);
            let name = ty.map_or("", |t| name_of(self.btf, t.name_off()));
            let Some(s) = ty.and_then(|t| t.composite()) else {
                return Err(Reject::inval(Kind::NotAStruct { name: name.to_string() }));
            };
            if self.btf.kind(id) == Some(BtfKind::Union) && s.len() != 1 {
                self.untrusted = true;
            }
            if off + self.size > i64::from(s.size) {
                match self.flexible_array(&s, name, off)? {
                    None => return Ok(Step::Done(Found::Scalar)),
                    Some(next) => (id, off) = next,
                }
                continue;
            }
            match self.member_at(&s, name, off)? {
                Place::Done(found) => return Ok(Step::Done(found)),
                Place::Start(inner) => return Ok(Step::Nested(inner)),
                Place::Inside(inner, at) => {
                    (id, off) = (self.btf.skip_mods_and_typedefs(inner), at)
                }
            }
        }
        Err(Reject::bug("structures nest without end"))
    }

    /// The access is behind the structure's end: within a flexible array of numbers, or at an offset of one of the array's
    /// structures.
    fn flexible_array(
        &self,
        s: &Composite<'a>,
        name: &str,
        off: i64,
    ) -> Res<Option<(TypeId, i64)>> {
        let beyond = || {
            let (struct_name, size) = (name.to_string(), self.size as u32);
            Reject::acces(Kind::BeyondStruct { struct_name, off, size })
        };
        let last = s.len().checked_sub(1).and_then(|n| s.member(n)).filter(|_| self.flex);
        let last = last.ok_or_else(beyond)?;
        let ty = self.btf.type_by_id(self.btf.skip_mods_and_typedefs(last.ty));
        let Some(Type::Array(array)) = ty.filter(|t| matches!(t, Type::Array(a) if a.nelems == 0))
        else {
            return Err(beyond());
        };
        let start = i64::from(last.bit_offset / 8);
        if off < start {
            return Err(beyond());
        }
        let id = self.btf.skip_mods_and_typedefs(array.elem);
        match self.btf.type_by_id(id) {
            Some(Type::Int(_)) => Ok(None),
            Some(Type::Struct(elem) | Type::Union(elem)) if elem.size != 0 => {
                Ok(Some((id, (off - start) % i64::from(elem.size))))
            }
            _ => Err(beyond()),
        }
    }

    fn member_at(&self, s: &Composite<'a>, name: &str, off: i64) -> Res<Place<'a>> {
        for member in s.members() {
            let start = i64::from(member.bit_offset / 8);
            if off + self.size <= start {
                break;
            }
            if member.bitfield_size != 0 {
                let end_bit = u64::from(member.bit_offset) + u64::from(member.bitfield_size);
                let end = end_bit.div_ceil(8) as i64;
                if off <= start && end <= off + self.size {
                    return Ok(Place::Done(Found::Scalar));
                }
                continue;
            }
            if off < start {
                break;
            }
            let sized = self.sized(member.ty).ok_or_else(|| {
                let field = name_of(self.btf, member.name_off).to_string();
                Reject::new(errno::EFAULT, Kind::FieldWithoutSize { field })
            })?;
            if off >= start + sized.size {
                continue;
            }
            return self.within_member(&member, &sized, start, name, off);
        }
        Err(Reject::inval(Kind::NoSuchField { struct_name: name.to_string(), off }))
    }

    /// The access begins in this member.
    fn within_member(
        &self,
        member: &Member,
        sized: &Sized<'a>,
        start: i64,
        struct_name: &str,
        off: i64,
    ) -> Res<Place<'a>> {
        let end = start + sized.size;
        let at = match sized.is_array && sized.elem_size != 0 {
            true => start + (off - start) / sized.elem_size * sized.elem_size,
            false => start,
        };
        let texts = || (name_of(self.btf, member.name_off).into(), struct_name.into());
        match sized.elem {
            Type::Struct(_) | Type::Union(_) if off == at => Ok(Place::Start(sized.elem_id)),
            Type::Struct(_) | Type::Union(_) => Ok(Place::Inside(sized.elem_id, off - at)),
            Type::Ptr(ptr) => {
                if sized.elem_size != self.size || off != at {
                    let (field, struct_name) = texts();
                    let size = self.size as u32;
                    let off = off as i32;
                    let kind = Kind::PartOfPointer { field, at, struct_name, off, size };
                    return Err(Reject::acces(kind));
                }
                let id = self.btf.skip_mods_and_typedefs(ptr.ty);
                let object = matches!(self.btf.kind(id), Some(BtfKind::Struct | BtfKind::Union));
                Ok(Place::Done(match object && id != 0 {
                    true => Found::Object {
                        id,
                        flags: self.pointer_flags(ptr.ty),
                        field: self.btf.name(member.name_off),
                    },
                    false => Found::OtherPointer,
                }))
            }
            // An array of numbers may be used as a piece of memory.
            _ if off + self.size > end && !self.untrusted => {
                let (field, struct_name) = texts();
                let (size, off) = (self.size as u32, off as i32);
                Err(Reject::acces(Kind::BeyondMember { field, end, struct_name, off, size }))
            }
            _ => Ok(Place::Done(Found::Scalar)),
        }
    }

    /// What a pointer's first type tag and the way to it say.
    fn pointer_flags(&self, target: TypeId) -> RegFlags {
        let flags = tag_flags(self.btf, target, true);
        if self.untrusted { flags.with(RegFlags::UNTRUSTED) } else { flags }
    }

    fn sized(&self, ty: TypeId) -> Option<Sized<'a>> {
        let (mut id, mut count, mut array_elem) = (self.btf.skip_mods_and_typedefs(ty), 1i64, None);
        while let Some(Type::Array(array)) = self.btf.type_by_id(id) {
            count = count.checked_mul(array.nelems.into())?;
            array_elem = Some(array.elem);
            id = self.btf.skip_mods_and_typedefs(array.elem);
        }
        let elem = self.btf.type_by_id(id)?;
        let elem_size = match elem {
            Type::Ptr(_) => 8,
            _ => i64::from(self.btf.resolve_size(id).ok()?),
        };
        Some(Sized {
            elem,
            elem_id: array_elem.unwrap_or(id),
            elem_size,
            size: elem_size.checked_mul(count)?,
            is_array: array_elem.is_some(),
        })
    }
}

/// Where in a structure an access begins.
enum Place<'a> {
    Done(Found<'a>),
    /// At the start of a nested structure.
    Start(TypeId),
    /// In a nested structure, past its start.
    Inside(TypeId, i64),
}

/// What the type tag right behind a pointer says of it: user memory, per-CPU memory, and RCU when `rcu` is set.
pub(crate) fn tag_flags(btf: &Btf, target: TypeId, rcu: bool) -> RegFlags {
    let Some(Type::TypeTag(tag)) = btf.type_by_id(target).filter(|_| target != 0) else {
        return RegFlags::NONE;
    };
    match btf.name(tag.name_off) {
        _ if tag.kind_flag => RegFlags::NONE,
        "user" => RegFlags::USER,
        "percpu" => RegFlags::PERCPU,
        "rcu" if rcu => RegFlags::RCU,
        _ => RegFlags::NONE,
    }
}

/// Whether the field of an object of type `object`, which points to `target`, is as trustworthy as the object: the kernel
/// lists such fields in structures named after the object's, with a suffix (`btf_nested_type_is_trusted`).
pub(crate) fn is_listed_field(
    btf: &Btf,
    object: TypeId,
    field: &str,
    target: TypeId,
    suffix: &str,
) -> bool {
    let Some(kind) = btf.kind(object) else { return false };
    let name: String = [btf.type_name(object), suffix].concat();
    let list = btf.find_by_name_kind(&name, kind).and_then(|id| btf.type_by_id(id));
    list.and_then(|t| t.composite()).is_some_and(|list| {
        list.members().any(|m| match btf.type_by_id(m.ty) {
            Some(Type::Ptr(ptr)) => {
                btf.name(m.name_off) == field && btf.skip_mods_and_typedefs(ptr.ty) == target
            }
            _ => false,
        })
    })
}
