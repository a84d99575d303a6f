//! Global variables of a loaded object.

use stylet_object::Global;

use super::Loaded;
use crate::{Error, Map};

impl Loaded {
    /// The bytes of a global variable, as the kernel has them now.
    ///
    /// # Errors
    /// [`Error::NoGlobal`] when the object has no such variable; [`Error::MapUse`] or [`Error::Sys`] when it cannot be read.
    pub fn read_global(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (map, global) = self.global(name)?;
        let value = map.lookup(&0_u32.to_ne_bytes(), 0)?.unwrap_or_default();
        let bytes = value.get(global.offset..global.offset + global.size);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::NoGlobal { name: name.into() })
    }

    /// Changes a global variable of `.data` or `.bss`. Variables beside it that a program changes meanwhile are set back to
    /// what they were a moment before: the kernel writes the whole section.
    ///
    /// # Errors
    /// As for [`read_global`](Loaded::read_global); [`Error::MapUse`] for constants; [`Error::TooLarge`] for a value of
    /// another size.
    pub fn write_global(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (map, global) = self.global(name)?;
        if bytes.len() != global.size {
            let what = format!("the value for variable '{name}'");
            return Err(Error::TooLarge { what, len: bytes.len(), limit: global.size });
        }
        let key = 0_u32.to_ne_bytes();
        let mut value = map.lookup(&key, 0)?.unwrap_or_default();
        let place = value.get_mut(global.offset..global.offset + global.size);
        place.ok_or_else(|| Error::NoGlobal { name: name.into() })?.copy_from_slice(bytes);
        map.update(&key, &value, 0)
    }

    fn global(&self, name: &str) -> Result<(&Map, Global), Error> {
        let found = self
            .spec
            .global(name)
            .and_then(|global| Some((self.maps.get(global.map_idx)?, global)));
        found.ok_or_else(|| Error::NoGlobal { name: name.into() })
    }
}
