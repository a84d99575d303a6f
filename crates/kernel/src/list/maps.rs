//! Maps of the kernel.

use std::os::fd::{AsFd, BorrowedFd};

use stylet_uapi::{MapType, ProgType};

use super::{Kind, each, fdinfo, name_of};
use crate::Error;
use crate::kernel::Kernel;
use crate::sys::{self, Errno};

/// What the kernel says about a map; the fields are named as in bpftool's JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapEntry {
    /// Id.
    pub id: u32,
    /// Type.
    pub map_type: MapType,
    /// Name, at most 15 bytes of it.
    pub name: String,
    /// `BPF_F_*`
    pub flags: u32,
    /// Device whose map it is, 0 for none.
    pub ifindex: u32,
    /// Bytes of a key.
    pub bytes_key: u32,
    /// Bytes of a value, for per-CPU maps of one CPU's.
    pub bytes_value: u32,
    /// Entries; bytes of a ring buffer.
    pub max_entries: u32,
    /// Bytes of memory.
    pub bytes_memlock: Option<u64>,
    /// Type of the programs of a program array that has been used.
    pub owner_prog_type: Option<ProgType>,
    /// Whether these are compiled.
    pub owner_jited: Option<bool>,
    /// No system call changes it any more.
    pub frozen: bool,
    /// Its BTF object, 0 for none.
    pub btf_id: u32,
    /// Type of the key in it.
    pub btf_key_type_id: u32,
    /// Type of the value in it.
    pub btf_value_type_id: u32,
}

/// Every map, by id.
///
/// # Errors
/// [`Error::Denied`] without the rights.
pub fn maps(kernel: &Kernel) -> Result<Vec<MapEntry>, Error> {
    each(kernel, Kind::Map, |fd| map(fd.as_fd()))
}

/// What the kernel says about the map behind a descriptor.
///
/// # Errors
/// What the kernel answers.
pub fn map(fd: BorrowedFd<'_>) -> Result<MapEntry, Errno> {
    let info = sys::map_info(fd)?;
    let is_prog_array = info.map_type == MapType::PROG_ARRAY.0;
    let owner = |field| if is_prog_array { fdinfo(fd, field) } else { None };
    Ok(MapEntry {
        id: info.id,
        map_type: MapType(info.map_type),
        name: name_of(&info.name),
        flags: info.map_flags,
        ifindex: info.ifindex,
        bytes_key: info.key_size,
        bytes_value: info.value_size,
        max_entries: info.max_entries,
        bytes_memlock: fdinfo(fd, "memlock"),
        owner_prog_type: owner("owner_prog_type").map(|t| ProgType(t as u32)),
        owner_jited: owner("owner_jited").map(|jited| jited != 0),
        frozen: fdinfo(fd, "frozen").is_some_and(|frozen| frozen != 0),
        btf_id: info.btf_id,
        btf_key_type_id: info.btf_key_type_id,
        btf_value_type_id: info.btf_value_type_id,
    })
}
