//! The tracer survives whatever a traced process writes into the arena: no panic, no endless loop, no access outside.

mod common;

use common::{Rng, addr, arena, call, def, ptr};
use stylet_runtime::abi::DATA_OFF;
use stylet_runtime::control::{PROCS_OFF, SLOTS_OFF};
use stylet_runtime::host::RingReader;
use stylet_runtime::map::{BPF_ANY, MapDef, SUPPORTED_MAP_TYPES, layout};
use stylet_uapi::MapType;

/// A definition that is good for the type.
fn good(map_type: MapType) -> MapDef {
    match map_type {
        MapType::RINGBUF => def(map_type, 0, 0, 4096),
        MapType::QUEUE | MapType::STACK => def(map_type, 0, 8, 16),
        MapType::PROG_ARRAY
        | MapType::PERF_EVENT_ARRAY
        | MapType::ARRAY_OF_MAPS
        | MapType::HASH_OF_MAPS => MapDef { perf_ring: 4096, ..def(map_type, 4, 4, 16) },
        _ => def(map_type, 4, 8, 16),
    }
}

#[test]
fn every_supported_type_can_be_created() {
    for &map_type in SUPPORTED_MAP_TYPES {
        assert!(layout(&good(map_type), 4).is_ok(), "{map_type:?}");
    }
}

#[test]
fn random_words_anywhere() {
    let mut rng = Rng(99);
    for round in 0..12 {
        for &map_type in SUPPORTED_MAP_TYPES {
            let a = arena(3);
            let id = a.add_map(&good(map_type)).unwrap();
            let m = a.map(id).unwrap();
            let key = |i: u32| i.to_ne_bytes()[..m.geo().key_size as usize].to_vec();
            let value = vec![1; m.value_len()];
            for i in 0..16 {
                let _ = m.update(&key(i), &value, BPF_ANY);
            }
            if map_type == MapType::RINGBUF {
                call(&a, 130, [addr(&a, id), ptr(b"record"), 6, 0, 0]);
            }
            for _ in 0..8 {
                for _ in 0..40 {
                    let (start, len) = [
                        (m.offset(), m.geo().size as u64),
                        (m.offset(), 1024),
                        (DATA_OFF, 256),
                        (SLOTS_OFF, 256),
                        (PROCS_OFF, 64),
                    ][rng.below(5) as usize];
                    let word = [
                        0,
                        1,
                        5,
                        17,
                        0x8000_0000,
                        0x8000_0003,
                        u32::MAX,
                        rng.below(1 << 32) as u32,
                    ];
                    let off = start + rng.below(len / 4) * 4;
                    a.write(off, &word[rng.below(8) as usize].to_ne_bytes()).unwrap();
                }
                for i in 0..16 {
                    let _ = m.lookup(&key(i));
                    let _ = m.delete(&key(i + 3));
                    let _ = m.lookup_and_delete(&key(i + 5));
                }
                let _ = m.update(&key(round), &value, BPF_ANY);
                let _ = m.keys();
                if let Ok(mut reader) = RingReader::new(&a, &m) {
                    (0..100).for_each(|_| drop(reader.next_record()));
                }
                let mut printk = RingReader::printk(&a);
                (0..10).for_each(|_| drop(printk.next_record()));
                for (index, _) in a.processes().into_iter().take(4) {
                    a.repair(index);
                }
                a.refresh_clock();
                a.prog_stats(1);
            }
        }
    }
}
