//! Elements, one at a time.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use stylet_uapi::MapType;
use stylet_uapi::errno::ENOTSUPP;
use stylet_uapi::flags::update_flags;

use super::Map;
use crate::Error;
use crate::sys::{self, Errno};

impl Map {
    /// Bytes of an element's value as [`lookup`](Map::lookup) gives it: of all CPUs for per-CPU maps.
    ///
    /// # Errors
    /// [`Error::Sys`] when the number of CPUs cannot be read.
    pub fn elem_size(&self) -> Result<usize, Error> {
        self.fd.elem_size().map_err(Error::sys("read", "the number of CPUs"))
    }

    /// An element's value; `None` when there is none. `flags`: `BPF_F_LOCK`.
    ///
    /// Queues, stacks: an empty key looks at the next element and leaves it. Maps of maps and program arrays give the id of what
    /// they hold, 4 bytes. Local storage takes a descriptor as key (of a pidfd, a socket, a file, a cgroup).
    ///
    /// # Errors
    /// [`Error::MapUse`] for a key of another size and for types whose elements cannot be read; [`Error::Sys`] otherwise.
    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Option<Vec<u8>>, Error> {
        self.check_key(key)?;
        let mut value = vec![0; self.elem_size()?];
        let found = self.fd.lookup_elem(key, &mut value, flags);
        self.optional(found, "read", "BPF_MAP_LOOKUP_ELEM").map(|found| found.map(|()| value))
    }

    /// An element's values of a per-CPU map, by CPU number; of any other map, its one value.
    ///
    /// # Errors
    /// As for [`lookup`](Map::lookup).
    pub fn lookup_percpu(&self, key: &[u8], flags: u64) -> Result<Option<Vec<Vec<u8>>>, Error> {
        Ok(self.lookup(key, flags)?.map(|value| self.split_percpu(&value)))
    }

    /// The values of CPUs that [`lookup`](Map::lookup) gives in one piece.
    pub fn split_percpu(&self, value: &[u8]) -> Vec<Vec<u8>> {
        let size = self.value_size() as usize;
        if !self.fd.is_percpu() || size == 0 {
            return vec![value.to_vec()];
        }
        value.chunks_exact(size.next_multiple_of(8)).map(|value| value[..size].to_vec()).collect()
    }

    /// Whether a Bloom filter may hold a value; `false` is certain.
    ///
    /// # Errors
    /// [`Error::MapUse`] for another type or size.
    pub fn contains(&self, value: &[u8]) -> Result<bool, Error> {
        if self.map_type() != MapType::BLOOM_FILTER {
            return Err(Error::map_use(self, "asked for a value", "only Bloom filters can be"));
        }
        self.check_value(value, self.elem_size()?)?;
        let mut value = value.to_vec();
        let found = self.fd.lookup_elem(&[], &mut value, 0);
        self.optional(found, "asked for a value", "BPF_MAP_LOOKUP_ELEM")
            .map(|found| found.is_some())
    }

    /// Writes an element. `flags`: `BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`, `BPF_F_LOCK`. Per-CPU maps take all CPUs' values in one
    /// piece, as [`lookup`](Map::lookup) gives them; queues, stacks and Bloom filters an empty key.
    ///
    /// # Errors
    /// [`Error::MapUse`] for a key or value of another size and for types or maps that cannot be written; [`Error::Sys`]
    /// otherwise: EEXIST and ENOENT by the flags, E2BIG for a full map.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Error> {
        self.check_key(key)?;
        let one_cpu = flags & (update_flags::CPU | update_flags::ALL_CPUS) != 0;
        let size = if one_cpu { self.value_size() as usize } else { self.elem_size()? };
        self.check_value(value, size)?;
        let done = if one_cpu {
            // The kernel reads a whole number of words.
            let mut value = value.to_vec();
            value.resize(size.next_multiple_of(8), 0);
            self.fd.update_elem(key, &value, flags)
        } else {
            self.fd.update_elem(key, value, flags)
        };
        done.map_err(|errno| self.failed(errno, "written", "BPF_MAP_UPDATE_ELEM"))
    }

    /// Writes an element of a per-CPU map, a value for each CPU.
    ///
    /// # Errors
    /// As for [`update`](Map::update); [`Error::MapUse`] for another number of values than there are possible CPUs.
    pub fn update_percpu(
        &self,
        key: &[u8],
        values: &[impl AsRef<[u8]>],
        flags: u64,
    ) -> Result<(), Error> {
        let size = self.value_size() as usize;
        let mut whole = Vec::with_capacity(self.elem_size()?);
        for value in values {
            self.check_value(value.as_ref(), size)?;
            whole.extend_from_slice(value.as_ref());
            whole.resize(whole.len().next_multiple_of(8), 0);
        }
        self.update(key, &whole, flags)
    }

    /// Puts a program, map, perf event, cgroup or socket into a map of such, by descriptor.
    ///
    /// # Errors
    /// What the kernel answers: EINVAL for what does not fit there.
    pub fn update_fd(&self, key: &[u8], fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut value = fd.as_raw_fd().to_ne_bytes().to_vec();
        value.resize(self.fd.elem_size()?, 0);
        self.fd.update_elem(key, &value, 0)
    }

    /// Removes an element; `false` when there was none.
    ///
    /// # Errors
    /// [`Error::MapUse`] for types without removal (EINVAL: arrays) and for a key of another size.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check_key(key)?;
        let done = self.fd.delete_elem(key);
        self.optional(done, "deleted from", "BPF_MAP_DELETE_ELEM").map(|done| done.is_some())
    }

    /// Takes an element out and gives its value; `None` when there is none. Queues and stacks: with an empty key, the next one.
    /// Hash maps have it since 5.14.
    ///
    /// # Errors
    /// As for [`delete`](Map::delete).
    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Option<Vec<u8>>, Error> {
        self.check_key(key)?;
        let mut value = vec![0; self.elem_size()?];
        let done = self.fd.lookup_and_delete_elem(key, &mut value, flags);
        self.optional(done, "emptied", "BPF_MAP_LOOKUP_AND_DELETE_ELEM")
            .map(|done| done.map(|()| value))
    }

    /// The key after `key`, or the first; `None` at the end. Hash maps begin again when `key` is no longer there.
    ///
    /// # Errors
    /// [`Error::MapUse`] for types without keys to walk.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(key) = key {
            self.check_key(key)?;
        }
        let mut next = vec![0; self.key_size() as usize];
        let done = self.fd.get_next_key(key, &mut next);
        self.optional(done, "walked", "BPF_MAP_GET_NEXT_KEY").map(|done| done.map(|()| next))
    }

    /// Makes the map unchangeable by system calls, for good.
    ///
    /// # Errors
    /// [`Error::MapUse`] for types that cannot be frozen, and while it is mapped for writing or written by someone (EBUSY).
    pub fn freeze(&self) -> Result<(), Error> {
        sys::freeze(self.as_fd()).map_err(|errno| self.failed(errno, "frozen", "BPF_MAP_FREEZE"))
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        let size = self.key_size() as usize;
        if key.len() == size {
            return Ok(());
        }
        Err(Error::map_use(
            self,
            "asked for that key",
            &format!("a key has {size} bytes, not {}", key.len()),
        ))
    }

    fn check_value(&self, value: &[u8], size: usize) -> Result<(), Error> {
        if value.len() == size {
            return Ok(());
        }
        Err(Error::map_use(
            self,
            "given that value",
            &format!("a value has {size} bytes, not {}", value.len()),
        ))
    }

    /// ENOENT is no error.
    fn optional<T>(
        &self,
        result: Result<T, Errno>,
        what: &'static str,
        call: &'static str,
    ) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Errno(libc::ENOENT)) => Ok(None),
            Err(errno) => Err(self.failed(errno, what, call)),
        }
    }

    /// The error of an element's operation.
    pub(super) fn failed(&self, errno: Errno, what: &'static str, call: &'static str) -> Error {
        let why = match errno {
            Errno(ENOTSUPP | libc::EOPNOTSUPP) => "its type does not have that operation",
            // The type's own refusal, or the map's flags.
            Errno(libc::EINVAL) => "its type does not have that operation, or not with these flags",
            Errno(libc::EPERM) => "it is frozen, or its flags or our rights forbid it",
            Errno(libc::EBUSY) => "it is in use: mapped, written, or frozen already",
            _ => {
                return Error::Sys {
                    call,
                    errno,
                    what: format!("map '{}' (of type {})", self.name(), self.map_type()),
                };
            }
        };
        Error::MapUse {
            map: self.name().to_string(),
            map_type: self.map_type(),
            what,
            errno: Some(errno),
            why: why.into(),
        }
    }
}
