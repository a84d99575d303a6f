//! Elements of maps of every type, on this machine's kernel. Without the rights for it, tests say so and pass.

mod helpers;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use helpers::{kernel, load_object};
use stylet_kernel::sys::{self, MapCreate, MapFd};
use stylet_kernel::{Entry, Error, Map};
use stylet_uapi::MapType;
use stylet_uapi::flags::{map_flags, update_flags};

fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    create(&MapCreate { map_type, key_size, value_size, max_entries, ..MapCreate::default() })
}

fn create(map: &MapCreate<'_>) -> Map {
    let fd = MapFd::create(&MapCreate { name: "test", ..*map }).unwrap();
    Map::from_fd(fd.into()).unwrap()
}

fn key(n: u32) -> Vec<u8> {
    n.to_ne_bytes().to_vec()
}

fn entry(n: u32) -> Entry {
    (key(n), (u64::from(n) * 3).to_ne_bytes().to_vec())
}

fn errno(error: &Error) -> Option<&'static str> {
    error.errno().and_then(|errno| errno.name())
}

#[test]
fn hashes_by_element_and_by_batch() {
    if kernel().is_none() {
        return;
    }
    for map_type in [MapType::HASH, MapType::LRU_HASH] {
        let map = map(map_type, 4, 8, 2000);
        let entries: Vec<Entry> = (0..1000).map(entry).collect();
        map.update_batch(&entries, 0).unwrap();
        let found: BTreeMap<_, _> = map.entries().unwrap().into_iter().collect();
        assert_eq!(found, entries.iter().cloned().collect(), "{map_type}");
        assert_eq!(map.keys().unwrap().len(), 1000);
        assert_eq!(map.lookup(&key(7), 0).unwrap(), Some(entry(7).1));
        assert_eq!(map.lookup(&key(1000), 0).unwrap(), None);
        // Every second one, and some that are not there.
        let keys: Vec<_> = (0..1100).step_by(2).map(key).collect();
        assert_eq!(map.delete_batch(&keys).unwrap(), 500);
        assert!(map.delete(&key(1)).unwrap());
        assert!(!map.delete(&key(1)).unwrap());
        assert_eq!(map.lookup_and_delete(&key(3), 0).unwrap(), Some(entry(3).1));
        assert_eq!(map.lookup(&key(3), 0).unwrap(), None);
        let drained = map.drain().unwrap();
        assert_eq!(drained.len(), 498);
        assert_eq!(map.next_key(None).unwrap(), None);
    }
}

#[test]
fn flags_and_limits_are_the_kernels() {
    if kernel().is_none() {
        return;
    }
    let map = map(MapType::HASH, 4, 8, 2);
    let (k, v) = entry(1);
    assert_eq!(errno(&map.update(&k, &v, update_flags::EXIST).unwrap_err()), Some("ENOENT"));
    map.update(&k, &v, update_flags::NOEXIST).unwrap();
    assert_eq!(errno(&map.update(&k, &v, update_flags::NOEXIST).unwrap_err()), Some("EEXIST"));
    let (done, error) = map.update_batch(&[entry(2), entry(3), entry(4)], 0).unwrap_err();
    assert_eq!((done, errno(&error)), (1, Some("E2BIG")));
    for error in [
        map.update(&k[..3], &v, 0).unwrap_err(),
        map.update(&k, &v[..7], 0).unwrap_err(),
        map.lookup(&[0; 5], 0).unwrap_err(),
        map.delete_batch(&[vec![0; 5]]).unwrap_err(),
        map.update_batch(&[(k.clone(), vec![0; 9])], 0).unwrap_err().1,
    ] {
        assert!(matches!(error, Error::MapUse { errno: None, .. }), "{error}");
    }
    let array = self::map(MapType::ARRAY, 4, 8, 4);
    let error = array.delete(&key(0)).unwrap_err();
    assert!(matches!(error, Error::MapUse { .. }), "{error}");
    assert_eq!(errno(&error), Some("EINVAL"));
    assert_eq!(array.entries().unwrap().len(), 4);
    assert_eq!(errno(&array.update(&key(4), &v, 0).unwrap_err()), Some("E2BIG"));
}

#[test]
fn a_value_for_each_cpu() {
    if kernel().is_none() {
        return;
    }
    let cpus = sys::possible_cpus().unwrap();
    for map_type in [MapType::PERCPU_HASH, MapType::PERCPU_ARRAY, MapType::LRU_PERCPU_HASH] {
        // Not a multiple of 8 bytes: the kernel's rounding must not show.
        let map = map(map_type, 4, 12, 100);
        let values = |n: u32| -> Vec<Vec<u8>> {
            (0..cpus)
                .map(|cpu| [n, cpu as u32, !n].iter().flat_map(|w| w.to_ne_bytes()).collect())
                .collect()
        };
        for n in 0..100 {
            map.update_percpu(&key(n), &values(n), 0).unwrap();
        }
        assert_eq!(map.lookup_percpu(&key(42), 0).unwrap(), Some(values(42)), "{map_type}");
        let entries = map.entries().unwrap();
        for (k, value) in &entries {
            let n = u32::from_ne_bytes(k.as_slice().try_into().unwrap());
            assert_eq!(map.split_percpu(value), values(n), "{map_type}");
        }
        assert_eq!(entries.len(), 100);
        let short = map.update_percpu(&key(0), &values(0)[..cpus - 1], 0).unwrap_err();
        assert!(matches!(short, Error::MapUse { errno: None, .. }), "{short}");
    }
}

#[test]
fn queues_stacks_and_bloom_filters() {
    if kernel().is_none() {
        return;
    }
    for (map_type, first, second) in [(MapType::QUEUE, 1_u32, 2_u32), (MapType::STACK, 3, 2)] {
        let map = map(map_type, 0, 4, 3);
        for n in 1..=3_u32 {
            map.update(&[], &key(n), 0).unwrap();
        }
        assert_eq!(errno(&map.update(&[], &key(4), 0).unwrap_err()), Some("E2BIG"));
        assert_eq!(map.lookup(&[], 0).unwrap(), Some(key(first)));
        assert_eq!(map.lookup_and_delete(&[], 0).unwrap(), Some(key(first)));
        assert_eq!(map.lookup(&[], 0).unwrap(), Some(key(second)));
        assert_eq!(map.drain().unwrap().len(), 2);
        assert_eq!(map.lookup(&[], 0).unwrap(), None);
        assert!(matches!(map.keys().unwrap_err(), Error::MapUse { .. }));
    }
    let bloom = map(MapType::BLOOM_FILTER, 0, 4, 100);
    bloom.update(&[], &key(5), 0).unwrap();
    assert!(bloom.contains(&key(5)).unwrap());
    assert!((1000..1100).filter(|n| bloom.contains(&key(*n)).unwrap()).count() < 50);
    assert!(matches!(map(MapType::HASH, 4, 4, 1).contains(&key(5)), Err(Error::MapUse { .. })));
}

#[test]
fn prefixes() {
    if kernel().is_none() {
        return;
    }
    let map_flags = map_flags::NO_PREALLOC;
    let (map_type, key_size, value_size, max_entries) = (MapType::LPM_TRIE, 8, 4, 10);
    let map = create(&MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries,
        map_flags,
        ..MapCreate::default()
    });
    let prefix = |len: u32, ip: [u8; 4]| [len.to_ne_bytes(), ip].concat();
    map.update_batch(
        &[(prefix(8, [10, 0, 0, 0]), key(8)), (prefix(16, [10, 1, 0, 0]), key(16))],
        0,
    )
    .unwrap();
    assert_eq!(map.lookup(&prefix(32, [10, 1, 2, 3]), 0).unwrap(), Some(key(16)));
    assert_eq!(map.lookup(&prefix(32, [10, 2, 2, 3]), 0).unwrap(), Some(key(8)));
    assert_eq!(map.lookup(&prefix(32, [11, 2, 2, 3]), 0).unwrap(), None);
    assert_eq!(map.entries().unwrap().len(), 2);
}

#[test]
fn maps_of_maps_and_programs_give_ids() {
    let Some(kernel) = kernel() else { return };
    let inner = map(MapType::ARRAY, 4, 4, 1);
    let id = sys::map_info(inner.as_fd()).unwrap().id;
    for map_type in [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
        let outer = create(&MapCreate {
            map_type,
            key_size: 4,
            value_size: 4,
            max_entries: 2,
            inner: Some(inner.as_fd()),
            ..MapCreate::default()
        });
        outer.update_fd(&key(0), inner.as_fd()).unwrap();
        assert_eq!(outer.lookup(&key(0), 0).unwrap(), Some(key(id)), "{map_type}");
        assert_eq!(outer.entries().unwrap(), [(key(0), key(id))], "{map_type}");
        assert!(outer.delete(&key(0)).unwrap());
        assert_eq!(outer.entries().unwrap(), []);
    }
    let loaded = load_object(&kernel, "raw_tp", &[], &["raw"]);
    let prog = &loaded.progs[0];
    let progs = map(MapType::PROG_ARRAY, 4, 4, 2);
    progs.update_fd(&key(1), prog.as_fd()).unwrap();
    let id = sys::prog_info(prog.as_fd()).unwrap().id;
    assert_eq!(progs.lookup(&key(1), 0).unwrap(), Some(key(id)));
    assert_eq!(progs.lookup(&key(0), 0).unwrap(), None);
    let wrong = progs.update_fd(&key(0), inner.as_fd()).unwrap_err();
    assert_eq!(wrong.name(), Some("EINVAL"));
}

#[test]
fn what_cannot_be_read_says_so() {
    if kernel().is_none() {
        return;
    }
    let page = 4096;
    for (map_type, key_size, value_size, max_entries) in [
        (MapType::RINGBUF, 0, 0, page),
        (MapType::USER_RINGBUF, 0, 0, page),
        (MapType::PERF_EVENT_ARRAY, 4, 4, 4),
        (MapType::CGROUP_ARRAY, 4, 4, 4),
    ] {
        let map = map(map_type, key_size, value_size, max_entries);
        let error = map.lookup(&vec![0; key_size as usize], 0).unwrap_err();
        assert!(matches!(error, Error::MapUse { errno: Some(_), .. }), "{error}");
    }
    for (map_type, value_size) in [
        (MapType::DEVMAP, 4),
        (MapType::DEVMAP_HASH, 4),
        (MapType::CPUMAP, 4),
        (MapType::SOCKHASH, 8),
        (MapType::XSKMAP, 4),
    ] {
        let map = map(map_type, 4, value_size, 4);
        assert_eq!(
            map.next_key(None).map(|key| key.is_some()).unwrap_or(false),
            map_type != MapType::DEVMAP_HASH && map_type != MapType::SOCKHASH,
            "{map_type}"
        );
        assert_eq!(map.lookup(&key(0), 0).ok().flatten(), None, "{map_type}");
    }
}

#[test]
fn frozen() {
    if kernel().is_none() {
        return;
    }
    let map = map(MapType::ARRAY, 4, 8, 1);
    map.update(&key(0), &entry(5).1, 0).unwrap();
    map.freeze().unwrap();
    let error = map.update(&key(0), &entry(6).1, 0).unwrap_err();
    assert!(matches!(error, Error::MapUse { .. }), "{error}");
    assert_eq!(errno(&error), Some("EPERM"));
    assert_eq!(map.lookup(&key(0), 0).unwrap(), Some(entry(5).1));
    // EBUSY or EPERM, by release.
    assert!(matches!(map.freeze(), Err(Error::MapUse { errno: Some(_), .. })));
}

#[test]
fn local_storage_by_descriptor() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "storage", &[], &["stack"]);
    let pidfd = helpers::pidfd(std::process::id());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (name, fd) in
        [("tasks", pidfd.as_fd()), ("sockets", socket.as_fd()), ("files", file.as_fd())]
    {
        let map = loaded.map(name).unwrap();
        let key = fd.as_raw_fd().to_ne_bytes();
        assert_eq!(map.lookup(&key, 0).unwrap(), None, "{name}");
        map.update(&key, &77_u64.to_ne_bytes(), 0).unwrap();
        assert_eq!(map.lookup(&key, 0).unwrap(), Some(77_u64.to_ne_bytes().to_vec()), "{name}");
        assert!(map.delete(&key).unwrap());
        assert_eq!(map.lookup(&key, 0).unwrap(), None, "{name}");
        assert!(matches!(map.keys(), Err(Error::MapUse { .. })), "{name}");
    }
}
