//! Maps of an object.

use std::os::fd::{AsFd, BorrowedFd};

use stylet_object::{MapKind, MapSpec, Pinning, SlotValue, Spec};
use stylet_uapi::MapType;
use stylet_uapi::flags::map_flags;

use super::pin::Pins;
use super::{LoadOptions, fill_slots, raw};
use crate::Error;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::map::Map;
use crate::sys::{self, Errno, MapCreate, MapFd};

/// Creates or opens all maps, with their contents and the slots of maps of maps.
pub(super) fn create_all(
    kernel: &Kernel,
    spec: &Spec,
    btf: Option<BorrowedFd<'_>>,
    options: &LoadOptions<'_>,
    pins: &mut Pins,
) -> Result<Vec<Map>, Error> {
    let mut maps = Vec::with_capacity(spec.maps.len());
    let mut fresh = Vec::with_capacity(spec.maps.len());
    for map in &spec.maps {
        let adjusted = adjust(kernel, map)?;
        let pinned = match map.pinning {
            Pinning::ByName => pins.open(kernel, &adjusted, &options.pin_root)?,
            Pinning::None => None,
        };
        fresh.push(pinned.is_none());
        maps.push(match pinned {
            Some(map) => map,
            None => {
                let made = create(kernel, &adjusted, btf)?;
                fill(kernel, &adjusted, &made)?;
                match map.pinning {
                    Pinning::ByName => pins.pin(kernel, &adjusted, made, &options.pin_root)?,
                    Pinning::None => made,
                }
            }
        });
    }
    for ((map_spec, map), fresh) in spec.maps.iter().zip(&maps).zip(fresh) {
        if fresh && map_spec.map_type != MapType::PROG_ARRAY {
            fill_slots(map, &map_spec.values, |value| match value {
                SlotValue::Map(idx) => maps.get(idx as usize).map(raw),
                SlotValue::Prog(_) => None,
            })?;
        }
    }
    Ok(maps)
}

/// What the definition leaves to the machine, and what older kernels do not have.
fn adjust(kernel: &Kernel, map: &MapSpec) -> Result<MapSpec, Error> {
    let mut map = map.clone();
    match map.map_type {
        MapType::RINGBUF | MapType::USER_RINGBUF => {
            map.max_entries = ring_size(map.max_entries, sys::page_size());
        }
        MapType::PERF_EVENT_ARRAY if map.max_entries == 0 => {
            let cpus = sys::possible_cpus().map_err(Error::sys("read", "the number of CPUs"))?;
            map.max_entries = u32::try_from(cpus).unwrap_or(u32::MAX);
        }
        _ => {}
    }
    if map.kind.is_internal() {
        kernel.require(Feature::GlobalData)?;
        if map.map_flags & map_flags::MMAPABLE != 0 && !kernel.has(Feature::MmapableArray) {
            map.map_flags &= !map_flags::MMAPABLE;
        }
    }
    Ok(map)
}

/// Bytes of a ring buffer: a power of two of pages, at least what was asked for; 0 stays 0, which the kernel refuses
/// (`adjust_ringbuf_sz`).
fn ring_size(bytes: u32, page: u32) -> u32 {
    if bytes == 0 || (bytes.is_power_of_two() && bytes.is_multiple_of(page)) {
        return bytes;
    }
    let pages = u64::from(bytes) / u64::from(page) + 1;
    u32::try_from(pages.next_power_of_two() * u64::from(page)).unwrap_or(bytes)
}

/// Whether maps of this type take no BTF of key and value (`bpf_object__create_map`; their operations have no
/// `map_check_btf`, or refuse).
fn takes_no_btf(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::PERF_EVENT_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::STACK_TRACE
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::DEVMAP
            | MapType::DEVMAP_HASH
            | MapType::CPUMAP
            | MapType::XSKMAP
            | MapType::SOCKMAP
            | MapType::SOCKHASH
            | MapType::QUEUE
            | MapType::STACK
            | MapType::ARENA
    )
}

/// Creates a map; its inner template, if it has one, lives for as long as that takes.
fn create(kernel: &Kernel, map: &MapSpec, btf: Option<BorrowedFd<'_>>) -> Result<Map, Error> {
    let inner = match &map.inner {
        Some(inner) => Some(create(kernel, &adjust(kernel, inner)?, btf)?),
        None => None,
    };
    let types = (map.btf_key_type_id, map.btf_value_type_id);
    let attr = MapCreate {
        map_type: map.map_type,
        name: if kernel.has(Feature::ObjName) { &map.name } else { "" },
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        map_flags: map.map_flags,
        numa_node: map.numa_node,
        map_extra: map.map_extra,
        inner: inner.as_ref().map(AsFd::as_fd),
        btf: btf
            .filter(|_| !takes_no_btf(map.map_type) && types != (0, 0))
            .map(|btf| (btf, types.0, types.1)),
    };
    let mut made = MapFd::create(&attr);
    // Types that this kernel does not take for this map are no reason not to have the map.
    if made.is_err() && attr.btf.is_some() {
        made = MapFd::create(&MapCreate { btf: None, ..attr }).or(made);
    }
    match made {
        Ok(fd) => Ok(Map {
            fd,
            name: map.name.clone(),
            max_entries: map.max_entries,
            map_flags: map.map_flags,
        }),
        Err(errno) => Err(refused(kernel, map, errno)),
    }
}

/// Which error a refused map is.
fn refused(kernel: &Kernel, map: &MapSpec, errno: Errno) -> Error {
    if errno == Errno(libc::EPERM) {
        return kernel.denied(&format!("creating map '{}'", map.name), errno);
    }
    if let Err(error @ Error::Missing { .. }) = kernel.require(Feature::MapType(map.map_type)) {
        return error;
    }
    if map.map_flags & map_flags::INNER_MAP != 0 && !kernel.has(Feature::InnerMapSize) {
        return kernel.missing(Feature::InnerMapSize, Some(errno));
    }
    let definition = format!(
        "{}, {} bytes key, {} bytes value, {} entries, flags {:#x}",
        map.map_type, map.key_size, map.value_size, map.max_entries, map.map_flags
    );
    Error::MapRefused { map: map.name.clone(), definition, errno }
}

/// Contents of a data section, and the seal on constants (`bpf_object__populate_internal_map`).
fn fill(kernel: &Kernel, spec: &MapSpec, map: &Map) -> Result<(), Error> {
    if spec.kind == MapKind::User {
        return Ok(());
    }
    let what = || format!("map '{}'", spec.name);
    // Anything else than zeros; the kernel starts with those.
    if spec.contents.iter().any(|&byte| byte != 0) {
        map.fd
            .update(&0_u32.to_ne_bytes(), &spec.contents, 0)
            .map_err(Error::sys("BPF_MAP_UPDATE_ELEM", what()))?;
    }
    if spec.kind.is_frozen() && kernel.has(Feature::MapFreeze) {
        sys::freeze(map.as_fd()).map_err(Error::sys("BPF_MAP_FREEZE", what()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_buffers_are_a_power_of_two_of_pages() {
        // As libbpf's adjust_ringbuf_sz answers on 4 KiB pages.
        for (asked, given) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (12288, 16384),
            (1 << 20, 1 << 20),
            (1 << 31, 1 << 31),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(ring_size(asked, 4096), given, "{asked}");
        }
    }
}
