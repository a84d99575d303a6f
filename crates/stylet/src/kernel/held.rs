//! What the kernel holds, with who holds it.

use crate::{Entry, Error};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use stylet_btf::Btf;
use stylet_kernel::list::{self, Holder, Holders, Kind, MapEntry, ProgEntry};
use stylet_kernel::sys::{DumpWish, Errno, ProgDump};
use stylet_kernel::{Kernel, LinkInfo, Map};
use stylet_uapi::ProgType;

/// A program of the kernel.
#[derive(Clone, Debug)]
pub struct HeldProg {
    /// What the kernel says about it.
    pub prog: ProgEntry,
    /// Where it is pinned.
    pub pinned: Vec<PathBuf>,
    /// Processes with a descriptor of it.
    pub pids: Vec<Holder>,
    /// Processes with a perf event that runs it: all that holds it where it is attached by an ioctl.
    pub by_event: Vec<Holder>,
}

/// A map of the kernel.
#[derive(Clone, Debug)]
pub struct HeldMap {
    /// What the kernel says about it.
    pub map: MapEntry,
    /// Where it is pinned.
    pub pinned: Vec<PathBuf>,
    /// Processes with a descriptor of it.
    pub pids: Vec<Holder>,
}

/// A link of the kernel.
#[derive(Clone, Debug)]
pub struct HeldLink {
    /// What the kernel says about it.
    pub link: LinkInfo,
    /// Where it is pinned.
    pub pinned: Vec<PathBuf>,
    /// Processes with a descriptor of it.
    pub pids: Vec<Holder>,
}

/// Every program of the kernel, by id.
///
/// # Errors
/// [`Error::Kernel`].
pub fn progs(kernel: &Kernel, holders: &Holders) -> Result<Vec<HeldProg>, Error> {
    let all = list::progs(kernel).map_err(Error::kernel(""))?;
    Ok(all.into_iter().map(|prog| HeldProg::new(prog, holders)).collect())
}

/// Every map of the kernel, by id.
///
/// # Errors
/// [`Error::Kernel`].
pub fn maps(kernel: &Kernel, holders: &Holders) -> Result<Vec<HeldMap>, Error> {
    let all = list::maps(kernel).map_err(Error::kernel(""))?;
    Ok(all.into_iter().map(|map| HeldMap::new(map, holders)).collect())
}

/// Every link of the kernel, by id.
///
/// # Errors
/// [`Error::Kernel`].
pub fn links(kernel: &Kernel, holders: &Holders) -> Result<Vec<HeldLink>, Error> {
    let all = list::links(kernel).map_err(Error::kernel(""))?;
    Ok(all.into_iter().map(|link| HeldLink::new(link, holders)).collect())
}

impl HeldProg {
    pub(super) fn new(prog: ProgEntry, holders: &Holders) -> HeldProg {
        let id = prog.id;
        let (pinned, pids) = of(holders, Kind::Prog, id);
        let events = holders.events().iter().filter(|event| event.prog_id == id);
        let mut by_event: Vec<Holder> = events.map(|event| event.holder.clone()).collect();
        by_event.dedup();
        HeldProg { prog, pinned, pids, by_event }
    }
}

impl HeldMap {
    pub(super) fn new(map: MapEntry, holders: &Holders) -> HeldMap {
        let (pinned, pids) = of(holders, Kind::Map, map.id);
        HeldMap { map, pinned, pids }
    }
}

impl HeldLink {
    pub(super) fn new(link: LinkInfo, holders: &Holders) -> HeldLink {
        let (pinned, pids) = of(holders, Kind::Link, link.id);
        HeldLink { link, pinned, pids }
    }
}

fn of(holders: &Holders, kind: Kind, id: u32) -> (Vec<PathBuf>, Vec<Holder>) {
    (holders.pins(kind, id).to_vec(), holders.processes(kind, id).to_vec())
}

/// Everything in a map of the kernel: values of per-CPU maps one for each possible CPU. Entries that go away meanwhile are
/// left out, and those that system calls can not read are empty.
///
/// # Errors
/// [`Error::System`], [`Error::Kernel`].
pub fn read_map(fd: OwnedFd) -> Result<Vec<Entry>, Error> {
    let fail = |what| {
        move |errno: Errno| Error::System {
            what,
            source: std::io::Error::from_raw_os_error(errno.0),
        }
    };
    let map = Map::from_fd(fd).map_err(fail("BPF_OBJ_GET_INFO_BY_FD"))?;
    let keys = map.keys()?;
    let one = |key: Vec<u8>| {
        // Not to be read: an empty slot of a map of maps, programs or events, or gone meanwhile.
        let values = map.lookup_percpu(&key, 0).ok().flatten().unwrap_or_default();
        Entry { key, values }
    };
    Ok(keys.into_iter().map(one).collect())
}

/// The type of a program of the kernel; `None` when it is gone.
pub fn prog_type_of(kernel: &Kernel, id: u32) -> Option<ProgType> {
    let fd = list::open(kernel, Kind::Prog, id).ok()??;
    Some(list::prog(kernel, fd.as_fd()).ok()?.prog_type)
}

/// A BTF object of the kernel by id; `None` for id 0 and for types that go on from a base.
///
/// # Errors
/// [`Error::Kernel`].
pub fn btf(kernel: &Kernel, id: u32) -> Result<Option<Btf>, Error> {
    Ok(list::btf_by_id(kernel, id)?)
}

/// Instructions, machine code and source lines of a program of the kernel.
///
/// # Errors
/// [`Error::System`].
pub fn dump(fd: OwnedFd, wish: DumpWish) -> Result<ProgDump, Error> {
    list::dump(fd.as_fd(), wish).map_err(|errno| Error::System {
        what: "BPF_OBJ_GET_INFO_BY_FD",
        source: std::io::Error::from_raw_os_error(errno.0),
    })
}

/// Functions of the kernel by address.
#[derive(Clone, Debug, Default)]
pub struct KernelSymbols {
    /// Address, name, module; ascending.
    all: Vec<(u64, String, Option<String>)>,
}

impl KernelSymbols {
    /// Reads `/proc/kallsyms`; empty where addresses are hidden from us (`kptr_restrict`).
    pub fn read() -> KernelSymbols {
        let text = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let mut all: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok().filter(|&a| a != 0)?;
                let name = words.nth(1)?.to_owned();
                let module = words.next().map(|m| m.trim_matches(['[', ']']).to_owned());
                Some((address, name, module))
            })
            .collect();
        all.sort();
        KernelSymbols { all }
    }

    /// Where a symbol of the kernel itself begins.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.all.iter().find(|(_, n, module)| n == name && module.is_none()).map(|(a, ..)| *a)
    }

    /// Name and module of what begins at an address.
    pub fn at(&self, address: u64) -> Option<(&str, Option<&str>)> {
        let first = self.all.partition_point(|(a, ..)| *a < address);
        let (a, name, module) = self.all.get(first)?;
        (*a == address).then_some((name.as_str(), module.as_deref()))
    }
}
