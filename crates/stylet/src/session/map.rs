//! Reading maps of either backend.

use crate::Error;
use stylet_object::MapSpec;
use stylet_runtime::map::ops;
use stylet_uapi::MapType;

/// A map of a loaded object.
pub struct MapView<'a> {
    spec: &'a MapSpec,
    source: Box<dyn Source + 'a>,
}

/// A key with its value; per-CPU maps have one value for each CPU (in the user backend CPU slot).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, `key_size` bytes.
    pub key: Vec<u8>,
    /// Values, `value_size` bytes each.
    pub values: Vec<Vec<u8>>,
}

/// Where a map's contents come from.
pub(crate) trait Source {
    /// The value of a key as the backend keeps it: for per-CPU maps the values of all CPUs, each rounded up to 8 bytes.
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// All keys.
    fn keys(&self) -> Result<Vec<Vec<u8>>, Error>;

    /// Updates that found no room, where they are counted.
    fn lost(&self) -> u64;
}

impl<'a> MapView<'a> {
    pub(crate) fn new(spec: &'a MapSpec, source: impl Source + 'a) -> MapView<'a> {
        MapView { spec, source: Box::new(source) }
    }

    /// Its declaration.
    pub fn spec(&self) -> &'a MapSpec {
        self.spec
    }

    /// Updates that found no room, where they are counted: the kernel does not.
    pub fn lost(&self) -> u64 {
        self.source.lost()
    }

    /// Whether it is an array of some kind: every index has a value.
    pub fn is_array(&self) -> bool {
        matches!(self.spec.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY)
    }

    /// Whether its values are kept by CPU.
    pub fn is_percpu(&self) -> bool {
        ops::is_percpu(self.spec.map_type)
    }

    /// The value of a key, `None` if it has none.
    ///
    /// # Errors
    /// The backend's.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        Ok(self.source.lookup(key)?.map(|bytes| self.split(bytes)))
    }

    /// Everything in it. Entries that go away meanwhile are left out.
    ///
    /// # Errors
    /// The backend's.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for key in self.source.keys()? {
            if let Some(values) = self.lookup(&key)? {
                entries.push(Entry { key, values });
            }
        }
        Ok(entries)
    }

    /// Values by CPU are rounded up to 8 bytes; the declared size is what users know.
    fn split(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let size = self.spec.value_size as usize;
        if !self.is_percpu() {
            return vec![bytes];
        }
        let stride = size.next_multiple_of(8).max(8);
        bytes.chunks_exact(stride).map(|copy| copy[..size].to_vec()).collect()
    }
}
