//! What the tests share: random numbers, arenas, calls of helpers.
#![allow(dead_code)]

use stylet_runtime::abi::RunCtx;
use stylet_runtime::host::{Arena, Error, MapId, Options};
use stylet_runtime::map::MapDef;
use stylet_runtime::{helpers, kfuncs};
use stylet_runtime::{slot_enter, slot_leave};
use stylet_uapi::MapType;

/// xorshift64: the same sequence each time.
pub struct Rng(pub u64);

impl Rng {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// An arena with `nslots` CPU slots.
pub fn arena(nslots: u32) -> Arena {
    Arena::new(&Options { nslots, ..Options::default() }).unwrap()
}

/// A definition without flags.
pub fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        map_type: map_type.0,
        key_size,
        value_size,
        max_entries,
        seed: 77,
        ..MapDef::default()
    }
}

/// The error of a map operation.
pub fn errno<T>(errno: i32) -> Result<T, Error> {
    Err(Error::Map { errno })
}

/// Calls helper `id` in a run that holds a slot.
pub fn call(arena: &Arena, id: u32, args: [u64; 5]) -> i64 {
    call_in(&mut arena.run_ctx(), id, args)
}

/// Calls helper `id` in this run, with a slot for the time of the call.
pub fn call_in(rc: &mut RunCtx, id: u32, args: [u64; 5]) -> i64 {
    // SAFETY: the context is one of an arena of this process.
    unsafe {
        assert!(slot_enter(rc) >= 0, "no slot");
        let r = call_held(rc, id, args);
        slot_leave(rc);
        r
    }
}

/// Calls helper `id` in this run as it is.
pub fn call_held(rc: &mut RunCtx, id: u32, args: [u64; 5]) -> i64 {
    let f = helpers::TABLE.iter().find(|h| h.0 == id).expect("no such helper").2;
    // SAFETY: tests pass what the verifier would admit.
    unsafe { f(args[0], args[1], args[2], args[3], args[4], rc) as i64 }
}

/// Calls kfunc `name` in this run.
pub fn call_kfunc(rc: &mut RunCtx, name: &str, args: [u64; 5]) -> i64 {
    let f = kfuncs::TABLE.iter().find(|f| kfuncs::name(f.0) == name).expect("no such kfunc").1;
    // SAFETY: tests pass what the verifier would admit.
    unsafe { f(args[0], args[1], args[2], args[3], args[4], rc) as i64 }
}

/// Address of a map's header in this process.
pub fn addr(arena: &Arena, id: MapId) -> u64 {
    arena.base() as u64 + arena.map(id).unwrap().offset()
}

/// Two pages, the second of which cannot be accessed.
pub struct Edge(*mut u8);

impl Edge {
    pub fn new() -> Edge {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        // SAFETY: a new mapping.
        unsafe {
            let rw = ProtFlags::READ | ProtFlags::WRITE;
            let p = mmap_anonymous(std::ptr::null_mut(), 8192, rw, MapFlags::PRIVATE).unwrap();
            mprotect(p.cast::<u8>().add(4096).cast(), 4096, MprotectFlags::empty()).unwrap();
            Edge(p.cast())
        }
    }

    /// Address of `bytes`, which end at the last good byte.
    pub fn put(&self, bytes: &[u8]) -> u64 {
        // SAFETY: inside the first page.
        unsafe {
            let at = self.0.add(4096 - bytes.len());
            at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            at as u64
        }
    }
}

/// The address of a value.
pub fn ptr<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<u8>() as u64
}

/// The address of a value that a helper writes to.
pub fn ptr_mut<T: ?Sized>(value: &mut T) -> u64 {
    (&raw mut *value).cast::<u8>() as u64
}
