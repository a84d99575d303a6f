//! Maps that BTF describes: `SEC(".maps")` (`bpf_object__init_user_btf_maps`, `parse_btf_map_def`).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use stylet_btf::{Btf, Composite, Member, SecVar, Type, TypeId, VarLinkage};
use stylet_uapi::MapType;

use crate::error::{Error, MapFault};
use crate::spec::{MapSpec, Pinning};

/// Bytes of a map's name: many variables may share one string of BTF.
const MAX_NAME: usize = 1024;

/// A map and where its definition lies in `.maps`.
pub(crate) struct BtfMap<'a> {
    pub map: MapSpec,
    pub var: SecVar,
    pub def: Composite<'a>,
}

/// The maps of `.maps`, which has `size` bytes, in the order of its BTF.
pub(crate) fn btf_maps(btf: &Btf, size: u64, relaxed: bool) -> Result<Vec<BtfMap<'_>>, Error> {
    let mut types = btf.types();
    let section = types.find_map(|(_, ty)| match ty {
        Type::DataSec(section) if btf.name(section.name_off) == ".maps" => Some(section),
        _ => None,
    });
    let Some(section) = section else {
        return Err(Error::NoBtf { what: "section", name: ".maps".to_string() });
    };
    section.vars().map(|var| btf_map(btf, var, size, relaxed)).collect()
}

fn btf_map(btf: &Btf, sec_var: SecVar, size: u64, relaxed: bool) -> Result<BtfMap<'_>, Error> {
    let name = btf.type_name(sec_var.ty);
    let fail = |fault| Error::Map { map: name.to_string(), fault };
    let reason = |reason| fail(MapFault::Definition { reason });
    let Some(Type::Var(var)) = btf.type_by_id(sec_var.ty) else {
        return Err(reason("its BTF is not that of a variable"));
    };
    if name.is_empty() {
        return Err(reason("a map without a name"));
    }
    if name.len() > MAX_NAME {
        return Err(Error::Limit {
            what: "bytes of a map's name",
            value: name.len() as u64,
            max: MAX_NAME as u64,
        });
    }
    if u64::from(sec_var.offset) + u64::from(sec_var.size) > size {
        return Err(reason("the definition crosses the section's end"));
    }
    let linkage = match var.linkage {
        VarLinkage::Global => None,
        VarLinkage::Static => Some("static"),
        VarLinkage::Extern => Some("extern"),
        VarLinkage::Unknown(_) => Some("unknown"),
    };
    if let Some(linkage) = linkage {
        return Err(fail(MapFault::Linkage { linkage }));
    }
    let Some(Type::Struct(def)) = btf.type_by_id(btf.skip_mods_and_typedefs(var.ty)) else {
        return Err(reason("the definition is not a struct"));
    };
    if def.size > sec_var.size {
        return Err(reason("the struct is larger than the variable"));
    }
    let mut map =
        MapSpec { name: name.to_string(), section: ".maps".to_string(), ..MapSpec::default() };
    Definition { btf, map: &mut map, relaxed, is_inner: false, sizes: [None; 2] }.parse(def)?;
    Ok(BtfMap { map, var: sec_var, def })
}

/// Index of [`Definition::sizes`].
const KEY: usize = 0;
const VALUE: usize = 1;

/// A definition while it is being read.
struct Definition<'a, 'm> {
    btf: &'a Btf,
    map: &'m mut MapSpec,
    relaxed: bool,
    is_inner: bool,
    /// Sizes of key and value that fields have given so far.
    sizes: [Option<u32>; 2],
}

impl<'a> Definition<'a, '_> {
    fn parse(mut self, def: Composite<'a>) -> Result<(), Error> {
        let count = def.len();
        for (idx, member) in def.members().enumerate() {
            let map = self.map.name.clone();
            self.field(&member, idx + 1 == count).map_err(|fault| match fault {
                Fault::Here(fault) => Error::Map { map, fault },
                Fault::Inner(err) => err,
            })?;
        }
        self.map.key_size = self.sizes[KEY].unwrap_or(0);
        self.map.value_size = self.sizes[VALUE].unwrap_or(0);
        if self.map.map_type == MapType::UNSPEC {
            let fault = MapFault::Definition { reason: "map type isn't specified" };
            return Err(Error::Map { map: self.map.name.clone(), fault });
        }
        Ok(())
    }

    fn field(&mut self, member: &Member, is_last: bool) -> Result<(), Fault> {
        let btf = self.btf;
        let name = btf.name(member.name_off);
        match name {
            "type" => self.map.map_type = MapType(self.uint(member)?),
            "max_entries" => self.map.max_entries = self.uint(member)?,
            "map_flags" => self.map.map_flags = self.uint(member)?,
            "numa_node" => self.map.numa_node = self.uint(member)?,
            "key_size" => {
                let size = self.uint(member)?;
                self.set_size(KEY, size)?;
            }
            "value_size" => {
                let size = self.uint(member)?;
                self.set_size(VALUE, size)?;
            }
            "key" => self.map.btf_key_type_id = self.sized_type(KEY, member)?,
            "value" => self.map.btf_value_type_id = self.sized_type(VALUE, member)?,
            "values" => self.values(member, is_last)?,
            "pinning" if self.is_inner => return definition("an inner map can't be pinned"),
            "pinning" => {
                self.map.pinning = match self.uint(member)? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    value => return Err(Fault::Here(MapFault::Pinning { value })),
                }
            }
            "map_extra" => self.map.map_extra = self.ulong(member)?,
            _ if self.relaxed => {}
            _ => return Err(Fault::Here(MapFault::UnknownField { field: name.to_string() })),
        }
        Ok(())
    }

    /// A number written as `int (*name)[number]` (`__uint`).
    fn uint(&self, member: &Member) -> Result<u32, Fault> {
        let ty =
            self.btf.type_by_id(self.btf.skip_mods_and_typedefs(member.ty)).unwrap_or(Type::Void);
        let Type::Ptr(ptr) = ty else {
            return self.wrong_kind(
                member,
                "a pointer",
                self.btf.skip_mods_and_typedefs(member.ty),
            );
        };
        match self.btf.type_by_id(ptr.ty) {
            Some(Type::Array(array)) => Ok(array.nelems),
            _ => self.wrong_kind(member, "an array", ptr.ty),
        }
    }

    /// A number written as [`Definition::uint`], or as an enum of one value (`__ulong`).
    fn ulong(&self, member: &Member) -> Result<u64, Fault> {
        let id = self.btf.skip_mods_and_typedefs(member.ty);
        let value = match self.btf.type_by_id(id) {
            Some(Type::Ptr(_)) => return self.uint(member).map(u64::from),
            Some(Type::Enum(ty)) if ty.len() == 1 => ty.values().next(),
            Some(Type::Enum64(ty)) if ty.len() == 1 => ty.values().next(),
            Some(Type::Enum(_) | Type::Enum64(_)) => return definition("invalid __ulong"),
            _ => return self.wrong_kind(member, "an enum", id),
        };
        Ok(value.map_or(0, |value| value.value as u64))
    }

    /// The type that a key or value points to, whose size becomes the key's or value's.
    fn sized_type(&mut self, which: usize, member: &Member) -> Result<TypeId, Fault> {
        let Some(Type::Ptr(ptr)) = self.btf.type_by_id(member.ty) else {
            return self.wrong_kind(member, "a pointer", member.ty);
        };
        let field = ["key", "value"][which];
        let size = self.btf.resolve_size(ptr.ty);
        let size = size.map_err(|_| Fault::Here(MapFault::NoSize { field, type_id: ptr.ty }))?;
        self.set_size(which, size)?;
        Ok(ptr.ty)
    }

    fn set_size(&mut self, which: usize, size: u32) -> Result<(), Fault> {
        match self.sizes[which] {
            Some(first) if first != 0 && first != size => Err(Fault::Here(MapFault::Size {
                field: ["key", "value"][which],
                first,
                second: size,
            })),
            _ => {
                self.sizes[which] = Some(size);
                Ok(())
            }
        }
    }

    /// `__array(values, T)`: inner maps or programs.
    fn values(&mut self, member: &Member, is_last: bool) -> Result<(), Fault> {
        let is_prog_array = self.map.map_type == MapType::PROG_ARRAY;
        if self.is_inner {
            return definition("multi-level inner maps not supported");
        }
        if !is_last {
            return definition("'values' member should be last");
        }
        if !is_prog_array && !is_map_in_map(self.map.map_type) {
            return definition("'values' in a map that is neither map-in-map nor prog-array");
        }
        self.set_size(VALUE, 4)?;
        let Some(Type::Array(array)) =
            self.btf.type_by_id(member.ty).filter(|ty| is_empty_array(*ty))
        else {
            return definition("'values' is not a zero-sized array");
        };
        let elem = self.btf.type_by_id(self.btf.skip_mods_and_typedefs(array.elem));
        let Some(Type::Ptr(ptr)) = elem else {
            return self.wrong_kind(member, "a pointer", array.elem);
        };
        let id = self.btf.skip_mods_and_typedefs(ptr.ty);
        match self.btf.type_by_id(id) {
            Some(Type::FuncProto(_)) if is_prog_array => Ok(()),
            Some(Type::Struct(def)) if !is_prog_array => self.inner(def),
            _ if is_prog_array => self.wrong_kind(member, "a function", id),
            _ => self.wrong_kind(member, "a struct", id),
        }
    }

    fn inner(&mut self, def: Composite<'a>) -> Result<(), Fault> {
        let name = format!("{}.inner", self.map.name);
        let mut inner = MapSpec { name, section: ".maps".to_string(), ..MapSpec::default() };
        let definition = Definition {
            btf: self.btf,
            map: &mut inner,
            relaxed: self.relaxed,
            is_inner: true,
            sizes: [None; 2],
        };
        definition.parse(def).map_err(Fault::Inner)?;
        self.map.inner = Some(Box::new(inner));
        Ok(())
    }

    fn wrong_kind<T>(
        &self,
        member: &Member,
        expected: &'static str,
        found: TypeId,
    ) -> Result<T, Fault> {
        let field = self.btf.name(member.name_off).to_string();
        let found = self.btf.kind(found).map_or("nothing", |kind| kind.name());
        Err(Fault::Here(MapFault::FieldKind { field, expected, found }))
    }
}

/// A fault of this definition, or the whole error of the inner map's.
enum Fault {
    Here(MapFault),
    Inner(Error),
}

fn definition<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Here(MapFault::Definition { reason }))
}

fn is_empty_array(ty: Type<'_>) -> bool {
    matches!(ty, Type::Array(array) if array.nelems == 0)
}

/// `bpf_map_type__is_map_in_map`
pub(crate) fn is_map_in_map(map_type: MapType) -> bool {
    matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS)
}
