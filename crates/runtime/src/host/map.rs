//! Maps as bpf(2) shows them to user space: keys and values are bytes, errors are the kernel's errnos.

use super::{Arena, Error, Result};
use crate::map::hash::{Elem, Values};
use crate::map::{
    self, BPF_ANY, BPF_EXIST, BPF_F_LOCK, Geo, Map, array, hash, map_flags, queue, stack,
};
use stylet_uapi::MapType;
use stylet_uapi::errno::{E2BIG, EINVAL, ENOENT, EOPNOTSUPP, EPERM};

/// A map of an arena. Values of per-CPU maps are one for each CPU slot, each rounded up to 8 bytes, as the kernel's are one
/// for each possible CPU.
#[derive(Clone, Copy)]
pub struct HostMap<'a> {
    arena: &'a Arena,
    off: u64,
    geo: Geo,
}

fn errno<T>(result: map::Result<T>) -> Result<T> {
    result.map_err(|errno| Error::Map { errno })
}

fn fail<T>(errno: i32) -> Result<T> {
    Err(Error::Map { errno })
}

/// The index in an array's key.
fn index(key: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&key[..4]);
    u32::from_ne_bytes(bytes)
}

impl<'a> HostMap<'a> {
    pub(super) fn new(arena: &'a Arena, off: u64, geo: Geo) -> HostMap<'a> {
        HostMap { arena, off, geo }
    }

    /// Window offset of its header: what `Sym::Map` refers to.
    pub fn offset(&self) -> u64 {
        self.off
    }

    /// Its definition and layout.
    pub fn geo(&self) -> &Geo {
        &self.geo
    }

    /// The map with the tracer's own geometry.
    pub(super) fn raw(&self) -> Map<'_> {
        // SAFETY: `geo` came from `layout` and the arena mapped that many bytes at `off`.
        unsafe { Map::with_geo(&self.geo, self.arena.at(self.off)) }
    }

    /// Bytes of a value as these functions take and give it.
    pub fn value_len(&self) -> usize {
        match self.raw().is_percpu() {
            true => self.geo.value_stride as usize * self.geo.nslots as usize,
            false => self.geo.value_size as usize,
        }
    }

    /// Updates, pushes or stacks lost.
    pub fn lost(&self) -> u64 {
        self.raw().hdr().lost.load(core::sync::atomic::Ordering::Relaxed)
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        let wanted = self.geo.key_size as usize;
        if key.len() == wanted {
            Ok(())
        } else {
            Err(Error::Length { what: "key", given: key.len(), wanted })
        }
    }

    fn check_value(&self, value: &[u8]) -> Result<()> {
        let wanted = self.value_len();
        if value.len() == wanted {
            Ok(())
        } else {
            Err(Error::Length { what: "value", given: value.len(), wanted })
        }
    }

    fn may(&self, forbidding: u32) -> Result<()> {
        if self.geo.map_flags & forbidding != 0 { fail(EPERM) } else { Ok(()) }
    }

    /// Copies the value whose copies `at` gives.
    fn copy_out(&self, at: impl Fn(u32) -> Option<*mut u8>) -> Result<Vec<u8>> {
        let percpu = self.raw().is_percpu();
        let len = if percpu { self.geo.value_stride } else { self.geo.value_size } as usize;
        let mut out = vec![0u8; self.value_len()];
        let copies = if percpu { self.geo.nslots } else { 1 };
        for slot in 0..copies {
            let src = at(slot).ok_or(Error::Map { errno: ENOENT })?;
            // SAFETY: `src` is a value inside the map, `out` has room for one of each slot.
            unsafe { src.copy_to_nonoverlapping(out.as_mut_ptr().add(slot as usize * len), len) };
        }
        Ok(out)
    }

    /// `BPF_MAP_LOOKUP_ELEM`: the value, `ENOENT` when there is none. Keys of queues and stacks are empty.
    pub fn lookup(&self, key: &[u8]) -> Result<Vec<u8>> {
        self.check_key(key)?;
        self.may(map_flags::WRONLY)?;
        let map = self.raw();
        match map.map_type() {
            MapType::ARRAY | MapType::PERCPU_ARRAY => {
                self.copy_out(|slot| array::value(&map, index(key), slot))
            }
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                // SAFETY: key_size bytes, checked.
                let Some(Elem(e)) = (unsafe { hash::find(&map, key.as_ptr()) }) else {
                    return fail(ENOENT);
                };
                self.copy_out(|slot| map.elem_value(e, slot))
            }
            MapType::QUEUE | MapType::STACK => self.pop_or_peek(false),
            MapType::STACK_TRACE => {
                let mut ips = vec![0u64; map.stack_depth() as usize];
                // SAFETY: value_size bytes.
                errno(unsafe { stack::copy(&map, index(key), ips.as_mut_ptr()) })?;
                Ok(ips.iter().flat_map(|ip| ip.to_ne_bytes()).collect())
            }
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
                self.inner(key).map(|id| id.to_ne_bytes().to_vec())
            }
            _ => fail(EOPNOTSUPP),
        }
    }

    /// The id of the inner map at `key` of a map of maps: the tracer knows the map by its offset.
    fn inner(&self, key: &[u8]) -> Result<u32> {
        let map = self.raw();
        let distance = match map.map_type() {
            MapType::ARRAY_OF_MAPS => array::get_ref(&map, index(key)),
            // SAFETY: key_size bytes, checked by the caller.
            _ => unsafe { hash::find(&map, key.as_ptr()) }.and_then(|Elem(e)| {
                // SAFETY: an element's value of 8 bytes, aligned.
                map.elem_value(e, 0).map(|p| unsafe { p.cast::<i64>().read_volatile() })
            }),
        };
        let off = self.off.wrapping_add_signed(distance.ok_or(Error::Map { errno: ENOENT })?);
        let ids = self.arena.maps().into_iter();
        ids.filter_map(|id| self.arena.map(id).ok())
            .find(|m| m.off == off)
            .map(|m| m.geo.id)
            .ok_or(Error::Corrupt { what: "a map of maps refers to no map" })
    }

    /// Puts `inner` at `key` of a map of maps.
    pub fn update_inner(&self, key: &[u8], inner: &HostMap, flags: u64) -> Result<()> {
        self.check_key(key)?;
        let map = self.raw();
        let distance = inner.off.wrapping_sub(self.off) as i64;
        match map.map_type() {
            MapType::ARRAY_OF_MAPS => errno(array::set_ref(&map, index(key), distance, flags)),
            MapType::HASH_OF_MAPS => {
                let value = Values::Own((&raw const distance).cast());
                // SAFETY: key_size bytes and the 8 bytes of a distance.
                errno(
                    self.arena.with_cx(|cx| unsafe {
                        hash::update(&map, key.as_ptr(), value, flags, cx)
                    })?,
                )
            }
            _ => fail(EINVAL),
        }
    }

    /// Puts the code at window offset `code` at index `i` of a program array.
    pub fn update_prog(&self, i: u32, code: u64) -> Result<()> {
        if self.raw().map_type() != MapType::PROG_ARRAY {
            return fail(EINVAL);
        }
        errno(array::set_ref(&self.raw(), i, code.wrapping_sub(self.off) as i64, BPF_ANY))
    }

    /// `BPF_MAP_UPDATE_ELEM`; pushes onto queues and stacks.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.check_key(key)?;
        self.check_value(value)?;
        self.may(map_flags::RDONLY)?;
        if flags & BPF_F_LOCK != 0 {
            return fail(EINVAL);
        }
        let (map, val) = (self.raw(), value.as_ptr());
        match map.map_type() {
            MapType::ARRAY => errno(unsafe {
                // SAFETY: value_size bytes, checked.
                array::update(&map, index(key), val, flags, 0)
            }),
            MapType::PERCPU_ARRAY => self.update_percpu_array(index(key), value, flags),
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                // SAFETY: key_size bytes and a value for each slot, checked.
                errno(self.arena.with_cx(|cx| unsafe {
                    hash::update(&map, key.as_ptr(), Values::All(val), flags, cx)
                })?)
            }
            MapType::QUEUE | MapType::STACK => {
                // SAFETY: value_size bytes, checked.
                errno(self.arena.with_cx(|cx| unsafe { queue::push(&map, val, flags, cx) })?)
            }
            MapType::STACK_TRACE => fail(EINVAL),
            _ => fail(EOPNOTSUPP),
        }
    }

    /// `bpf_percpu_array_update`.
    fn update_percpu_array(&self, i: u32, value: &[u8], flags: u64) -> Result<()> {
        let map = self.raw();
        if flags > BPF_EXIST {
            return fail(EINVAL);
        }
        errno(array::check_update(&map, i, flags))?;
        let stride = self.geo.value_stride as usize;
        for (slot, copy) in value.chunks_exact(stride).enumerate() {
            let dst = array::value(&map, i, slot as u32).ok_or(Error::Map { errno: E2BIG })?;
            // SAFETY: both have `value_stride` bytes.
            unsafe { map::copy_value(dst, copy.as_ptr(), self.geo.value_size) };
        }
        Ok(())
    }

    /// `BPF_MAP_DELETE_ELEM`.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.check_key(key)?;
        self.may(map_flags::RDONLY)?;
        let map = self.raw();
        match map.map_type() {
            MapType::HASH
            | MapType::LRU_HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::HASH_OF_MAPS => {
                // SAFETY: key_size bytes, checked.
                errno(self.arena.with_cx(|cx| unsafe { hash::delete(&map, key.as_ptr(), cx) })?)
            }
            MapType::PROG_ARRAY | MapType::ARRAY_OF_MAPS => {
                errno(array::clear_ref(&map, index(key)))
            }
            MapType::STACK_TRACE => errno(stack::delete(&map, index(key))),
            MapType::ARRAY | MapType::PERCPU_ARRAY | MapType::QUEUE | MapType::STACK => {
                fail(EINVAL)
            }
            _ => fail(EOPNOTSUPP),
        }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    pub fn lookup_and_delete(&self, key: &[u8]) -> Result<Vec<u8>> {
        self.check_key(key)?;
        self.may(map_flags::WRONLY | map_flags::RDONLY)?;
        let map = self.raw();
        match map.map_type() {
            MapType::QUEUE | MapType::STACK => self.pop_or_peek(true),
            MapType::HASH | MapType::LRU_HASH | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => {
                let mut value = fail(ENOENT);
                // SAFETY: key_size bytes, checked.
                errno(self.arena.with_cx(|cx| unsafe {
                    hash::take(&map, key.as_ptr(), cx, |e| {
                        value = self.copy_out(|slot| map.elem_value(e, slot))
                    })
                })?)?;
                value
            }
            _ => fail(EOPNOTSUPP),
        }
    }

    fn pop_or_peek(&self, remove: bool) -> Result<Vec<u8>> {
        let (map, mut value) = (self.raw(), vec![0u8; self.geo.value_size as usize]);
        // SAFETY: value_size bytes.
        let done =
            self.arena.with_cx(|cx| unsafe { queue::pop(&map, value.as_mut_ptr(), remove, cx) })?;
        errno(done).map(|()| value)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: the key after `key`, the first for none; `ENOENT` at the end.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        if let Some(key) = key {
            self.check_key(key)?;
        }
        self.may(map_flags::WRONLY)?;
        let map = self.raw();
        match map.map_type() {
            MapType::ARRAY
            | MapType::PERCPU_ARRAY
            | MapType::PROG_ARRAY
            | MapType::PERF_EVENT_ARRAY
            | MapType::ARRAY_OF_MAPS => {
                errno(array::next_key(&map, key.map(index))).map(|i| i.to_ne_bytes().to_vec())
            }
            MapType::STACK_TRACE => {
                errno(stack::next_key(&map, key.map(index))).map(|i| i.to_ne_bytes().to_vec())
            }
            MapType::HASH
            | MapType::LRU_HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::HASH_OF_MAPS => {
                // SAFETY: null or key_size bytes, checked.
                let Elem(e) = errno(unsafe {
                    hash::next_key(&map, key.map_or(core::ptr::null(), <[u8]>::as_ptr))
                })?;
                let mut out = vec![0u8; self.geo.key_size as usize];
                // SAFETY: an element's key has key_size bytes.
                unsafe { map.elem_key(e).copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
                Ok(out)
            }
            _ => fail(EINVAL),
        }
    }

    /// Every key there is, at most as many as the map can hold: keys that come and go meanwhile may be missed or repeated.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            match self.next_key(keys.last().map(Vec::as_slice)) {
                Ok(key) if keys.len() < self.geo.max_entries.max(self.geo.mask) as usize + 1 => {
                    keys.push(key)
                }
                Ok(_) | Err(Error::Map { errno: ENOENT }) => return Ok(keys),
                Err(e) => return Err(e),
            }
        }
    }
}
