//! The path of a relocation: from its access string, and as text.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::ext::{CoreRelo, ReloKind};
use crate::types::*;
use crate::{Btf, ReloFault, limits};

/// One meaningful step: a named member, or an array element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accessor {
    /// The struct of a member; the type of an array's element.
    pub type_id: TypeId,
    /// Which member, or which element.
    pub idx: u32,
    /// Name of the member or enumerator; `None` for array elements.
    pub name_off: Option<u32>,
}

/// A path through types (`struct bpf_core_spec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub kind: ReloKind,
    pub root: TypeId,
    /// Steps that have meaning: anonymous members are left out.
    pub accessors: Vec<Accessor>,
    /// All steps.
    pub raw: Vec<u32>,
    pub bit_offset: u32,
}

impl ReloKind {
    pub(super) const fn is_field_based(self) -> bool {
        use ReloKind::*;
        matches!(
            self,
            FieldByteOffset
                | FieldByteSize
                | FieldExists
                | FieldSigned
                | FieldLshiftU64
                | FieldRshiftU64
        )
    }

    pub(super) const fn is_type_based(self) -> bool {
        use ReloKind::*;
        matches!(self, TypeIdLocal | TypeIdTarget | TypeExists | TypeSize | TypeMatches)
    }

    pub(super) const fn is_enumval_based(self) -> bool {
        matches!(self, ReloKind::EnumvalExists | ReloKind::EnumvalValue)
    }
}

impl Spec {
    pub(super) fn new(kind: ReloKind, root: TypeId) -> Spec {
        Spec { kind, root, accessors: Vec::new(), raw: Vec::new(), bit_offset: 0 }
    }

    /// Follows the access string through the local types (`bpf_core_parse_spec`).
    pub(super) fn parse(btf: &Btf, relo: &CoreRelo) -> Result<Spec, ReloFault> {
        let text = btf.str(relo.access_str_off).unwrap_or("");
        let bad = || ReloFault::BadSpec { spec: text.into() };
        let mut spec = Spec::new(relo.kind, relo.type_id);
        if relo.kind.is_type_based() {
            return if text == "0" { Ok(spec) } else { Err(bad()) };
        }
        for part in text.split(':') {
            let idx = part.parse::<i32>().ok().and_then(|idx| u32::try_from(idx).ok());
            spec.raw.push(idx.ok_or_else(bad)?);
        }
        if spec.raw.len() > limits::BPF_CORE_SPEC_MAX_LEN {
            return Err(bad());
        }
        let id = btf.skip_mods_and_typedefs(relo.type_id);
        let idx = spec.raw[0];
        if relo.kind.is_enumval_based() {
            let name_off = enumerator(btf, id, idx).ok_or_else(bad)?.name_off;
            if spec.raw.len() > 1 {
                return Err(bad());
            }
            spec.accessors.push(Accessor { type_id: id, idx, name_off: Some(name_off) });
            return Ok(spec);
        }
        if !relo.kind.is_field_based() {
            return Err(ReloFault::UnknownKind);
        }
        spec.accessors.push(Accessor { type_id: id, idx, name_off: None });
        spec.advance(btf, id, idx)?;
        spec.follow(btf, id)?;
        Ok(spec)
    }

    /// Adds `idx` elements of type `id` to the offset.
    pub(super) fn advance(&mut self, btf: &Btf, id: TypeId, idx: u32) -> Result<(), ReloFault> {
        let size = btf.resolve_size(id).map_err(|_| ReloFault::BadField { type_id: id })?;
        let bits = u64::from(idx) * u64::from(size) * 8 + u64::from(self.bit_offset);
        self.bit_offset = u32::try_from(bits).map_err(|_| ReloFault::BadField { type_id: id })?;
        Ok(())
    }

    /// Follows the indices behind the first, from type `id`.
    fn follow(&mut self, btf: &Btf, mut id: TypeId) -> Result<(), ReloFault> {
        for i in 1..self.raw.len() {
            id = btf.skip_mods_and_typedefs(id);
            let idx = self.raw[i];
            let t = btf.type_by_id(id).ok_or(ReloFault::BadType { type_id: id })?;
            let bad = ReloFault::BadIndex { type_id: id, idx };
            match t {
                Type::Struct(c) | Type::Union(c) => {
                    let m = c.member(idx as usize).ok_or_else(|| bad.clone())?;
                    self.bit_offset = self.bit_offset.checked_add(m.bit_offset).ok_or(bad)?;
                    if m.name_off != 0 {
                        let name_off = Some(m.name_off);
                        self.accessors.push(Accessor { type_id: id, idx, name_off });
                    }
                    id = m.ty;
                }
                Type::Array(a) => {
                    if !self.is_flex_array(btf, &a) && idx >= a.nelems {
                        return Err(bad);
                    }
                    id = btf.skip_mods_and_typedefs(a.elem);
                    self.accessors.push(Accessor { type_id: id, idx, name_off: None });
                    self.advance(btf, id, idx)?;
                }
                _ => return Err(ReloFault::NotComposite { type_id: id, kind: t.kind() }),
            }
        }
        Ok(())
    }

    /// Whether an array that comes next is the flexible one at the end of its struct.
    pub(super) fn is_flex_array(&self, btf: &Btf, array: &Array) -> bool {
        let Some(Accessor { type_id, idx, name_off: Some(_) }) = self.accessors.last() else {
            return false;
        };
        let composite = btf.type_by_id(*type_id).and_then(|t| t.composite());
        array.nelems == 0 && composite.is_some_and(|c| *idx as usize + 1 == c.len())
    }

    /// The text that libbpf prints (`bpf_core_format_spec`).
    pub(super) fn to_text(&self, btf: &Btf) -> String {
        let mut text = root_text(btf, self.kind, self.root);
        if self.kind.is_enumval_based() {
            text.push_str(&self.enumval_text(btf));
        } else if self.kind.is_field_based() {
            text.push_str(&self.field_text(btf));
        }
        text
    }

    fn enumval_text(&self, btf: &Btf) -> String {
        let id = btf.skip_mods_and_typedefs(self.root);
        let found = self.raw.first().and_then(|&idx| enumerator(btf, id, idx));
        let Some(v) = found else { return String::new() };
        let unsigned = matches!(btf.type_by_id(id), Some(Type::Enum64(e)) if !e.signed);
        let name = btf.name(v.name_off);
        if unsigned {
            format!("::{name} = {}", v.value.cast_unsigned())
        } else {
            format!("::{name} = {}", v.value)
        }
    }

    fn field_text(&self, btf: &Btf) -> String {
        let mut text = String::new();
        for (i, acc) in self.accessors.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = match acc.name_off {
                Some(name_off) => write!(text, ".{}", btf.name(name_off)),
                None if i > 0 || acc.idx > 0 => write!(text, "[{}]", acc.idx),
                None => Ok(()),
            };
        }
        text.push_str(" (");
        for (i, idx) in self.raw.iter().enumerate() {
            let _ = write!(text, "{}{idx}", if i == 0 { "" } else { ":" });
        }
        let (byte, bit) = (self.bit_offset / 8, self.bit_offset % 8);
        let _ = match bit {
            0 => write!(text, " @ offset {byte})"),
            _ => write!(text, " @ offset {byte}.{bit})"),
        };
        text
    }
}

/// `<byte_off> [12] struct task_struct`.
fn root_text(btf: &Btf, kind: ReloKind, root: TypeId) -> String {
    let name = match btf.type_name(root) {
        "" => "<anon>",
        name => name,
    };
    let type_kind = btf.kind(root).unwrap_or(Kind::Void);
    format!("<{}> [{root}] {type_kind} {name}", kind.name())
}

/// Text of a relocation that may be broken.
pub(super) fn describe(btf: &Btf, relo: &CoreRelo) -> String {
    match Spec::parse(btf, relo) {
        Ok(spec) => spec.to_text(btf),
        Err(_) => {
            let access = btf.str(relo.access_str_off).unwrap_or("<?>");
            format!("{} + {access}", root_text(btf, relo.kind, relo.type_id))
        }
    }
}

/// An enumerator by position, of either enum kind.
pub(super) fn enumerator(btf: &Btf, id: TypeId, idx: u32) -> Option<Enumerator> {
    enumerators(btf, id).nth(idx as usize)
}

/// The enumerators of either enum kind; none for other types.
pub(super) fn enumerators(btf: &Btf, id: TypeId) -> impl Iterator<Item = Enumerator> + '_ {
    let (small, large) = match btf.type_by_id(id) {
        Some(Type::Enum(e)) => (Some(e.values()), None),
        Some(Type::Enum64(e)) => (None, Some(e.values())),
        _ => (None, None),
    };
    small.into_iter().flatten().chain(large.into_iter().flatten())
}
