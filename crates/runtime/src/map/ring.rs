//! Ring buffers: `BPF_MAP_TYPE_RINGBUF` (kernel/bpf/ringbuf.c), the rings of `PERF_EVENT_ARRAY`, the ring of printk.
//!
//! Positions, header format and accounting are the kernel's: a record is an 8-byte header (u32 length | BUSY | DISCARD, u32
//! owner), then its data, and takes a multiple of 8 bytes. The kernel maps the data twice so that a record at the end of
//! the ring is contiguous; here the memory behind the ring is as large as the ring: a record that begins before the end
//! goes on there, and the bytes it would have covered at the start stay unused.

use super::{Geo, Map, Result, VALUES_OFF};
use crate::control;
use crate::lock;
use crate::slot::Cx;
use crate::sys;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64};
use stylet_uapi::errno::{E2BIG, EINVAL};

/// `BPF_RINGBUF_BUSY_BIT`: reserved, not yet submitted.
pub const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: to be skipped.
pub const DISCARD: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
pub const HDR_SZ: u32 = 8;
/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
pub const FORCE_WAKEUP: u64 = 2;
/// Bytes of [`RingHdr`].
pub const RING_HDR: u32 = 128;
/// Smallest ring: a page.
const MIN_RING: u32 = 4096;

/// The positions of a ring; producers and the consumer on cache lines of their own.
#[repr(C, align(64))]
pub struct RingHdr {
    /// Bytes consumed; written by the tracer.
    pub cons: AtomicU64,
    _pad: [u64; 7],
    /// Bytes reserved; written under the lock.
    pub prod: AtomicU64,
    /// Lock of producers.
    pub lock: AtomicU32,
    _pad2: u32,
    /// Records that found no room.
    pub lost: AtomicU64,
    _pad3: [u64; 5],
}
const _: () = assert!(size_of::<RingHdr>() == RING_HDR as usize);

/// A ring.
#[derive(Clone, Copy)]
pub struct Ring {
    base: *mut u8,
    mask: u32,
}

/// Bytes of memory of a ring of `size` bytes.
pub const fn ring_bytes(size: u32) -> u64 {
    size_of::<RingHdr>() as u64 + 2 * size as u64
}

/// `ringbuf_map_alloc`: a power of two, a multiple of the page size.
pub(super) fn layout(mut geo: Geo) -> Result<Geo> {
    if geo.key_size != 0
        || geo.value_size != 0
        || !geo.max_entries.is_power_of_two()
        || geo.max_entries < MIN_RING
    {
        return Err(EINVAL);
    }
    geo.mask = geo.max_entries - 1;
    let size = VALUES_OFF as u64 + ring_bytes(geo.max_entries);
    geo.size = u32::try_from(size).ok().filter(|&s| s as u64 <= crate::abi::WINDOW).ok_or(E2BIG)?;
    Ok(geo)
}

/// A perf event array: one ring for each slot. `max_entries` 0 becomes the number of slots, as libbpf sets it to that of
/// CPUs.
pub(super) fn perf_layout(mut geo: Geo, ring: u32) -> Result<Geo> {
    if geo.key_size != 4 || geo.value_size != 4 || !ring.is_power_of_two() || ring < MIN_RING {
        return Err(EINVAL);
    }
    if geo.max_entries == 0 {
        geo.max_entries = geo.nslots;
    }
    geo.mask = ring - 1;
    let size = VALUES_OFF as u64 + ring_bytes(ring) * geo.nslots as u64;
    geo.elem_size = u32::try_from(ring_bytes(ring)).map_err(|_| E2BIG)?;
    geo.size = u32::try_from(size).ok().filter(|&s| s as u64 <= crate::abi::WINDOW).ok_or(E2BIG)?;
    Ok(geo)
}

impl Map<'_> {
    /// The ring of a ring buffer, or of slot `slot` of a perf event array.
    pub fn ring(&self, slot: u32) -> Option<Ring> {
        let off = match self.geo.elem_size {
            0 => 0,
            _ if slot >= self.geo.nslots => return None,
            n => slot as usize * n as usize,
        };
        // SAFETY: `layout` made room for it.
        Some(unsafe { Ring::new(self.at(self.geo.values_off as usize + off), self.geo.mask) })
    }
}

impl Ring {
    /// The ring at `base` of `mask + 1` bytes.
    ///
    /// # Safety
    /// [`ring_bytes`] bytes at `base` are mapped, 64-aligned, and were zero when the ring began.
    pub unsafe fn new(base: *mut u8, mask: u32) -> Ring {
        Ring { base, mask }
    }

    /// Its positions.
    pub fn hdr(&self) -> &RingHdr {
        // SAFETY: promised in `new`.
        unsafe { &*self.base.cast() }
    }

    /// Bytes of data it can hold.
    pub fn size(&self) -> u32 {
        self.mask + 1
    }

    /// Address of the record at position `pos`; inside the ring for any `pos`.
    pub(crate) fn record(&self, pos: u64) -> *mut u8 {
        self.base.wrapping_add(size_of::<RingHdr>() + (pos & self.mask as u64 & !7) as usize)
    }

    /// The header word of the record at `pos`.
    pub(crate) fn record_hdr(&self, pos: u64) -> &AtomicU32 {
        // SAFETY: 8-aligned, inside the ring.
        unsafe { &*self.record(pos).cast() }
    }

    /// The owner word of the record at `pos`.
    pub(crate) fn record_owner(&self, pos: u64) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &*self.record(pos).add(4).cast() }
    }

    /// Reserves `size` bytes: the address of the data, `None` (and one more lost) when there is no room or the lock is not
    /// to be had. As `__bpf_ringbuf_reserve`.
    pub fn reserve(&self, size: u64, cx: &Cx) -> Option<*mut u8> {
        let found = match lock::lock(&self.hdr().lock, cx) {
            Ok(_guard) => self.reserve_locked(size, cx),
            Err(_) => None,
        };
        if found.is_none() {
            self.count_lost();
        }
        found
    }

    /// As [`Ring::reserve`] for a ring with one producer at a time.
    pub fn reserve_single(&self, size: u64, cx: &Cx) -> Option<*mut u8> {
        let found = self.reserve_locked(size, cx);
        if found.is_none() {
            self.count_lost();
        }
        found
    }

    #[cold]
    fn count_lost(&self) {
        self.hdr().lost.fetch_add(1, Relaxed);
    }

    #[inline]
    fn reserve_locked(&self, size: u64, cx: &Cx) -> Option<*mut u8> {
        if size > self.size() as u64 {
            return None;
        }
        let len = (size + HDR_SZ as u64).next_multiple_of(8);
        if len > self.size() as u64 {
            return None;
        }
        let hdr = self.hdr();
        let (cons, prod) = (hdr.cons.load(Acquire), hdr.prod.load(Relaxed));
        let new = prod.wrapping_add(len);
        if new.wrapping_sub(cons) > self.mask as u64 {
            return None;
        }
        self.record_owner(prod).store(cx.lock_id, Relaxed);
        self.record_hdr(prod).store(size as u32 | BUSY, Relaxed);
        hdr.prod.store(new, Release);
        Some(self.record(prod).wrapping_add(HDR_SZ as usize))
    }

    /// `bpf_ringbuf_query`.
    pub fn query(&self, what: u64) -> u64 {
        let (cons, prod) = (self.hdr().cons.load(Acquire), self.hdr().prod.load(Acquire));
        match what {
            0 => prod.wrapping_sub(cons),
            1 => self.size() as u64,
            2 => cons,
            3 => prod,
            _ => 0,
        }
    }

    /// Reserves, copies, submits. `false` when there is no room.
    ///
    /// # Safety
    /// `data` has `size` bytes.
    pub unsafe fn output(&self, data: *const u8, size: u64, flags: u64, cx: &Cx) -> bool {
        let Some(to) = self.reserve(size, cx) else { return false };
        // SAFETY: reserved, and promised by the caller.
        unsafe {
            to.copy_from_nonoverlapping(data, size as usize);
            commit(cx.arena, to, flags, false);
        }
        true
    }
}

/// Submits or discards the record whose data is at `data`, and wakes the tracer if it sleeps: unless `NO_WAKEUP`.
///
/// # Safety
/// `data` came from a reservation in the arena at `arena` and has not been committed.
pub unsafe fn commit(arena: *mut u8, data: *mut u8, flags: u64, discard: bool) {
    // SAFETY: the header is before the data.
    let hdr = unsafe { &*data.sub(HDR_SZ as usize).cast::<AtomicU32>() };
    let len = hdr.load(Relaxed) & !BUSY;
    // A full barrier, as in the kernel: the sleeping flag is read after the record can be seen.
    hdr.swap(if discard { len | DISCARD } else { len }, SeqCst);
    if flags & NO_WAKEUP != 0 {
        return;
    }
    // SAFETY: promised by the caller.
    let wake = &unsafe { control::control(arena) }.wake;
    if (wake.load(Relaxed) != 0 || flags & FORCE_WAKEUP != 0) && wake.swap(0, Relaxed) != 0 {
        sys::futex_wake(wake.as_ptr());
    }
}
