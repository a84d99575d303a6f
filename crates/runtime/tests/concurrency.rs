//! Threads that share maps, and processes that are killed in the middle of changing them.

mod common;

use common::{Rng, addr, arena, call_held, call_in, def, ptr};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::collections::BTreeSet;
use std::time::Duration;
use stylet_runtime::abi::RunCtx;
use stylet_runtime::host::{Arena, MapId, RingReader};
use stylet_runtime::map::{BPF_ANY, BPF_NOEXIST};
use stylet_runtime::sys::syscall;
use stylet_runtime::{slot_enter, slot_leave};
use stylet_uapi::MapType;
use stylet_uapi::errno::*;

const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;

/// Calls again while the answer is `-EBUSY`: a lock's owner may be off the CPU for longer than anyone waits.
fn patient(rc: &mut RunCtx, id: u32, args: [u64; 5]) -> i64 {
    (0..1000)
        .map(|_| call_held(rc, id, args))
        .find(|&r| r != -EBUSY as i64)
        .unwrap_or(-EBUSY as i64)
}

/// Every thread finds its own keys whatever the others do, and nothing is lost in the end.
fn hammer(map_type: MapType) {
    const THREADS: u64 = 4;
    const KEYS: u64 = 16;
    let a = arena(8);
    let id = a.add_map(&def(map_type, 8, 8, (THREADS * KEYS) as u32)).unwrap();
    let map = addr(&a, id);
    std::thread::scope(|s| {
        for t in 0..THREADS {
            let a = &a;
            s.spawn(move || {
                let mut rng = Rng(t + 1);
                let mut present = BTreeSet::new();
                for round in 0..20_000u64 {
                    let key = t * KEYS + rng.below(KEYS);
                    let mut rc = a.run_ctx();
                    // SAFETY: an arena of this process.
                    while unsafe { slot_enter(&mut rc) } < 0 {
                        std::thread::yield_now();
                    }
                    let value = round << 8 | key;
                    if rng.below(3) == 0 {
                        let want = if present.remove(&key) { 0 } else { -ENOENT as i64 };
                        assert_eq!(patient(&mut rc, DELETE, [map, ptr(&key), 0, 0, 0]), want);
                    } else {
                        let r = patient(&mut rc, UPDATE, [map, ptr(&key), ptr(&value), BPF_ANY, 0]);
                        assert_eq!(r, 0, "key {key}");
                        present.insert(key);
                    }
                    let found = call_held(&mut rc, LOOKUP, [map, ptr(&key), 0, 0, 0]);
                    assert_eq!(found != 0, present.contains(&key), "key {key}");
                    // SAFETY: as above.
                    unsafe { slot_leave(&mut rc) };
                }
                for key in present {
                    assert_eq!(call_in(&mut a.run_ctx(), DELETE, [map, ptr(&key), 0, 0, 0]), 0);
                }
            });
        }
    });
    assert_capacity(&a, id, (THREADS * KEYS) as usize);
}

/// The map is empty, takes exactly `n` entries, and gives them all back.
fn assert_capacity(a: &Arena, id: MapId, n: usize) {
    let m = a.map(id).unwrap();
    assert_eq!(m.keys().unwrap().len(), 0);
    let value = vec![1; m.value_len()];
    let key = |i: usize| (1000 + i as u64).to_ne_bytes();
    for i in 0..n {
        assert_eq!(m.update(&key(i), &value, BPF_NOEXIST), Ok(()), "entry {i} of {n}");
    }
    assert_eq!(m.update(&key(n), &value, BPF_NOEXIST), common::errno(E2BIG));
    for i in 0..n {
        assert_eq!(m.delete(&key(i)), Ok(()), "entry {i} of {n}");
    }
}

#[test]
fn threads_share_a_hash() {
    hammer(MapType::HASH);
}

#[test]
fn threads_share_a_percpu_hash() {
    hammer(MapType::PERCPU_HASH);
}

/// Readers only ever see whole values, though elements are replaced and reused all the time.
#[test]
fn values_are_whole() {
    let a = arena(8);
    let id = a.add_map(&def(MapType::HASH, 4, 8, 4)).unwrap();
    let map = addr(&a, id);
    let whole = |v: u64| v >> 32 == v & 0xffff_ffff;
    std::thread::scope(|s| {
        for t in 0..3u64 {
            let a = &a;
            s.spawn(move || {
                for i in 0..20_000u64 {
                    let (key, value) = ((i % 5) as u32, (i << 2 | t) << 32 | i << 2 | t);
                    let mut rc = a.run_ctx();
                    if t != 0 {
                        call_in(&mut rc, UPDATE, [map, ptr(&key), ptr(&value), BPF_ANY, 0]);
                    }
                    let found = call_in(&mut rc, LOOKUP, [map, ptr(&key), 0, 0, 0]);
                    if found != 0 {
                        // SAFETY: the address of a value.
                        let v = unsafe { (found as *const u64).read_volatile() };
                        assert!(whole(v), "{v:#x}");
                    }
                }
            });
        }
    });
}

/// Runs `work` in a forked child, for ever; kills it after `delay`. `work` must not allocate.
fn killed(delay: Duration, mut work: impl FnMut(u64)) {
    // SAFETY: the child calls nothing but `work` and is killed.
    let pid = unsafe { syscall(57, [0; 6]) };
    if pid == 0 {
        let mut i = 0;
        loop {
            work(i);
            i += 1;
        }
    }
    let pid = Pid::from_raw(pid as i32).unwrap();
    std::thread::sleep(delay);
    kill_process(pid, Signal::KILL).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
}

/// Repairs after every process but this one.
fn repair_others(a: &Arena) -> stylet_runtime::host::Repaired {
    let mut all = stylet_runtime::host::Repaired::default();
    for (index, pid) in a.processes() {
        if pid != std::process::id() {
            let r = a.repair(index);
            all.slots += r.slots;
            all.locks += r.locks;
            all.elements += r.elements;
            all.records += r.records;
        }
    }
    all
}

/// Kills a process that changes a hash again and again; every time the map must be whole afterwards.
fn kill_in_hash(map_type: MapType) {
    const ENTRIES: u64 = 8;
    let a = arena(4);
    let id = a.add_map(&def(map_type, 8, 8, ENTRIES as u32)).unwrap();
    let map = addr(&a, id);
    let mut total = (0, 0);
    for round in 0..60u64 {
        killed(Duration::from_micros(300 + 37 * round), |i| {
            let key = i.wrapping_mul(0x9e37_79b9) >> 3 & 15;
            let mut rc = a.run_ctx();
            let id = if i % 3 == 0 { DELETE } else { UPDATE };
            call_in(&mut rc, id, [map, ptr(&key), ptr(&i), BPF_ANY, 0]);
        });
        let r = repair_others(&a);
        total = (total.0 + r.locks, total.1 + r.elements);
        let m = a.map(id).unwrap();
        for key in m.keys().unwrap() {
            assert_eq!(m.delete(&key), Ok(()), "round {round}, {r:?}");
        }
        assert_eq!(a.processes().iter().filter(|p| p.1 != std::process::id()).count(), 0);
        if map_type != MapType::LRU_HASH {
            assert_capacity(&a, id, ENTRIES as usize);
        }
    }
    eprintln!(
        "{map_type:?}: {} locks broken, {} elements given back in 60 rounds",
        total.0, total.1
    );
}

#[test]
fn killed_in_hash() {
    kill_in_hash(MapType::HASH);
}

#[test]
fn killed_in_percpu_hash() {
    kill_in_hash(MapType::PERCPU_HASH);
}

#[test]
fn killed_in_lru_hash() {
    kill_in_hash(MapType::LRU_HASH);
}

/// Records of a killed process are discarded; the ring goes on.
#[test]
fn killed_in_ringbuf() {
    let a = arena(4);
    let id = a.add_map(&def(MapType::RINGBUF, 0, 0, 4096)).unwrap();
    let map = addr(&a, id);
    let mut reader = RingReader::new(&a, &a.map(id).unwrap()).unwrap();
    for round in 0..40u64 {
        killed(Duration::from_micros(300 + 53 * round), |i| {
            let mut rc = a.run_ctx();
            let at = call_in(&mut rc, 131, [map, 8 + i % 40, 0, 0, 0]);
            if at != 0 {
                call_in(&mut rc, if i % 5 == 0 { 133 } else { 132 }, [at as u64, 0, 0, 0, 0]);
            }
        });
        repair_others(&a);
        while let Some(record) = reader.next_record().unwrap() {
            assert!((8..48).contains(&record.data.len()));
        }
        let sent = round.to_ne_bytes();
        assert_eq!(call_in(&mut a.run_ctx(), 130, [map, ptr(&sent), 8, 0, 0]), 0, "round {round}");
        assert_eq!(
            reader.next_record().unwrap().map(|r| r.data),
            Some(sent.to_vec()),
            "round {round}"
        );
        assert_eq!(reader.next_record(), Ok(None));
    }
}

/// Every record that threads sent arrives once and whole, or is counted as lost.
#[test]
fn threads_share_a_ringbuf() {
    const EACH: u64 = 5000;
    let a = arena(8);
    let id = a.add_map(&def(MapType::RINGBUF, 0, 0, 8192)).unwrap();
    let map = addr(&a, id);
    let mut reader = RingReader::new(&a, &a.map(id).unwrap()).unwrap();
    let sending = std::sync::atomic::AtomicU64::new(3);
    let mut seen = 0;
    let sent: u64 = std::thread::scope(|s| {
        let senders: Vec<_> = (0..3u64)
            .map(|t| {
                let (a, sending) = (&a, &sending);
                s.spawn(move || {
                    let mut sent = 0;
                    for i in 0..EACH {
                        let words = [t, i, t ^ i, i % 7, 5, 6, 7, 8];
                        let len = 32 + 8 * (i % 5);
                        sent += (call_in(&mut a.run_ctx(), 130, [map, ptr(&words), len, 0, 0]) == 0)
                            as u64;
                    }
                    sending.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    sent
                })
            })
            .collect();
        let mut last = [None; 3];
        loop {
            let done = sending.load(std::sync::atomic::Ordering::SeqCst) == 0;
            while let Some(r) = reader.next_record().unwrap() {
                let word =
                    |i: usize| u64::from_ne_bytes(r.data[8 * i..8 * i + 8].try_into().unwrap());
                let (t, i) = (word(0), word(1));
                assert_eq!(
                    (word(2), word(3), r.data.len() as u64),
                    (t ^ i, i % 7, 32 + 8 * (i % 5))
                );
                assert!(last[t as usize] < Some(i), "order of thread {t}");
                last[t as usize] = Some(i);
                seen += 1;
            }
            if done {
                break;
            }
            a.wait(Duration::from_millis(20), || reader.pending()).unwrap();
        }
        senders.into_iter().map(|s| s.join().unwrap()).sum()
    });
    assert_eq!(seen, sent);
    assert_eq!(sent + reader.lost(), 3 * EACH);
}
