//! Maps: one header each, everything else at offsets from it.
//!
//! A map is [`Geo`] (what never changes) and memory. Traced processes read the geometry from the header; the tracer keeps
//! a copy of its own, so that nothing a traced process writes can lead it out of the map.

pub mod array;
pub mod create;
pub mod elements;
pub mod hash;
mod hash_fn;
pub mod ops;
pub mod plain;
pub mod queue;
pub mod ring;
pub mod stack;

pub use create::{MapDef, SUPPORTED_MAP_TYPES, layout};

use crate::lock;
use crate::slot::Cx;
use core::sync::atomic::{AtomicU32, AtomicU64};
use stylet_uapi::MapType;

/// `Geo::magic`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"sMap");

/// Update flag: create or replace.
pub const BPF_ANY: u64 = 0;
/// Update flag: only create.
pub const BPF_NOEXIST: u64 = 1;
/// Update flag: only replace.
pub const BPF_EXIST: u64 = 2;
/// Update and lookup flag: hold the value's spin lock.
pub const BPF_F_LOCK: u64 = 4;

/// Map flags (`BPF_F_*`, include/uapi/linux/bpf.h) that are known here.
pub mod map_flags {
    #![allow(missing_docs)]
    pub const NO_PREALLOC: u32 = 1 << 0;
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    pub const NUMA_NODE: u32 = 1 << 2;
    pub const RDONLY: u32 = 1 << 3;
    pub const WRONLY: u32 = 1 << 4;
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    pub const ZERO_SEED: u32 = 1 << 6;
    pub const RDONLY_PROG: u32 = 1 << 7;
    pub const WRONLY_PROG: u32 = 1 << 8;
    pub const CLONE: u32 = 1 << 9;
    pub const MMAPABLE: u32 = 1 << 10;
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    pub const INNER_MAP: u32 = 1 << 12;
}

/// What never changes about a map. Offsets are from the map's header, sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Geo {
    /// [`MAGIC`].
    pub magic: u32,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// As defined.
    pub key_size: u32,
    /// As defined.
    pub value_size: u32,
    /// As defined.
    pub max_entries: u32,
    /// As defined.
    pub map_flags: u32,
    /// Number given by the tracer (`bpf_map_info.id`).
    pub id: u32,
    /// CPU slots of the arena.
    pub nslots: u32,
    /// Bytes of the whole map.
    pub size: u32,
    /// First array value, element, bucket of stacks or ring.
    pub values_off: u32,
    /// Distance of two of those.
    pub elem_size: u32,
    /// Offset of the value in a hash element.
    pub value_in_elem: u32,
    /// Number of elements of a hash.
    pub nelems: u32,
    /// Number of buckets minus one, or ring size minus one.
    pub mask: u32,
    /// Bucket heads of a hash.
    pub buckets_off: u32,
    /// Locks of a hash.
    pub locks_off: u32,
    /// Number of locks minus one.
    pub locks_mask: u32,
    /// Free lists of a hash, one a slot.
    pub free_off: u32,
    /// First per-CPU value.
    pub percpu_off: u32,
    /// Distance of two slots' values.
    pub percpu_stride: u32,
    /// Seed of the hash function.
    pub seed: u32,
    /// Size of a value as stored: `value_size` rounded up to 8 (8 for maps of maps).
    pub value_stride: u32,
}

/// The header of a map: what a map pointer points to.
#[repr(C, align(64))]
pub struct MapHdr {
    /// What never changes.
    pub geo: Geo,
    /// Keeps what changes off the cache lines of the geometry.
    _pad: [u8; 128 - size_of::<Geo>()],
    /// Updates, pushes or records lost: no space, lock not to be had.
    pub lost: AtomicU64,
    /// Lock of queues, stacks and rings.
    pub lock: AtomicU32,
    /// Clock hand of LRU maps, head of queues.
    pub head: AtomicU32,
    /// Tail of queues.
    pub tail: AtomicU32,
}

/// Offset of the values of arrays from the map's header, the same for every array.
pub const VALUES_OFF: u32 = 256;
const _: () = assert!(size_of::<MapHdr>() == VALUES_OFF as usize - 64 && size_of::<Geo>() <= 128);

/// Offset of `max_entries` in the header, for generated tail calls.
pub const MAX_ENTRIES_OFF: i32 = core::mem::offset_of!(MapHdr, geo.max_entries) as i32;

/// A map: its geometry and where it is.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    /// What never changes.
    pub geo: &'a Geo,
    base: *mut u8,
}

/// Result of a map operation: an errno, positive, on failure.
pub type Result<T> = core::result::Result<T, i32>;

impl<'a> Map<'a> {
    /// The map at `ptr`, which believes its header: for traced processes.
    ///
    /// # Safety
    /// `ptr` points to a header written by [`create::create`] in a mapped arena.
    #[inline]
    pub unsafe fn from_ptr(ptr: *mut u8) -> Map<'a> {
        // SAFETY: promised by the caller.
        Map { geo: unsafe { &*ptr.cast::<Geo>() }, base: ptr }
    }

    /// The map at `ptr` with a geometry that is known otherwise: for the tracer.
    ///
    /// # Safety
    /// `geo` came from [`layout`] and `geo.size` bytes at `ptr` are mapped.
    #[inline]
    pub unsafe fn with_geo(geo: &'a Geo, ptr: *mut u8) -> Map<'a> {
        Map { geo, base: ptr }
    }

    /// The map's type.
    #[inline]
    pub fn map_type(&self) -> MapType {
        MapType(self.geo.map_type)
    }

    /// Address of the header.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// The header.
    #[inline]
    pub fn hdr(&self) -> &'a MapHdr {
        // SAFETY: every map begins with one.
        unsafe { &*self.base.cast() }
    }

    /// Address at offset `off` of the map; the callers in this module keep it inside by [`Geo`] alone.
    #[inline]
    pub(crate) fn at(&self, off: usize) -> *mut u8 {
        self.base.wrapping_add(off)
    }

    /// The 32-bit word at offset `off`.
    #[inline]
    pub(crate) fn word(&self, off: usize) -> &'a AtomicU32 {
        // SAFETY: offsets are multiples of 4 inside the map, see `at`.
        unsafe { &*self.at(off).cast() }
    }

    /// Takes the lock of the header.
    #[inline]
    pub(crate) fn lock(&self, cx: &Cx) -> Result<lock::Guard<'a>> {
        lock::lock(&self.hdr().lock, cx)
    }

    /// Counts something lost.
    #[cold]
    pub(crate) fn count_lost(&self) {
        self.hdr().lost.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }

    /// Whether values are per CPU slot.
    #[inline]
    pub fn is_percpu(&self) -> bool {
        self.geo.percpu_off != 0
    }

    /// Address of the value of element `i` of slot `slot` in a per-CPU map; both are taken modulo nothing: the caller
    /// checks `i < nelems` (or `max_entries`) and this checks the slot.
    #[inline]
    pub(crate) fn percpu_value(&self, i: u32, slot: u32) -> Option<*mut u8> {
        if slot >= self.geo.nslots {
            return None;
        }
        let off = self.geo.percpu_off as usize
            + slot as usize * self.geo.percpu_stride as usize
            + i as usize * self.geo.value_stride as usize;
        Some(self.at(off))
    }
}

/// Copies a value of `size` bytes and zeroes the rest up to a multiple of 8.
///
/// # Safety
/// `src` has `size` bytes, `dst` has `size` rounded up to 8 and is 8-aligned.
#[inline]
pub(crate) unsafe fn copy_value(dst: *mut u8, src: *const u8, size: u32) {
    let (mut d, mut s, mut n) = (dst.cast::<u64>(), src.cast::<u64>(), size as usize);
    // SAFETY: promised by the caller; word-wise so that readers see no torn words, like the kernel's bpf_long_memcpy.
    unsafe {
        while n >= 8 {
            d.write_volatile(s.read_unaligned());
            (d, s, n) = (d.add(1), s.add(1), n - 8);
        }
        if n != 0 {
            let mut last = [0u8; 8];
            let bytes = s.cast::<u8>();
            let mut i = 0;
            while i < n && i < 8 {
                last[i] = *bytes.add(i);
                i += 1;
            }
            d.write_volatile(u64::from_le_bytes(last));
        }
    }
}

/// Zeroes `size` bytes rounded up to 8.
///
/// # Safety
/// `dst` is 8-aligned and has `size` bytes rounded up to 8.
#[inline]
pub(crate) unsafe fn zero_value(dst: *mut u8, size: u32) {
    let d = dst.cast::<u64>();
    for i in 0..size.div_ceil(8) as usize {
        // SAFETY: promised by the caller.
        unsafe { d.add(i).write_volatile(0) };
    }
}
