//! Elements of maps: single and in batches.
//!
//! Every function checks that its buffers are as long as what the kernel reads and writes (`bpf_map_value_size`,
//! kernel/bpf/syscall.c); one that is not is EINVAL without a call.

use std::os::fd::{AsFd, AsRawFd};

use stylet_uapi::{Cmd, MapType, flags::update_flags};

use super::attr::{MapBatchAttr, MapElemAttr};
use super::{Errno, MapFd, bpf, possible_cpus};

impl MapFd {
    /// Whether an element has a value for each CPU.
    pub fn is_percpu(&self) -> bool {
        matches!(
            self.map_type(),
            MapType::PERCPU_HASH
                | MapType::PERCPU_ARRAY
                | MapType::LRU_PERCPU_HASH
                | MapType::PERCPU_CGROUP_STORAGE
        )
    }

    /// Bytes of an element's value as system calls see it: of all CPUs, each rounded up to 8 bytes; a descriptor or an id
    /// for maps of maps, programs and events.
    pub fn elem_size(&self) -> Result<usize, Errno> {
        let size = self.value_size() as usize;
        Ok(match self.map_type() {
            _ if self.is_percpu() => size.next_multiple_of(8) * possible_cpus()?,
            MapType::PROG_ARRAY
            | MapType::PERF_EVENT_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS => 4,
            _ => size,
        })
    }

    /// `BPF_MAP_LOOKUP_ELEM` into `value` of [`elem_size`](MapFd::elem_size) bytes. A Bloom filter reads `value` instead.
    pub fn lookup_elem(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let mut attr = self.elem(key, Some(value.len()), flags)?;
        attr.value = value.as_mut_ptr() as u64;
        // SAFETY: key and value are as long as the kernel takes them to be.
        unsafe { bpf(Cmd::MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: as [`lookup_elem`](MapFd::lookup_elem), and removes the element.
    pub fn lookup_and_delete_elem(
        &self,
        key: &[u8],
        value: &mut [u8],
        flags: u64,
    ) -> Result<(), Errno> {
        let mut attr = self.elem(key, Some(value.len()), flags)?;
        attr.value = value.as_mut_ptr() as u64;
        // SAFETY: as in `lookup_elem`.
        unsafe { bpf(Cmd::MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_UPDATE_ELEM`; with `BPF_F_ALL_CPUS` or `BPF_F_CPU` a per-CPU map takes one CPU's value.
    pub fn update_elem(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let mut attr = self.elem(key, Some(value.len()), flags)?;
        attr.value = value.as_ptr() as u64;
        // SAFETY: key and value are as long as the kernel takes them to be; it only reads them.
        unsafe { bpf(Cmd::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_DELETE_ELEM`
    pub fn delete_elem(&self, key: &[u8]) -> Result<(), Errno> {
        let mut attr = self.elem(key, None, 0)?;
        // SAFETY: the key is as long as the kernel takes it to be.
        unsafe { bpf(Cmd::MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: the key after `key`, or the first, into `next`.
    pub fn get_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if next.len() != self.key_size() as usize {
            return Err(Errno(libc::EINVAL));
        }
        let mut attr = match key {
            Some(key) => self.elem(key, None, 0)?,
            None => MapElemAttr { map_fd: self.raw(), ..MapElemAttr::default() },
        };
        attr.value = next.as_mut_ptr() as u64;
        // SAFETY: both keys are as long as the kernel takes them to be.
        unsafe { bpf(Cmd::MAP_GET_NEXT_KEY, &mut attr) }.map(drop)
    }

    fn raw(&self) -> u32 {
        self.as_fd().as_raw_fd() as u32
    }

    /// The attribute without `value`, after a look at the lengths.
    fn elem(&self, key: &[u8], value_len: Option<usize>, flags: u64) -> Result<MapElemAttr, Errno> {
        let one_cpu = flags & (update_flags::CPU | update_flags::ALL_CPUS) != 0;
        if let Some(len) = value_len {
            // Releases that do not know the flag of one CPU refuse it before they look at the value.
            let needed = if self.is_percpu() && one_cpu {
                (self.value_size() as usize).next_multiple_of(8)
            } else {
                self.elem_size()?
            };
            if len < needed {
                return Err(Errno(libc::EINVAL));
            }
        }
        if key.len() != self.key_size() as usize {
            return Err(Errno(libc::EINVAL));
        }
        // Maps without keys want a null pointer (`__bpf_copy_key`).
        let key = if key.is_empty() { 0 } else { key.as_ptr() as u64 };
        Ok(MapElemAttr { map_fd: self.raw(), key, flags, ..MapElemAttr::default() })
    }
}

/// Which command a [`MapFd::read_batch`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBatch {
    /// `BPF_MAP_LOOKUP_BATCH`
    Lookup,
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`
    LookupAndDelete,
}

impl MapFd {
    /// Bytes of the cursor of [`read_batch`](MapFd::read_batch): a key, or the bucket number of a hash.
    pub fn cursor_size(&self) -> usize {
        (self.key_size() as usize).max(4)
    }

    /// Reads up to `count` elements into `keys` and `values`, from the cursor `from` (`None`: the start); writes the next
    /// cursor to `next`. Returns how many were read, and ENOENT once there are no more.
    pub fn read_batch(
        &self,
        which: ReadBatch,
        (from, next): (Option<&[u8]>, &mut [u8]),
        (keys, values): (&mut [u8], &mut [u8]),
        count: u32,
        elem_flags: u64,
    ) -> (u32, Result<(), Errno>) {
        let cursor = self.cursor_size();
        if from.is_some_and(|from| from.len() < cursor)
            || next.len() < cursor
            || self.check_batch(keys.len(), Some(values.len()), count).is_err()
        {
            return (0, Err(Errno(libc::EINVAL)));
        }
        let mut attr = MapBatchAttr {
            in_batch: from.map_or(0, |from| from.as_ptr() as u64),
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count,
            map_fd: self.raw(),
            elem_flags,
            flags: 0,
        };
        let cmd = match which {
            ReadBatch::Lookup => Cmd::MAP_LOOKUP_BATCH,
            ReadBatch::LookupAndDelete => Cmd::MAP_LOOKUP_AND_DELETE_BATCH,
        };
        // SAFETY: `count` keys and values fit, and both cursors hold a key as well as a bucket number.
        let result = unsafe { bpf(cmd, &mut attr) }.map(drop);
        batch_result(&attr, count, result)
    }

    /// `BPF_MAP_UPDATE_BATCH` of `count` elements. Returns how many were done.
    pub fn update_batch(
        &self,
        keys: &[u8],
        values: &[u8],
        count: u32,
        elem_flags: u64,
    ) -> (u32, Result<(), Errno>) {
        if let Err(errno) = self.check_batch(keys.len(), Some(values.len()), count) {
            return (0, Err(errno));
        }
        let mut attr = MapBatchAttr {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count,
            map_fd: self.raw(),
            elem_flags,
            ..MapBatchAttr::default()
        };
        // SAFETY: there are `count` keys and values; the kernel only reads them.
        let result = unsafe { bpf(Cmd::MAP_UPDATE_BATCH, &mut attr) }.map(drop);
        batch_result(&attr, count, result)
    }

    /// `BPF_MAP_DELETE_BATCH` of `count` elements. Returns how many were done.
    pub fn delete_batch(&self, keys: &[u8], count: u32) -> (u32, Result<(), Errno>) {
        if let Err(errno) = self.check_batch(keys.len(), None, count) {
            return (0, Err(errno));
        }
        let mut attr = MapBatchAttr {
            keys: keys.as_ptr() as u64,
            count,
            map_fd: self.raw(),
            ..MapBatchAttr::default()
        };
        // SAFETY: there are `count` keys; the kernel only reads them.
        let result = unsafe { bpf(Cmd::MAP_DELETE_BATCH, &mut attr) }.map(drop);
        batch_result(&attr, count, result)
    }

    fn check_batch(&self, keys: usize, values: Option<usize>, count: u32) -> Result<(), Errno> {
        let fits = |len: usize, size: usize| {
            (count as usize).checked_mul(size).is_some_and(|need| need <= len)
        };
        let size = self.elem_size()?;
        let ok = fits(keys, self.key_size() as usize) && values.is_none_or(|len| fits(len, size));
        if ok { Ok(()) } else { Err(Errno(libc::EINVAL)) }
    }
}

/// How many elements a batch command did. On EFAULT, and where the command is unknown, `count` is still what was asked for.
fn batch_result(
    attr: &MapBatchAttr,
    asked: u32,
    result: Result<(), Errno>,
) -> (u32, Result<(), Errno>) {
    match result {
        Ok(()) => (attr.count.min(asked), result),
        Err(Errno(libc::ENOENT)) | Err(Errno(libc::ENOSPC)) => (attr.count.min(asked), result),
        Err(_) if attr.count < asked => (attr.count, result),
        Err(_) => (0, result),
    }
}
