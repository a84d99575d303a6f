//! Reading maps of the arena.

use super::Session;
use crate::Error;
use crate::session::{MapView, Source};
use stylet_runtime::host::{Error as HostError, HostMap};
use stylet_uapi::errno::ENOENT;

impl Session {
    /// Map `map` (index into `Spec::maps`) of object `object`; `None` if there is none.
    pub fn map(&self, object: usize, map: usize) -> Option<MapView<'_>> {
        let loaded = self.objects.get(object)?;
        let spec = loaded.object.spec.maps.get(map)?;
        let map = self.arena.map(*loaded.maps.get(map)?).ok()?;
        Some(MapView::new(spec, ArenaMap { name: &spec.name, map }))
    }
}

/// A map in the arena.
struct ArenaMap<'a> {
    name: &'a str,
    map: HostMap<'a>,
}

impl ArenaMap<'_> {
    fn fail(&self, source: HostError) -> Error {
        Error::Runtime { what: format!("map '{}'", self.name), source }
    }
}

impl Source for ArenaMap<'_> {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.map.lookup(key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(HostError::Map { errno: ENOENT }) => Ok(None),
            Err(source) => Err(self.fail(source)),
        }
    }

    fn keys(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.map.keys().map_err(|source| self.fail(source))
    }

    fn lost(&self) -> u64 {
        self.map.lost()
    }
}
