//! Reading maps from outside.

use super::Session;
use crate::Error;
use stylet_object::MapSpec;
use stylet_runtime::host::HostMap;
use stylet_runtime::map::ops;
use stylet_uapi::MapType;

/// A map of a loaded object.
#[derive(Clone, Copy)]
pub struct MapView<'a> {
    spec: &'a MapSpec,
    map: HostMap<'a>,
}

/// A key with its value; per-CPU maps have one value for each CPU slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, `key_size` bytes.
    pub key: Vec<u8>,
    /// Values, `value_size` bytes each.
    pub values: Vec<Vec<u8>>,
}

impl Session {
    /// Map `map` (index into `Spec::maps`) of object `object`; `None` if there is none.
    pub fn map(&self, object: usize, map: usize) -> Option<MapView<'_>> {
        let loaded = self.objects.get(object)?;
        let spec = loaded.object.spec.maps.get(map)?;
        let map = self.arena.map(*loaded.maps.get(map)?).ok()?;
        Some(MapView { spec, map })
    }
}

impl<'a> MapView<'a> {
    /// Its declaration.
    pub fn spec(&self) -> &'a MapSpec {
        self.spec
    }

    /// Updates that found no room.
    pub fn lost(&self) -> u64 {
        self.map.lost()
    }

    /// Whether it is an array of some kind: every index has a value.
    pub fn is_array(&self) -> bool {
        matches!(self.spec.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY)
    }

    /// Whether its values are kept by CPU slot.
    pub fn is_percpu(&self) -> bool {
        ops::is_percpu(self.spec.map_type)
    }

    /// The value of a key, `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        use stylet_runtime::host::Error as HostError;
        match self.map.lookup(key) {
            Ok(bytes) => Ok(Some(self.split(&bytes))),
            Err(HostError::Map { errno: stylet_uapi::errno::ENOENT }) => Ok(None),
            Err(source) => {
                Err(Error::Runtime { what: format!("map '{}'", self.spec.name), source })
            }
        }
    }

    /// Everything in it. Entries that go away meanwhile are left out.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let fail = |source| Error::Runtime { what: format!("map '{}'", self.spec.name), source };
        let mut entries = Vec::new();
        for key in self.map.keys().map_err(fail)? {
            if let Some(values) = self.lookup(&key)? {
                entries.push(Entry { key, values });
            }
        }
        Ok(entries)
    }

    /// Runtime values are rounded up to 8 bytes for each CPU slot; the declared size is what users know.
    fn split(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let size = self.spec.value_size as usize;
        if !self.is_percpu() {
            return vec![bytes.to_vec()];
        }
        let stride = size.next_multiple_of(8).max(8);
        bytes.chunks_exact(stride).map(|copy| copy[..size].to_vec()).collect()
    }
}
