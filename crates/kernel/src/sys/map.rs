//! Maps: create, elements, freeze, pin.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use stylet_uapi::{Cmd, MapType};

use super::attr::{MapCreateAttr, MapElemAttr, ObjAttr};
use super::{Errno, bpf, bpf_fd, info, obj_name};

/// What `BPF_MAP_CREATE` is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapCreate<'a> {
    /// Type.
    pub map_type: MapType,
    /// Name, whole; the kernel gets 15 bytes of it. Empty: none, as kernels before 4.15 want.
    pub name: &'a str,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries; bytes for ring buffers.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub map_flags: u32,
    /// NUMA node, with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// `map_extra`.
    pub map_extra: u64,
    /// Template of inner maps.
    pub inner: Option<BorrowedFd<'a>>,
    /// BTF, with the ids of key and value in it.
    pub btf: Option<(BorrowedFd<'a>, u32, u32)>,
}

/// A map's descriptor with the sizes that the kernel reads and writes through it.
#[derive(Debug)]
pub struct MapFd {
    fd: OwnedFd,
    map_type: MapType,
    key_size: u32,
    value_size: u32,
}

impl MapFd {
    /// `BPF_MAP_CREATE`
    pub fn create(map: &MapCreate<'_>) -> Result<MapFd, Errno> {
        let raw = |fd: BorrowedFd<'_>| fd.as_raw_fd() as u32;
        let (btf_fd, btf_key_type_id, btf_value_type_id) = match map.btf {
            Some((fd, key, value)) => (raw(fd), key, value),
            None => (0, 0, 0),
        };
        let mut attr = MapCreateAttr {
            map_type: map.map_type.0,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.map_flags,
            inner_map_fd: map.inner.map_or(0, raw),
            numa_node: map.numa_node,
            map_name: obj_name(map.name),
            btf_fd,
            btf_key_type_id,
            btf_value_type_id,
            map_extra: map.map_extra,
            ..MapCreateAttr::default()
        };
        // SAFETY: the attribute holds no pointer.
        let fd = unsafe { bpf_fd(Cmd::MAP_CREATE, &mut attr)? };
        let (key_size, value_size) = (map.key_size, map.value_size);
        Ok(MapFd { fd, map_type: map.map_type, key_size, value_size })
    }

    /// Takes over a map's descriptor; asks the kernel for the sizes.
    pub fn from_fd(fd: OwnedFd) -> Result<MapFd, Errno> {
        let info = info::map_info(fd.as_fd())?;
        let (key_size, value_size) = (info.key_size, info.value_size);
        Ok(MapFd { fd, map_type: MapType(info.map_type), key_size, value_size })
    }

    /// Type.
    pub fn map_type(&self) -> MapType {
        self.map_type
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> u32 {
        self.key_size
    }

    /// Bytes of a value, of one CPU's for per-CPU maps.
    pub fn value_size(&self) -> u32 {
        self.value_size
    }

    /// `BPF_MAP_UPDATE_ELEM` of a map whose values are single (no per-CPU map).
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let is_percpu = matches!(
            self.map_type,
            MapType::PERCPU_HASH
                | MapType::PERCPU_ARRAY
                | MapType::LRU_PERCPU_HASH
                | MapType::PERCPU_CGROUP_STORAGE
        );
        if is_percpu
            || key.len() != self.key_size as usize
            || value.len() < self.value_size as usize
        {
            return Err(Errno(libc::EINVAL));
        }
        let mut attr = MapElemAttr {
            map_fd: self.fd.as_raw_fd() as u32,
            // A map without keys wants none.
            key: if key.is_empty() { 0 } else { key.as_ptr() as u64 },
            value: value.as_ptr() as u64,
            flags,
            ..MapElemAttr::default()
        };
        // SAFETY: the kernel reads `key_size` bytes of `key` and `value_size` bytes of `value`; both are there.
        unsafe { bpf(Cmd::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }
}

impl AsFd for MapFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<MapFd> for OwnedFd {
    fn from(map: MapFd) -> OwnedFd {
        map.fd
    }
}

/// `BPF_MAP_FREEZE`: no system call changes the map any more.
pub fn freeze(map: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = MapElemAttr { map_fd: map.as_raw_fd() as u32, ..MapElemAttr::default() };
    // SAFETY: the command takes no pointer.
    unsafe { bpf(Cmd::MAP_FREEZE, &mut attr) }.map(drop)
}

/// `BPF_OBJ_PIN` of a map, a program or a link.
pub fn pin(fd: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut attr = ObjAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: fd.as_raw_fd() as u32,
        ..ObjAttr::default()
    };
    // SAFETY: the path is a NUL-terminated string.
    unsafe { bpf(Cmd::OBJ_PIN, &mut attr) }.map(drop)
}

/// `BPF_OBJ_GET`: opens a pinned object.
pub fn get_pinned(path: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = ObjAttr { pathname: path.as_ptr() as u64, ..ObjAttr::default() };
    // SAFETY: the path is a NUL-terminated string.
    unsafe { bpf_fd(Cmd::OBJ_GET, &mut attr) }
}
