//! The same operations on the kernel's maps and on ours must give the same results: values, errors, order of checks.
//!
//! Needs bpf(2), hence root; skipped otherwise.

mod common;

use common::{Rng, arena, def};
use std::collections::BTreeSet;
use std::os::fd::{FromRawFd, OwnedFd};
use stylet_runtime::host::{Error, HostMap};
use stylet_runtime::map::{MapDef, layout, map_flags};
use stylet_runtime::sys::syscall;
use stylet_uapi::MapType;
use stylet_uapi::errno::*;

const CREATE: u64 = 0;
const LOOKUP: u64 = 1;
const UPDATE: u64 = 2;
const DELETE: u64 = 3;
const NEXT_KEY: u64 = 4;
const LOOKUP_AND_DELETE: u64 = 21;

/// `bpf(cmd, attr)` with `union bpf_attr` as words of 8 bytes.
fn bpf(cmd: u64, attr: &mut [u64; 18]) -> Result<i64, i32> {
    // SAFETY: the attribute is as long as said; what it points to is alive.
    let r =
        unsafe { syscall(321, [cmd, attr.as_mut_ptr() as u64, size_of_val(attr) as u64, 0, 0, 0]) };
    if r < 0 { Err(-r as i32) } else { Ok(r) }
}

/// A map of the kernel.
struct KernelMap {
    fd: i32,
    _owned: OwnedFd,
    key_size: usize,
    value_len: usize,
}

fn create(d: &MapDef, cpus: u32) -> Result<KernelMap, i32> {
    let mut attr = [0; 18];
    attr[0] = d.map_type as u64 | (d.key_size as u64) << 32;
    attr[1] = d.value_size as u64 | (d.max_entries as u64) << 32;
    attr[2] = d.map_flags as u64;
    let fd = bpf(CREATE, &mut attr)? as i32;
    let percpu = stylet_runtime::map::ops::is_percpu(MapType(d.map_type));
    let value = d.value_size as usize;
    Ok(KernelMap {
        fd,
        // SAFETY: a new descriptor.
        _owned: unsafe { OwnedFd::from_raw_fd(fd) },
        key_size: d.key_size as usize,
        value_len: if percpu { value.next_multiple_of(8) * cpus as usize } else { value },
    })
}

impl KernelMap {
    fn elem(&self, cmd: u64, key: Option<&[u8]>, value: *mut u8, flags: u64) -> Result<(), i32> {
        let key = key.filter(|k| !k.is_empty()).map_or(0, |k| k.as_ptr() as u64);
        let mut attr = [0; 18];
        attr[..4].copy_from_slice(&[self.fd as u64, key, value as u64, flags]);
        bpf(cmd, &mut attr).map(|_| ())
    }

    fn get(&self, cmd: u64, key: &[u8]) -> Result<Vec<u8>, i32> {
        let mut value = vec![0; self.value_len];
        self.elem(cmd, Some(key), value.as_mut_ptr(), 0).map(|()| value)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, i32> {
        let mut next = vec![0; self.key_size];
        self.elem(NEXT_KEY, key, next.as_mut_ptr(), 0).map(|()| next)
    }
}

/// Possible CPUs, or `None` and a message when bpf(2) is not to be had.
fn kernel(test: &str) -> Option<u32> {
    match create(&def(MapType::ARRAY, 4, 4, 1), 1) {
        Ok(_) => {
            let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
            text.trim().rsplit(['-', ',']).next()?.parse::<u32>().ok().map(|n| n + 1)
        }
        Err(e) => {
            eprintln!("{test}: skipped: bpf(BPF_MAP_CREATE) gives {}", name(e).unwrap_or("?"));
            None
        }
    }
}

fn plain<T>(result: Result<T, Error>) -> Result<T, i32> {
    result.map_err(|e| match e {
        Error::Map { errno } | Error::MapDef { errno } => errno,
        other => panic!("{other}"),
    })
}

fn all_keys(next: impl Fn(Option<&[u8]>) -> Result<Vec<u8>, i32>) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    let mut last = next(None);
    while let Ok(key) = last {
        last = next(Some(&key));
        assert!(keys.insert(key), "a key came twice");
    }
    assert_eq!(last, Err(ENOENT));
    keys
}

/// One random operation on both.
fn step(rng: &mut Rng, k: &KernelMap, m: &HostMap, keys: u64) -> String {
    let mut key = vec![0u8; k.key_size];
    let n = rng.below(keys) as u32;
    for (i, b) in n.to_ne_bytes().iter().enumerate().take(k.key_size) {
        key[i] = *b;
    }
    let keyed = k.key_size != 0;
    match rng.below(10) {
        0..=4 => {
            let mut value = vec![0u8; k.value_len];
            value.iter_mut().for_each(|b| *b = rng.below(256) as u8);
            let flags = [0, 0, 0, 0, 1, 2, 3, 4, 8, 1 << 32][rng.below(10) as usize];
            let theirs = k.elem(UPDATE, Some(&key), value.as_mut_ptr(), flags);
            let what = format!("update {n} flags {flags}");
            assert_eq!(plain(m.update(&key, &value, flags)), theirs, "{what}");
            what
        }
        5 | 6 => {
            let what = format!("lookup {n}");
            assert_eq!(
                plain(m.lookup(&key)).map(|v| unpadded(m, v)),
                k.get(LOOKUP, &key).map(|v| unpadded(m, v)),
                "{what}"
            );
            what
        }
        7 if keyed => {
            assert_eq!(
                plain(m.delete(&key)),
                k.elem(DELETE, Some(&key), std::ptr::null_mut(), 0),
                "delete {n}"
            );
            format!("delete {n}")
        }
        8 if keyed => {
            let (ours, theirs) =
                (all_keys(|k| plain(m.next_key(k))), all_keys(|key| k.next_key(key)));
            assert_eq!(ours, theirs);
            "keys".into()
        }
        _ => {
            let what = format!("lookup_and_delete {n}");
            let theirs = k
                .get(LOOKUP_AND_DELETE, &key)
                .map(|v| unpadded(m, v))
                .map_err(|e| if e == ENOTSUPP { EOPNOTSUPP } else { e });
            assert_eq!(plain(m.lookup_and_delete(&key)).map(|v| unpadded(m, v)), theirs, "{what}");
            what
        }
    }
}

/// A per-CPU value without what pads each CPU's part to 8 bytes: the kernel may leave anything there.
fn unpadded(m: &HostMap, value: Vec<u8>) -> Vec<u8> {
    let size = m.geo().value_size as usize;
    value.chunks(size.next_multiple_of(8)).flat_map(|c| c[..size.min(c.len())].to_vec()).collect()
}

fn compare(name: &str, d: MapDef, keys: u64) {
    let Some(cpus) = kernel(name) else { return };
    let a = arena(cpus);
    for seed in 1..=4 {
        let k = create(&d, cpus).unwrap();
        let m = a.map(a.add_map(&d).unwrap()).unwrap();
        assert_eq!(m.value_len(), k.value_len);
        let mut rng = Rng(0x9e37_79b9 * seed);
        let mut trail = Vec::new();
        for _ in 0..2000 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                step(&mut rng, &k, &m, keys)
            }));
            match done {
                Ok(what) => trail.push(what),
                Err(e) => {
                    eprintln!("{name}: after {:?}", &trail[trail.len().saturating_sub(8)..]);
                    std::panic::resume_unwind(e);
                }
            }
        }
    }
}

macro_rules! same {
    ($($test:ident: $map_type:ident, key $key:literal, value $value:literal, entries $entries:literal, keys $keys:literal;)*) => {
        $(#[test] fn $test() { compare(stringify!($test), def(MapType::$map_type, $key, $value, $entries), $keys) })*
    };
}

same! {
    array: ARRAY, key 4, value 12, entries 10, keys 13;
    percpu_array: PERCPU_ARRAY, key 4, value 12, entries 10, keys 13;
    hash_full: HASH, key 4, value 8, entries 20, keys 40;
    hash_8: HASH, key 8, value 24, entries 64, keys 60;
    hash_odd: HASH, key 5, value 3, entries 33, keys 50;
    hash_one: HASH, key 16, value 8, entries 1, keys 3;
    percpu_hash: PERCPU_HASH, key 4, value 8, entries 20, keys 40;
    percpu_hash_odd: PERCPU_HASH, key 12, value 5, entries 9, keys 12;
    lru_hash: LRU_HASH, key 4, value 8, entries 1024, keys 16;
    lru_percpu_hash: LRU_PERCPU_HASH, key 4, value 8, entries 1024, keys 16;
    queue: QUEUE, key 0, value 12, entries 7, keys 1;
    stack: STACK, key 0, value 12, entries 7, keys 1;
}

/// Definitions are refused with the kernel's errno.
#[test]
fn definitions() {
    let Some(cpus) = kernel("definitions") else { return };
    let types = [
        MapType::ARRAY,
        MapType::PERCPU_ARRAY,
        MapType::HASH,
        MapType::PERCPU_HASH,
        MapType::LRU_HASH,
        MapType::LRU_PERCPU_HASH,
        MapType::QUEUE,
        MapType::STACK,
        MapType::STACK_TRACE,
        MapType::RINGBUF,
        MapType::PROG_ARRAY,
        MapType::PERF_EVENT_ARRAY,
    ];
    let mut wrong = Vec::new();
    let mut rng = Rng(42);
    for map_type in types {
        for _ in 0..400 {
            let key_size = [0, 1, 4, 8, 512, 513][rng.below(6) as usize];
            let value_size = [0, 1, 4, 8, 12, 1016, 1024, 40000][rng.below(8) as usize];
            let max_entries = [0, 1, 3, 4096, 5000][rng.below(5) as usize];
            let flag = 1u32 << rng.below(13);
            let map_flags = [0, flag, flag | 1 << rng.below(13)][rng.below(3) as usize];
            // A NUMA node, an inode or a page-aligned size would have to be given as well.
            let map_flags = map_flags & !map_flags::NUMA_NODE;
            let d = MapDef { map_flags, ..def(map_type, key_size, value_size, max_entries) };
            let theirs = create(&d, cpus).map(|_| ());
            let ours = layout(&d, cpus).map(|_| ());
            if ours != theirs && ours != Err(EOPNOTSUPP) {
                wrong.push(format!("{d:?}: ours {ours:?}, kernel {theirs:?}"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}
