//! A map in the kernel, and its elements.

mod batch;
mod elem;

pub use batch::Entry;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use stylet_uapi::MapType;

use crate::sys::{Errno, MapFd};

/// A map in the kernel, owned by descriptor.
#[derive(Debug)]
pub struct Map {
    pub(crate) fd: MapFd,
    pub(crate) name: String,
    pub(crate) max_entries: u32,
    pub(crate) map_flags: u32,
}

impl Map {
    /// Takes over a map's descriptor.
    ///
    /// # Errors
    /// What the kernel answers when it is asked for the map's shape.
    pub fn from_fd(fd: OwnedFd) -> Result<Map, Errno> {
        let info = crate::sys::map_info(fd.as_fd())?;
        let end = info.name.iter().position(|&b| b == 0).unwrap_or(info.name.len());
        Ok(Map {
            fd: MapFd::from_fd(fd)?,
            name: String::from_utf8_lossy(&info.name[..end]).into_owned(),
            max_entries: info.max_entries,
            map_flags: info.map_flags,
        })
    }

    /// Name, whole where it comes from an object (the kernel keeps 15 bytes).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type.
    pub fn map_type(&self) -> MapType {
        self.fd.map_type()
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> u32 {
        self.fd.key_size()
    }

    /// Bytes of a value; of one CPU's for per-CPU maps.
    pub fn value_size(&self) -> u32 {
        self.fd.value_size()
    }

    /// Entries; bytes of a ring buffer's data.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// `BPF_F_*` it was made with.
    pub fn map_flags(&self) -> u32 {
        self.map_flags
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
