//! Sizes, alignment, and looking through modifiers.

use alloc::collections::BTreeMap;

use crate::types::*;
use crate::{Btf, Error, Fault, limits};

/// Alignment of structs and unions that is known already.
pub(crate) type Aligns = BTreeMap<TypeId, u32>;

impl Btf {
    /// Skips `const`, `volatile`, `restrict` and type tags. Ids that do not exist stay as they are.
    pub fn skip_mods(&self, id: TypeId) -> TypeId {
        self.skip(id, false)
    }

    /// Skips modifiers and typedefs (libbpf's `skip_mods_and_typedefs`).
    pub fn skip_mods_and_typedefs(&self, id: TypeId) -> TypeId {
        self.skip(id, true)
    }

    // Terminates: modifiers and typedefs form no loop.
    fn skip(&self, mut id: TypeId, typedefs: bool) -> TypeId {
        loop {
            match self.type_by_id(id) {
                Some(Type::Typedef(r)) if typedefs => id = r.ty,
                Some(t) => match t.modified() {
                    Some(next) => id = next,
                    None => return id,
                },
                None => return id,
            }
        }
    }

    /// Size in bytes of a value of the type (`btf__resolve_size`). A pointer has
    /// [`Btf::pointer_size`]; a flexible array has 0; `void`, functions and forward
    /// declarations have none.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], or [`Error::Type`] where there is no size or it exceeds 32 bits.
    pub fn resolve_size(&self, id: TypeId) -> Result<u32, Error> {
        let mut at = id;
        let mut nelems: u32 = 1;
        for _ in 0..=2 * limits::MAX_RESOLVE_DEPTH {
            let t = self.get(at)?;
            let fault = |fault| Error::Type { id: at, kind: t.kind(), fault };
            let size = match t {
                Type::Int(i) => i.size,
                Type::Float(f) => f.size,
                Type::Struct(c) | Type::Union(c) => c.size,
                Type::Enum(e) => e.size,
                Type::Enum64(e) => e.size,
                Type::DataSec(d) => d.size,
                Type::Ptr(_) => self.pointer_size(),
                Type::Typedef(r)
                | Type::Const(r)
                | Type::Volatile(r)
                | Type::Restrict(r)
                | Type::TypeTag(r) => {
                    at = r.ty;
                    continue;
                }
                Type::Var(v) => {
                    at = v.ty;
                    continue;
                }
                Type::DeclTag(d) => {
                    at = d.ty;
                    continue;
                }
                Type::Array(a) => {
                    nelems = nelems.checked_mul(a.nelems).ok_or_else(|| fault(Fault::Overflow))?;
                    at = a.elem;
                    continue;
                }
                Type::Void | Type::Fwd(_) | Type::Func(_) | Type::FuncProto(_) => {
                    return Err(fault(Fault::NoSize));
                }
            };
            return nelems.checked_mul(size).ok_or_else(|| fault(Fault::Overflow));
        }
        let kind = self.get(id)?.kind();
        Err(Error::Type { id, kind, fault: Fault::Depth { depth: limits::MAX_RESOLVE_DEPTH } })
    }

    /// Alignment in bytes of a value of the type (`btf__align_of`): 1 for a packed struct.
    ///
    /// # Errors
    /// [`Error::NoSuchType`], or [`Error::Type`] for types that have none.
    pub fn align_of(&self, id: TypeId) -> Result<u32, Error> {
        self.align(id, &mut BTreeMap::new())
    }

    /// `seen` has the structs that are known: without it, a hostile tree of structs takes exponential time.
    pub(crate) fn align(&self, id: TypeId, seen: &mut Aligns) -> Result<u32, Error> {
        let target = self.skip_mods_and_typedefs(id);
        let t = self.get(target)?;
        let natural = |size: u32| size.min(self.pointer_size()).max(1);
        Ok(match t {
            Type::Int(i) => natural(i.size),
            Type::Float(f) => natural(f.size),
            Type::Enum(e) => natural(e.size),
            Type::Enum64(e) => natural(e.size),
            Type::Ptr(_) => self.pointer_size(),
            Type::Array(a) => self.align(a.elem, seen)?,
            Type::Var(v) => self.align(v.ty, seen)?,
            Type::Struct(c) | Type::Union(c) => match seen.get(&target) {
                Some(&align) => align,
                None => {
                    let align = self.composite_align(c, seen)?;
                    seen.insert(target, align);
                    align
                }
            },
            _ => return Err(Error::Type { id: target, kind: t.kind(), fault: Fault::NoSize }),
        })
    }

    /// A struct is packed when its size or a member's offset is not what its members' alignment asks for.
    fn composite_align(&self, c: Composite<'_>, seen: &mut Aligns) -> Result<u32, Error> {
        let mut max = 1;
        for m in c.members() {
            let align = self.align(m.ty, seen)?;
            max = max.max(align);
            if m.bitfield_size == 0 && m.bit_offset % (8 * align) != 0 {
                return Ok(1);
            }
        }
        Ok(if c.size.is_multiple_of(max) { max } else { 1 })
    }
}
