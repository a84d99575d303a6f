//! Elements, many at a time: by the kernel's batch commands where it has them for a type, one by one where it has not.

use stylet_uapi::MapType;
use stylet_uapi::errno::ENOTSUPP;

use super::Map;
use crate::Error;
use crate::sys::{Errno, ReadBatch};

/// Elements of one batch, and at least what a bucket may hold: the kernel asks for more by ENOSPC.
const BATCH: u32 = 256;

/// An element: key and value (of all CPUs, for per-CPU maps).
pub type Entry = (Vec<u8>, Vec<u8>);

/// Whether the kernel has no such command (before 5.6), or not for this type.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno(ENOTSUPP | libc::EOPNOTSUPP | libc::EINVAL))
}

impl Map {
    /// All elements; what is inserted or removed meanwhile may be among them or not.
    ///
    /// # Errors
    /// [`Error::MapUse`] for types without keys to walk, or whose values cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        match self.read_all(ReadBatch::Lookup)? {
            Some(entries) => Ok(entries),
            None => self.entries_one_by_one(),
        }
    }

    /// Takes all elements out. One by one, an element that changes between being read and removed loses the change.
    ///
    /// # Errors
    /// As for [`entries`](Map::entries), and [`Error::MapUse`] for types without removal.
    pub fn drain(&self) -> Result<Vec<Entry>, Error> {
        if let Some(entries) = self.read_all(ReadBatch::LookupAndDelete)? {
            return Ok(entries);
        }
        if matches!(self.map_type(), MapType::QUEUE | MapType::STACK) {
            let mut entries = Vec::new();
            while entries.len() < self.max_entries() as usize {
                let Some(value) = self.lookup_and_delete(&[], 0)? else { break };
                entries.push((Vec::new(), value));
            }
            return Ok(entries);
        }
        let mut entries = self.entries_one_by_one()?;
        let mut failure = None;
        entries.retain(|(key, _)| match self.delete(key) {
            Ok(there) => there,
            Err(error) => {
                failure.get_or_insert(error);
                false
            }
        });
        failure.map_or(Ok(entries), Err)
    }

    /// All keys.
    ///
    /// # Errors
    /// [`Error::MapUse`] for types without keys to walk.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut keys = std::collections::BTreeSet::new();
        let mut key = self.next_key(None)?;
        // A walk over a hash begins again when its key was removed: it may repeat keys, but not for ever.
        let mut steps = u64::from(self.max_entries()) * 2 + 16;
        while let Some(found) = key {
            key = self.next_key(Some(&found))?;
            keys.insert(found);
            steps -= 1;
            if steps == 0 {
                break;
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// Writes many elements; returns how many were written, which is less than all only with an error.
    ///
    /// # Errors
    /// As for [`update`](Map::update), with the number of those written before.
    pub fn update_batch(&self, entries: &[Entry], elem_flags: u64) -> Result<(), (usize, Error)> {
        for (at, (key, value)) in entries.iter().enumerate() {
            let size = self.elem_size().map_err(|error| (0, error))?;
            if key.len() != self.key_size() as usize || value.len() != size {
                let error = Error::map_use(
                    self,
                    "given that element",
                    &format!("element {at} is of another size"),
                );
                return Err((0, error));
            }
        }
        let mut done = 0;
        for chunk in entries.chunks(BATCH as usize) {
            let keys: Vec<u8> = chunk.iter().flat_map(|(key, _)| key).copied().collect();
            let values: Vec<u8> = chunk.iter().flat_map(|(_, value)| value).copied().collect();
            let (count, result) =
                self.fd.update_batch(&keys, &values, chunk.len() as u32, elem_flags);
            done += count as usize;
            match result {
                Ok(()) => {}
                Err(errno) if is_absent(errno) => {
                    for (key, value) in &entries[done..] {
                        self.update(key, value, elem_flags).map_err(|error| (done, error))?;
                        done += 1;
                    }
                    return Ok(());
                }
                Err(errno) => {
                    return Err((done, self.failed(errno, "written", "BPF_MAP_UPDATE_BATCH")));
                }
            }
        }
        Ok(())
    }

    /// Removes many elements; those that are not there are passed over. Returns how many were removed.
    ///
    /// # Errors
    /// As for [`delete`](Map::delete).
    pub fn delete_batch(&self, keys: &[Vec<u8>]) -> Result<usize, Error> {
        if let Some(key) = keys.iter().find(|key| key.len() != self.key_size() as usize) {
            let why = format!("a key has {} bytes, not {}", self.key_size(), key.len());
            return Err(Error::map_use(self, "asked for that key", &why));
        }
        let (mut at, mut removed) = (0, 0);
        while at < keys.len() {
            let chunk = &keys[at..keys.len().min(at + BATCH as usize)];
            let (count, result) = self.fd.delete_batch(&chunk.concat(), chunk.len() as u32);
            at += count as usize;
            removed += count as usize;
            match result {
                Ok(()) => {}
                // The kernel stops at a key that is not there; it goes on behind it.
                Err(Errno(libc::ENOENT)) => at += 1,
                Err(errno) if is_absent(errno) => {
                    for key in &keys[at..] {
                        removed += usize::from(self.delete(key)?);
                    }
                    return Ok(removed);
                }
                Err(errno) => {
                    return Err(self.failed(errno, "deleted from", "BPF_MAP_DELETE_BATCH"));
                }
            }
        }
        Ok(removed)
    }

    /// All elements by a batch command; `None` when the kernel does not have it for this type.
    fn read_all(&self, which: ReadBatch) -> Result<Option<Vec<Entry>>, Error> {
        let (key_size, value_size) = (self.key_size() as usize, self.elem_size()?);
        if key_size == 0 {
            return Ok(None);
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut count = BATCH.min(self.max_entries().max(1));
        let mut cursor: Option<Vec<u8>> = None;
        // Bounded: buckets and elements are, but removed keys make a generic walk begin again.
        let mut left = u64::from(self.max_entries()) * 2 + u64::from(BATCH);
        loop {
            let mut keys = vec![0; key_size * count as usize];
            let mut values = vec![0; value_size * count as usize];
            let mut next = vec![0; self.fd.cursor_size()];
            let (read, result) = self.fd.read_batch(
                which,
                (cursor.as_deref(), &mut next),
                (&mut keys, &mut values),
                count,
                0,
            );
            let pairs = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size.max(1)));
            entries.extend(
                pairs.take(read as usize).map(|(key, value)| (key.to_vec(), value.to_vec())),
            );
            left = left.saturating_sub(u64::from(read.max(1)));
            match result {
                Ok(()) if left > 0 => cursor = Some(next),
                Ok(()) | Err(Errno(libc::ENOENT)) => return Ok(Some(entries)),
                // One bucket of a hash holds more than `count`.
                Err(Errno(libc::ENOSPC))
                    if u64::from(count) < u64::from(self.max_entries()) * 2 =>
                {
                    count = count.saturating_mul(2);
                    if read > 0 {
                        cursor = Some(next);
                    }
                }
                Err(errno) if is_absent(errno) && entries.is_empty() => return Ok(None),
                Err(errno) => return Err(self.failed(errno, "read", "BPF_MAP_LOOKUP_BATCH")),
            }
        }
    }

    fn entries_one_by_one(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            if let Some(value) = self.lookup(&key, 0)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }
}
