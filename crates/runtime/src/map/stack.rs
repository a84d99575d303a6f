//! `BPF_MAP_TYPE_STACK_TRACE` (kernel/bpf/stackmap.c): stacks by the hash of their addresses.

use super::{Map, Result, hash_fn};
use crate::lock;
use crate::slot::Cx;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use stylet_uapi::errno::{EEXIST, EINVAL, ENOENT};

/// Bytes of a bucket before its addresses: lock, number of addresses (0: empty), hash, padding.
pub const BUCKET_HDR: u32 = 16;
/// `BPF_F_FAST_STACK_CMP`: equal hashes are equal stacks.
pub const FAST_STACK_CMP: u64 = 1 << 9;
/// `BPF_F_REUSE_STACKID`: a bucket that holds another stack is overwritten.
pub const REUSE_STACKID: u64 = 1 << 10;

impl Map<'_> {
    fn stack_word(&self, id: u32, field: usize) -> &AtomicU32 {
        let id = (id & self.geo.mask) as usize;
        self.word(self.geo.values_off as usize + id * self.geo.elem_size as usize + 4 * field)
    }

    pub(crate) fn stack_lock(&self, id: u32) -> &AtomicU32 {
        self.stack_word(id, 0)
    }

    fn stack_nr(&self, id: u32) -> &AtomicU32 {
        self.stack_word(id, 1)
    }

    fn stack_hash(&self, id: u32) -> &AtomicU32 {
        self.stack_word(id, 2)
    }

    fn stack_addrs(&self, id: u32) -> *mut u64 {
        let id = (id & self.geo.mask) as usize;
        self.at(self.geo.values_off as usize
            + id * self.geo.elem_size as usize
            + BUCKET_HDR as usize)
            .cast()
    }

    /// Most addresses of a stack.
    pub fn stack_depth(&self) -> u32 {
        self.geo.value_size / 8
    }
}

/// Stores a stack and gives its id: `EEXIST` when another stack has it, `EBUSY`.
///
/// # Safety
/// `ips` has `nr` addresses.
pub unsafe fn insert(map: &Map, ips: *const u64, nr: u32, flags: u64, cx: &Cx) -> Result<u32> {
    let nr = nr.min(map.stack_depth());
    // SAFETY: promised by the caller.
    let hash = unsafe { hash_fn::hash(ips.cast(), nr * 8, 0) };
    let id = hash & map.geo.mask;
    let stored = map.stack_nr(id).load(Acquire);
    let same_hash = stored != 0 && map.stack_hash(id).load(Relaxed) == hash;
    if same_hash && flags & FAST_STACK_CMP != 0 {
        return Ok(id);
    }
    // SAFETY: `nr` addresses each.
    if same_hash && stored == nr && unsafe { same(map.stack_addrs(id), ips, nr) } {
        return Ok(id);
    }
    if stored != 0 && flags & REUSE_STACKID == 0 {
        map.count_lost();
        return Err(EEXIST);
    }
    let _guard = lock::lock(map.stack_lock(id), cx).inspect_err(|_| map.count_lost())?;
    map.stack_nr(id).store(0, Release);
    for i in 0..nr as usize {
        // SAFETY: the bucket has room for `stack_depth` addresses.
        unsafe { map.stack_addrs(id).add(i).write_volatile(*ips.add(i)) };
    }
    map.stack_hash(id).store(hash, Release);
    map.stack_nr(id).store(nr, Release);
    Ok(id)
}

unsafe fn same(a: *const u64, b: *const u64, n: u32) -> bool {
    // SAFETY: promised by the caller.
    (0..n as usize).all(|i| unsafe { a.add(i).read_volatile() == *b.add(i) })
}

/// Copies stack `id` to `out`, `stack_depth` addresses, zeroes after its end; `ENOENT` for an empty or unknown id.
///
/// # Safety
/// `out` has `value_size` bytes.
pub unsafe fn copy(map: &Map, id: u32, out: *mut u64) -> Result<()> {
    if id > map.geo.mask {
        return Err(ENOENT);
    }
    let nr = map.stack_nr(id).load(Acquire).min(map.stack_depth());
    if nr == 0 {
        return Err(ENOENT);
    }
    for i in 0..map.stack_depth() {
        // SAFETY: promised by the caller; the bucket has as many.
        unsafe {
            *out.add(i as usize) =
                if i < nr { map.stack_addrs(id).add(i as usize).read_volatile() } else { 0 }
        };
    }
    Ok(())
}

/// Removes stack `id` (`stack_map_delete_elem`): `E2BIG` does not occur in the kernel's either, an id out of range is
/// `E2BIG` only for arrays.
pub fn delete(map: &Map, id: u32) -> Result<()> {
    if id > map.geo.mask || map.stack_nr(id).swap(0, Release) == 0 {
        return Err(if id > map.geo.mask { stylet_uapi::errno::E2BIG } else { ENOENT });
    }
    Ok(())
}

/// The next id in use (`stack_map_get_next_key`): `EINVAL` when there is none.
pub fn next_key(map: &Map, key: Option<u32>) -> Result<u32> {
    let from = match key {
        Some(id) if id <= map.geo.mask && map.stack_nr(id).load(Relaxed) != 0 => id + 1,
        _ => 0,
    };
    (from..=map.geo.mask)
        .find(|&id| map.stack_nr(id).load(Relaxed) != 0)
        .ok_or(if from > map.geo.mask { EINVAL } else { ENOENT })
}
