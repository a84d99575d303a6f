//! The arena's memory: one memfd, one window.

use super::alloc::Ranges;
use super::clock::{Sample, tsc_is_clock};
use super::{Error, HostMap, Result};
use crate::abi::{
    DATA_OFF, NO_SLOT, PROC_PAGE_OFF, RODATA_OFF, RODATA_SIZE, RunCtx, TEXT_OFF, TEXT_SIZE, WINDOW,
};
use crate::control::{self, CPU_LSL, CPU_RDPID, Control, FSGSBASE, MAX_SLOTS, ProgStats};
use crate::map::{Geo, MapDef, create, layout, ring};
use crate::slot::{Cx, Machine, with_own_slot};
use core::sync::atomic::Ordering::Relaxed;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use stylet_uapi::MapType;
use stylet_uapi::errno::EBUSY;

/// A part of the window, see [`crate::abi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The agent image and generated code.
    Text,
    /// Arrays that programs only read.
    Rodata,
    /// Control block and maps.
    Data,
}

/// A map of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapId(pub u32);

/// Choices for a new arena.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// CPU slots; 0 for the number of possible CPUs doubled, at least 8.
    pub nslots: u32,
    /// Bytes of the ring of `bpf_trace_printk`, a power of two of at least 4096.
    pub printk_ring: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { nslots: 0, printk_ring: 64 << 10 }
    }
}

/// The memory shared with traced processes, and what the tracer knows of it.
pub struct Arena {
    fd: OwnedFd,
    /// The private page, then the window.
    mapping: *mut u8,
    nslots: u32,
    flags: u32,
    printk: (u64, u32),
    state: Mutex<State>,
    pub(super) clock: Mutex<Option<Sample>>,
    pub(super) tsc_is_clock: bool,
}

struct State {
    size: u64,
    text: Ranges,
    rodata: Ranges,
    data: Ranges,
    maps: Vec<Option<(u64, Box<Geo>)>>,
}

// SAFETY: the mapping lives as long as the value; what is in it is accessed by atomics or volatile copies.
unsafe impl Send for Arena {}
// SAFETY: as above; the allocators are behind a mutex.
unsafe impl Sync for Arena {}

/// Bytes mapped before the window.
const BELOW: usize = -PROC_PAGE_OFF as usize;

fn os(call: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |e| Error::Os { call, errno: e.raw_os_error() }
}

impl Arena {
    /// A new arena, mapped into this process.
    pub fn new(options: &Options) -> Result<Arena> {
        let nslots = match options.nslots {
            0 => (2 * possible_cpus()).clamp(8, MAX_SLOTS),
            n => n.min(MAX_SLOTS),
        };
        let fd = memfd_create("stylet", MemfdFlags::CLOEXEC).map_err(os("memfd_create"))?;
        let first = control::end_off(nslots);
        ftruncate(&fd, first).map_err(os("ftruncate"))?;
        let mapping = map_window(fd.as_fd())?;
        let mut arena = Arena {
            fd,
            mapping,
            nslots,
            flags: cpu_flags(),
            printk: (0, 0),
            clock: Mutex::new(None),
            tsc_is_clock: tsc_is_clock(),
            state: Mutex::new(State {
                size: first,
                text: Ranges::new(TEXT_OFF, TEXT_SIZE),
                rodata: Ranges::new(RODATA_OFF, RODATA_SIZE),
                data: Ranges::new(first, WINDOW - first),
                maps: Vec::new(),
            }),
        };
        let ring_size = options.printk_ring.clamp(4096, 1 << 24).next_power_of_two();
        let printk = (arena.alloc(Part::Data, ring::ring_bytes(ring_size), 64)?, ring_size);
        arena.printk = printk;
        let ctl = arena.at(DATA_OFF).cast::<Control>();
        // SAFETY: the control block is mapped, zero, and nobody else's yet.
        unsafe {
            (*ctl).nslots = nslots;
            (*ctl).flags = arena.flags;
            (*ctl).printk_off = printk.0 as u32;
            (*ctl).printk_size = printk.1;
            (*ctl).version = control::VERSION;
            (*ctl).magic = control::MAGIC;
        }
        Ok(arena)
    }

    /// The file that traced processes map: file offset and window offset are equal.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// First byte of the window in this process.
    pub fn base(&self) -> *mut u8 {
        self.mapping.wrapping_add(BELOW)
    }

    /// Number of CPU slots.
    pub fn nslots(&self) -> u32 {
        self.nslots
    }

    /// Address of window offset `off` in this process.
    pub(super) fn at(&self, off: u64) -> *mut u8 {
        self.base().wrapping_add(off as usize)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Allocates `bytes` of a part at a multiple of `align`: the window offset. New memory is zero, memory that was freed
    /// before is zeroed.
    pub fn alloc(&self, part: Part, bytes: u64, align: u64) -> Result<u64> {
        let mut state = self.state();
        let ranges = match part {
            Part::Text => &mut state.text,
            Part::Rodata => &mut state.rodata,
            Part::Data => &mut state.data,
        };
        let off = ranges.alloc(bytes, align).ok_or(Error::Full { part, bytes })?;
        if off + bytes > state.size {
            let size = (off + bytes).next_multiple_of(4096);
            ftruncate(&self.fd, size).map_err(os("ftruncate"))?;
            state.size = size;
        }
        Ok(off)
    }

    /// Gives back what [`Arena::alloc`] gave; nothing may use it any more.
    pub fn free(&self, part: Part, off: u64, bytes: u64) {
        if bytes == 0 || off.checked_add(bytes).is_none_or(|end| end > self.state().size) {
            return;
        }
        // SAFETY: mapped, and by contract in nobody's use.
        unsafe { self.at(off).write_bytes(0, bytes as usize) };
        let mut state = self.state();
        match part {
            Part::Text => state.text.free(off, bytes),
            Part::Rodata => state.rodata.free(off, bytes),
            Part::Data => state.data.free(off, bytes),
        }
    }

    /// Writes bytes at a window offset, inside the file.
    pub fn write(&self, off: u64, bytes: &[u8]) -> Result<()> {
        if off.checked_add(bytes.len() as u64).is_none_or(|end| end > self.state().size) {
            return Err(Error::Corrupt { what: "write beyond the end of the arena" });
        }
        // SAFETY: inside the file, hence mapped; no reference to it exists.
        unsafe { self.at(off).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Creates a map. Arrays with `BPF_F_RDONLY_PROG` go where traced processes cannot write.
    pub fn add_map(&self, def: &MapDef) -> Result<MapId> {
        let geo = layout(def, self.nslots).map_err(|errno| Error::MapDef { errno })?;
        let rdonly = geo.map_flags & crate::map::map_flags::RDONLY_PROG != 0;
        let part = if rdonly && MapType(geo.map_type) == MapType::ARRAY {
            Part::Rodata
        } else {
            Part::Data
        };
        let off = self.alloc(part, geo.size as u64, 64)?;
        // SAFETY: just allocated, zero.
        unsafe { create::create(self.at(off), &geo) };
        let mut state = self.state();
        state.maps.push(Some((off, Box::new(geo))));
        Ok(MapId(state.maps.len() as u32 - 1))
    }

    /// Removes a map whose last program is gone from every process.
    pub fn remove_map(&self, id: MapId) -> Result<()> {
        let (off, geo) = self
            .state()
            .maps
            .get_mut(id.0 as usize)
            .and_then(Option::take)
            .ok_or(Error::NoSuchMap { map: id.0 })?;
        let rdonly = off < DATA_OFF;
        self.free(if rdonly { Part::Rodata } else { Part::Data }, off, geo.size as u64);
        Ok(())
    }

    /// Access to a map.
    pub fn map(&self, id: MapId) -> Result<HostMap<'_>> {
        let state = self.state();
        let Some(Some((off, geo))) = state.maps.get(id.0 as usize) else {
            return Err(Error::NoSuchMap { map: id.0 });
        };
        Ok(HostMap::new(self, *off, **geo))
    }

    /// Every map there is.
    pub fn maps(&self) -> Vec<MapId> {
        let state = self.state();
        (0..state.maps.len())
            .filter(|&i| state.maps[i].is_some())
            .map(|i| MapId(i as u32))
            .collect()
    }

    /// Window offset and size of the ring of `bpf_trace_printk`.
    pub(super) fn printk(&self) -> (u64, u32) {
        self.printk
    }

    /// A run context for calling programs or helpers in this process, without a slot.
    pub fn run_ctx(&self) -> RunCtx {
        RunCtx {
            arena: self.base(),
            regs: core::ptr::null_mut(),
            cookie: 0,
            func_ip: 0,
            slot: NO_SLOT,
            tail_calls: 0,
            flags: 0,
            prog: u32::MAX,
            override_rc: 0,
            session_cookie: 0,
        }
    }

    /// Calls `f` with a CPU slot held by this thread.
    pub(super) fn with_cx<T>(&self, f: impl FnOnce(&Cx) -> T) -> Result<T> {
        let machine = Machine { flags: self.flags, nslots: self.nslots };
        // SAFETY: the window and its private page are mapped; the tracer's own knowledge of the machine.
        unsafe { with_own_slot(self.base(), machine, f) }.ok_or(Error::Map { errno: EBUSY })
    }

    /// Runs and misses of program `prog`, summed over the slots.
    pub fn prog_stats(&self, prog: u32) -> (u64, u64) {
        if prog >= control::MAX_PROGS {
            return (0, 0);
        }
        (0..=self.nslots).fold((0u64, 0u64), |(runs, misses), slot| {
            // SAFETY: each slot, and the area after the last, is mapped.
            let stats =
                unsafe { &*self.at(control::prog_stats_off(slot, prog)).cast::<ProgStats>() };
            (
                runs.wrapping_add(stats.runs.load(Relaxed)),
                misses.wrapping_add(stats.misses.load(Relaxed)),
            )
        })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; every borrow of the arena has ended. A failure would only leave it mapped.
        let _ = unsafe { munmap(self.mapping.cast(), WINDOW as usize + BELOW) };
    }
}

/// Maps the private page and, above it, the window.
fn map_window(fd: BorrowedFd) -> Result<*mut u8> {
    let rw = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address the kernel picks.
    let start =
        unsafe { mmap_anonymous(core::ptr::null_mut(), WINDOW as usize + BELOW, rw, flags) }
            .map_err(os("mmap"))?
            .cast::<u8>();
    let window = start.wrapping_add(BELOW);
    // SAFETY: both in the mapping just made.
    let done = unsafe {
        madvise(start.cast(), BELOW, Advice::LinuxWipeOnFork).map_err(os("madvise")).and_then(
            |()| {
                mmap(window.cast(), WINDOW as usize, rw, MapFlags::SHARED | MapFlags::FIXED, fd, 0)
                    .map_err(os("mmap"))
            },
        )
    };
    if let Err(e) = done {
        // SAFETY: made above, given to nobody.
        let _ = unsafe { munmap(start.cast(), WINDOW as usize + BELOW) };
        return Err(e);
    }
    Ok(start)
}

/// Highest possible CPU plus one, 1 if it cannot be told.
fn possible_cpus() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    text.trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|n| n.parse::<u32>().ok())
        .map_or(1, |n| n.saturating_add(1))
}

/// What programs may use to learn their CPU and thread quickly.
fn cpu_flags() -> u32 {
    let mut flags = 0;
    let cpuid = |leaf| core::arch::x86_64::__cpuid_count(leaf, 0);
    if cpuid(0).eax >= 7 && cpuid(7).ecx & (1 << 22) != 0 {
        flags |= CPU_RDPID;
    }
    if lsl_gives_cpu() {
        flags |= CPU_LSL;
    }
    // AT_HWCAP2 bit 1: HWCAP2_FSGSBASE (arch/x86/include/uapi/asm/hwcap2.h).
    if rustix::param::linux_hwcap().1 & 2 != 0 {
        flags |= FSGSBASE;
    }
    flags
}

/// Whether the kernel's CPU number segment says what `getcpu` says; tried often enough for a move in between.
fn lsl_gives_cpu() -> bool {
    (0..10).any(|_| {
        let v: u64;
        // SAFETY: `lsl` of a selector that does not exist leaves the register alone.
        unsafe { core::arch::asm!("lsl {v}, {s}", v = inout(reg) u64::MAX => v, s = in(reg) 0x7bu64, options(nomem, nostack)) };
        v as u32 & 0xfff == crate::sys::getcpu().0 && v != u64::MAX
    })
}
