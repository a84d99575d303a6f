//! Maps through the tracer's interface and through helpers, against what the kernel documents.

mod common;

use common::{addr, arena, call, def, errno};
use stylet_runtime::host::Arena;
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

/// Begins a run in a frame below the caller's and calls `f` inside; the run never ends.
#[inline(never)]
fn in_abandoned_run(a: &Arena, f: impl FnOnce()) {
    let mut rc = a.run_ctx();
    // SAFETY: an arena of this process.
    assert!(unsafe { slot_enter(&mut rc) } >= 0);
    f();
}

#[test]
fn recursion_is_refused() {
    let a = arena(2);
    in_abandoned_run(&a, || {
        let mut nested = a.run_ctx();
        nested.prog = 3;
        // SAFETY: an arena of this process.
        assert_eq!(unsafe { slot_enter(&mut nested) }, -1);
    });
    assert_eq!(a.prog_stats(3), (0, 1));
    let mut after = a.run_ctx();
    after.prog = 3;
    // SAFETY: as above.
    unsafe {
        assert!(slot_enter(&mut after) >= 0, "the abandoned run's slot is taken over");
        slot_leave(&mut after);
        assert!(slot_enter(&mut after) >= 0);
        slot_leave(&mut after);
    }
    assert_eq!(a.prog_stats(3), (2, 1));
}

/// Another thread finds the only slot taken.
#[test]
fn without_a_slot_a_run_is_missed() {
    let a = arena(1);
    let (mut outer, mut other) = (a.run_ctx(), a.run_ctx());
    other.prog = 3;
    // SAFETY: an arena of this process; one thread at a time uses a context.
    unsafe {
        assert_eq!(slot_enter(&mut outer), 0);
        let (arena, other) = (&a, std::sync::atomic::AtomicPtr::new(&mut other));
        let missed = std::thread::scope(|s| {
            let run = || slot_enter(other.load(std::sync::atomic::Ordering::Relaxed));
            s.spawn(run).join().unwrap()
        });
        assert_eq!((missed, arena.prog_stats(3)), (-1, (0, 1)));
        slot_leave(&mut outer);
        assert_eq!(slot_enter(&mut outer), 0);
    }
}
