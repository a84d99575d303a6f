//! Checks of a map's definition, its layout, and its creation.

use super::{Geo, MAGIC, Map, Result, VALUES_OFF, elements, map_flags as f, ring};
use crate::abi::WINDOW;
use crate::control::MAX_SLOTS;
use stylet_uapi::MapType;
use stylet_uapi::errno::{E2BIG, EINVAL, ENOTSUPP, EOPNOTSUPP};

/// What a map is created from (`BPF_MAP_CREATE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapDef {
    /// Its type.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Number of entries, bytes of a ring buffer; 0 for a perf event array means one for each slot.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub map_flags: u32,
    /// Number reported as the map's id.
    pub id: u32,
    /// Seed of the hash function; ignored with `BPF_F_ZERO_SEED`.
    pub seed: u32,
    /// Bytes of each slot's ring of a perf event array, a power of two of at least 4096; 0 for 64 KiB.
    pub perf_ring: u32,
    /// `BPF_MAP_TYPE_BLOOM_FILTER`: number of hash functions, 0 for 5.
    pub map_extra: u64,
}

/// Map types that can be created here, see [`layout`].
pub const SUPPORTED_MAP_TYPES: &[MapType] = &[
    MapType::HASH,
    MapType::ARRAY,
    MapType::PROG_ARRAY,
    MapType::PERF_EVENT_ARRAY,
    MapType::PERCPU_HASH,
    MapType::PERCPU_ARRAY,
    MapType::STACK_TRACE,
    MapType::LRU_HASH,
    MapType::LRU_PERCPU_HASH,
    MapType::ARRAY_OF_MAPS,
    MapType::HASH_OF_MAPS,
    MapType::QUEUE,
    MapType::STACK,
    MapType::RINGBUF,
];

/// Bytes of a slot's perf ring unless [`MapDef::perf_ring`] says otherwise.
pub const PERF_RING: u32 = 64 << 10;
/// `KMALLOC_MAX_SIZE`-like bound of a value in per-CPU maps (`PCPU_MIN_UNIT_SIZE`, include/linux/percpu.h).
const PCPU_MIN_UNIT_SIZE: u32 = 32 << 10;
/// `KMALLOC_MAX_SIZE`: key and value of a hash map must be smaller together, by the kernel's element header.
const KMALLOC_MAX_SIZE: u64 = 4 << 20;
/// `PERF_MAX_STACK_DEPTH`.
pub const MAX_STACK_DEPTH: u32 = 127;

/// Rounds up to a multiple of 8.
fn round8(n: u32) -> u64 {
    (n as u64).next_multiple_of(8)
}

/// A number of bytes as an offset, or `E2BIG` when the window could not hold it.
fn fit(n: u64) -> Result<u32> {
    if n > WINDOW { Err(E2BIG) } else { Ok(n as u32) }
}

/// Where everything of a map is, or why the definition is refused: `EINVAL` for what the kernel refuses
/// (`map_alloc_check` of the type), `EOPNOTSUPP` for types and flags that do not exist here, `E2BIG` for maps that no
/// window could hold. `nslots` is the arena's number of CPU slots.
pub fn layout(def: &MapDef, nslots: u32) -> Result<Geo> {
    if nslots == 0 || nslots > MAX_SLOTS {
        return Err(EINVAL);
    }
    let geo = Geo {
        magic: MAGIC,
        map_type: def.map_type,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        map_flags: def.map_flags,
        id: def.id,
        nslots,
        values_off: VALUES_OFF,
        seed: if def.map_flags & f::ZERO_SEED != 0 { 0 } else { def.seed },
        value_stride: fit(round8(def.value_size))?,
        ..Geo::default()
    };
    check_flags(&geo)?;
    match MapType(def.map_type) {
        MapType::ARRAY | MapType::PERCPU_ARRAY => array(geo),
        MapType::PROG_ARRAY | MapType::ARRAY_OF_MAPS => refs(geo),
        MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
            hash_layout(geo)
        }
        MapType::HASH_OF_MAPS if def.value_size == 4 => hash_layout(Geo { value_stride: 8, ..geo }),
        MapType::QUEUE | MapType::STACK => queue(geo),
        MapType::RINGBUF => ring::layout(geo),
        MapType::PERF_EVENT_ARRAY => {
            ring::perf_layout(geo, if def.perf_ring == 0 { PERF_RING } else { def.perf_ring })
        }
        MapType::STACK_TRACE => stacks(geo),
        MapType::HASH_OF_MAPS => Err(EINVAL),
        _ => Err(EOPNOTSUPP),
    }
}

/// Flags that the kernel accepts for the type and that mean something, or nothing, here.
fn check_flags(geo: &Geo) -> Result<()> {
    let access = f::RDONLY | f::WRONLY | f::RDONLY_PROG | f::WRONLY_PROG;
    let hash = access | f::NUMA_NODE | f::ZERO_SEED | f::NO_PREALLOC;
    let (allowed, known) = match MapType(geo.map_type) {
        MapType::ARRAY => (access | f::NUMA_NODE | f::MMAPABLE | f::INNER_MAP, u32::MAX),
        MapType::PERCPU_ARRAY => (access, u32::MAX),
        MapType::HASH | MapType::PERCPU_HASH | MapType::HASH_OF_MAPS => (hash, u32::MAX),
        MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => (hash | f::NO_COMMON_LRU, u32::MAX),
        MapType::QUEUE | MapType::STACK => (access | f::NUMA_NODE, u32::MAX),
        MapType::STACK_TRACE => {
            (f::NUMA_NODE | f::RDONLY | f::WRONLY | f::STACK_BUILD_ID, !f::STACK_BUILD_ID)
        }
        MapType::RINGBUF => (f::NUMA_NODE, u32::MAX),
        MapType::PROG_ARRAY | MapType::ARRAY_OF_MAPS => {
            (f::NUMA_NODE | f::RDONLY | f::WRONLY, u32::MAX)
        }
        MapType::PERF_EVENT_ARRAY => {
            (f::NUMA_NODE | f::RDONLY | f::WRONLY | f::PRESERVE_ELEMS, u32::MAX)
        }
        _ => (u32::MAX, u32::MAX),
    };
    let both = |mask| geo.map_flags & mask == mask;
    if geo.map_flags & !allowed != 0
        || both(f::RDONLY | f::WRONLY)
        || both(f::RDONLY_PROG | f::WRONLY_PROG)
    {
        return Err(EINVAL);
    }
    let is_lru = matches!(MapType(geo.map_type), MapType::LRU_HASH | MapType::LRU_PERCPU_HASH);
    if is_lru && geo.map_flags & f::NO_PREALLOC != 0 {
        return Err(ENOTSUPP);
    }
    if geo.map_flags & !known != 0 { Err(EOPNOTSUPP) } else { Ok(()) }
}

/// `array_map_alloc_check`, kernel/bpf/arraymap.c.
fn array(mut geo: Geo) -> Result<Geo> {
    if geo.max_entries == 0 || geo.key_size != 4 || geo.value_size == 0 {
        return Err(EINVAL);
    }
    geo.elem_size = geo.value_stride;
    let bytes = geo.value_stride as u64 * geo.max_entries as u64;
    if MapType(geo.map_type) == MapType::ARRAY {
        geo.size = fit(VALUES_OFF as u64 + bytes)?;
        return Ok(geo);
    }
    if geo.value_stride > PCPU_MIN_UNIT_SIZE {
        return Err(E2BIG);
    }
    percpu(&mut geo, VALUES_OFF as u64, bytes)?;
    Ok(geo)
}

/// Appends one copy of `bytes` for each slot, each on cache lines of its own.
fn percpu(geo: &mut Geo, off: u64, bytes: u64) -> Result<()> {
    geo.percpu_off = fit(off.next_multiple_of(64))?;
    geo.percpu_stride = fit(bytes.next_multiple_of(64))?;
    geo.size = fit(geo.percpu_off as u64 + geo.percpu_stride as u64 * geo.nslots as u64)?;
    Ok(())
}

/// Arrays of references (`fd_array_map_alloc_check`): 8 bytes an entry, the distance from the header, 0 for none.
fn refs(mut geo: Geo) -> Result<Geo> {
    if geo.max_entries == 0 || geo.key_size != 4 || geo.value_size != 4 {
        return Err(EINVAL);
    }
    (geo.value_stride, geo.elem_size) = (8, 8);
    geo.size = fit(VALUES_OFF as u64 + 8 * geo.max_entries as u64)?;
    Ok(geo)
}

/// `htab_map_alloc_check`, kernel/bpf/hashtab.c. One more element than entries for each lock: an update puts a new element
/// in place of the old one, so that readers see the one or the other.
fn hash_layout(mut geo: Geo) -> Result<Geo> {
    if geo.max_entries == 0 || geo.key_size == 0 || geo.value_size == 0 {
        return Err(EINVAL);
    }
    if geo.key_size as u64 + geo.value_size as u64 >= KMALLOC_MAX_SIZE - 48 {
        return Err(E2BIG);
    }
    let is_percpu =
        matches!(MapType(geo.map_type), MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH);
    if is_percpu && geo.value_stride > PCPU_MIN_UNIT_SIZE {
        return Err(E2BIG);
    }
    if geo.max_entries > 1 << 26 {
        return Err(E2BIG);
    }
    let nbuckets = geo.max_entries.next_power_of_two();
    geo.mask = nbuckets - 1;
    let nlocks = nbuckets.min(elements::LOCKS);
    geo.locks_mask = nlocks - 1;
    geo.nelems = geo.max_entries + if is_percpu { 0 } else { nlocks };
    geo.value_in_elem = elements::ELEM_HDR + fit(round8(geo.key_size))?;
    geo.elem_size = geo.value_in_elem + if is_percpu { 0 } else { geo.value_stride };
    geo.free_off = VALUES_OFF;
    geo.locks_off = geo.free_off + geo.nslots * elements::FREE_SIZE;
    geo.buckets_off = geo.locks_off + nlocks * elements::LOCK_SIZE;
    let elems = geo.buckets_off as u64 + nbuckets as u64 * elements::BUCKET_SIZE as u64;
    geo.values_off = fit(elems.next_multiple_of(64))?;
    let end = geo.values_off as u64 + geo.nelems as u64 * geo.elem_size as u64;
    geo.size = fit(end)?;
    if is_percpu {
        let bytes = geo.nelems as u64 * geo.value_stride as u64;
        percpu(&mut geo, end, bytes)?;
    }
    Ok(geo)
}

/// `queue_stack_map_alloc_check`, kernel/bpf/queue_stack_maps.c: one more element, so that head and tail tell full from
/// empty.
fn queue(mut geo: Geo) -> Result<Geo> {
    if geo.max_entries == 0 || geo.value_size == 0 || geo.key_size != 0 {
        return Err(EINVAL);
    }
    geo.elem_size = geo.value_stride;
    geo.size = fit(VALUES_OFF as u64 + geo.value_stride as u64 * (geo.max_entries as u64 + 1))?;
    Ok(geo)
}

/// `stack_map_alloc`, kernel/bpf/stackmap.c.
fn stacks(mut geo: Geo) -> Result<Geo> {
    let depth = geo.value_size / 8;
    if geo.max_entries == 0
        || geo.key_size != 4
        || geo.value_size < 8
        || !geo.value_size.is_multiple_of(8)
        || depth > MAX_STACK_DEPTH
    {
        return Err(EINVAL);
    }
    if geo.max_entries > 1 << 26 {
        return Err(E2BIG);
    }
    geo.mask = geo.max_entries.next_power_of_two() - 1;
    geo.elem_size = super::stack::BUCKET_HDR + geo.value_size;
    geo.size = fit(VALUES_OFF as u64 + (geo.mask as u64 + 1) * geo.elem_size as u64)?;
    Ok(geo)
}

/// Writes the header of a map and prepares its memory.
///
/// # Safety
/// `geo` came from [`layout`]; `geo.size` bytes at `ptr` are mapped, zero, 64-aligned and used by no one.
pub unsafe fn create(ptr: *mut u8, geo: &Geo) {
    // SAFETY: promised by the caller.
    unsafe { ptr.cast::<Geo>().write(*geo) };
    // SAFETY: as above.
    let map = unsafe { Map::with_geo(geo, ptr) };
    match map.map_type() {
        MapType::HASH
        | MapType::LRU_HASH
        | MapType::PERCPU_HASH
        | MapType::LRU_PERCPU_HASH
        | MapType::HASH_OF_MAPS => elements::init(&map),
        _ => {}
    }
}
