//! Maps through the tracer's interface and through helpers, against what the kernel documents.

mod common;

use common::{addr, arena, call, def, errno};
use stylet_runtime::host::{Arena, Options};
use stylet_runtime::map::{BPF_ANY, BPF_EXIST, BPF_NOEXIST};
use stylet_runtime::{slot_enter, slot_leave};
use stylet_uapi::MapType;
use stylet_uapi::errno::*;

#[test]
fn hash_fills_up_exactly() {
    let a = arena(4);
    let m = a.map(a.add_map(&def(MapType::HASH, 4, 8, 100)).unwrap()).unwrap();
    for i in 0..100u32 {
        assert_eq!(
            m.update(&i.to_ne_bytes(), &(i as u64).to_ne_bytes(), BPF_NOEXIST),
            Ok(()),
            "{i}"
        );
    }
    assert_eq!(m.update(&100u32.to_ne_bytes(), &[0; 8], BPF_ANY), errno(E2BIG));
    assert_eq!(m.update(&7u32.to_ne_bytes(), &[0; 8], BPF_NOEXIST), errno(EEXIST));
    assert_eq!(m.update(&7u32.to_ne_bytes(), &[9; 8], BPF_EXIST), Ok(()));
    assert_eq!(m.lookup(&7u32.to_ne_bytes()), Ok(vec![9; 8]));
    assert_eq!(m.lookup(&99u32.to_ne_bytes()), Ok(99u64.to_ne_bytes().to_vec()));
    assert_eq!(m.keys().unwrap().len(), 100);
    for i in (0..100u32).step_by(2) {
        assert_eq!(m.delete(&i.to_ne_bytes()), Ok(()));
    }
    assert_eq!(m.delete(&0u32.to_ne_bytes()), errno(ENOENT));
    for i in (1..100u32).step_by(2) {
        assert!(m.lookup(&i.to_ne_bytes()).is_ok(), "{i}");
    }
    assert_eq!(m.lost(), 1);
}

#[test]
fn helpers_see_what_the_tracer_wrote() {
    let a = arena(4);
    let id = a.add_map(&def(MapType::HASH, 8, 8, 16)).unwrap();
    let (m, p) = (a.map(id).unwrap(), addr(&a, id));
    m.update(&5u64.to_ne_bytes(), &55u64.to_ne_bytes(), BPF_ANY).unwrap();
    let key = 5u64;
    let found = call(&a, 1, [p, &raw const key as u64, 0, 0, 0]);
    // SAFETY: the address of a value.
    assert_eq!(unsafe { *(found as *const u64) }, 55);
    let val = 66u64;
    assert_eq!(call(&a, 2, [p, &raw const key as u64, &raw const val as u64, 0, 0]), 0);
    assert_eq!(m.lookup(&5u64.to_ne_bytes()), Ok(66u64.to_ne_bytes().to_vec()));
    assert_eq!(call(&a, 3, [p, &raw const key as u64, 0, 0, 0]), 0);
    assert_eq!(call(&a, 3, [p, &raw const key as u64, 0, 0, 0]), -ENOENT as i64);
    assert_eq!(call(&a, 1, [p, &raw const key as u64, 0, 0, 0]), 0);
}

#[test]
fn recursion_on_a_slot_is_refused() {
    let a = Arena::new(&Options { nslots: 1, ..Options::default() }).unwrap();
    let (mut outer, mut inner) = (a.run_ctx(), a.run_ctx());
    (outer.prog, inner.prog) = (3, 3);
    // SAFETY: an arena of this process.
    unsafe {
        assert_eq!(slot_enter(&mut outer), 0);
        assert_eq!(slot_enter(&mut inner), -1);
        slot_leave(&mut inner);
        slot_leave(&mut outer);
        assert_eq!(slot_enter(&mut inner), 0);
        slot_leave(&mut inner);
    }
    assert_eq!(a.prog_stats(3), (2, 1));
}
