//! Global variables of an object: where they lie.

use stylet_btf::Type;

use super::Spec;

/// Where a global variable lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global {
    /// Index of its data section in [`Spec::maps`].
    pub map_idx: usize,
    /// Byte offset in that map's only value.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// Its BTF_KIND_VAR in [`Spec::btf`].
    pub type_id: u32,
}

impl Spec {
    /// The global variable of that name, `None` when the object's BTF has none in a data section.
    pub fn global(&self, name: &str) -> Option<Global> {
        let btf = self.btf.as_ref()?;
        let internal = self.maps.iter().enumerate().filter(|(_, map)| map.kind.is_internal());
        for (map_idx, map) in internal {
            let Some(Type::DataSec(section)) = btf.type_by_id(map.btf_value_type_id) else {
                continue;
            };
            for place in section.vars() {
                if let Some(Type::Var(var)) = btf.type_by_id(place.ty)
                    && btf.name(var.name_off) == name
                {
                    let (offset, size) = (place.offset as usize, place.size as usize);
                    return Some(Global { map_idx, offset, size, type_id: place.ty });
                }
            }
        }
        None
    }

    /// Gives a global variable its initial value: its bytes, or more, of which it takes as many as it has. `false` when
    /// there is no such variable or it has more bytes.
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> bool {
        let Some(global) = self.global(name) else { return false };
        let contents = &mut self.maps[global.map_idx].contents;
        match (
            contents.get_mut(global.offset..global.offset + global.size),
            value.get(..global.size),
        ) {
            (Some(place), Some(value)) => {
                place.copy_from_slice(value);
                true
            }
            _ => false,
        }
    }
}
