//! The maps of `usdt.bpf.h`: records of arguments, and which record belongs to an address.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use stylet_symbols::usdt::{Arg, Layout};
use stylet_uapi::Cmd;
use stylet_uapi::flags::update_flags;

use crate::attach::event::Attempt;
use crate::sys::{self, Errno, MapFd};
use crate::{Error, Leftover};

/// `__bpf_usdt_specs`, as far as the kernel keeps names.
const SPECS: &[u8; 15] = b"__bpf_usdt_spec";
/// `__bpf_usdt_ip_to_spec_id`
const IP_TO_SPEC_ID: &[u8; 15] = b"__bpf_usdt_ip_t";

/// Which records are taken, by the id of the map they are in: programs of one object share it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    maps: Mutex<HashMap<u32, Arc<Mutex<Ids>>>>,
}

/// Numbers of records.
#[derive(Debug, Default)]
struct Ids {
    next: u32,
    free: Vec<u32>,
}

impl Ids {
    fn take(&mut self, max: u32) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        let id = self.next;
        (id < max).then(|| self.next += 1)?;
        Some(id)
    }
}

/// The records that one attachment needs.
#[derive(Debug)]
pub(super) struct Records {
    specs: MapFd,
    max: u32,
    layout: Layout,
    /// By the text of the arguments: places with the same ones share a record.
    known: HashMap<String, u32>,
    lease: Lease,
}

/// What must be given back when the program is detached.
#[derive(Debug)]
pub(super) struct Lease {
    ids: Arc<Mutex<Ids>>,
    taken: Vec<u32>,
    by_address: Option<MapFd>,
    addresses: Vec<u64>,
}

impl Records {
    /// The maps of a program; `None` if it uses none, and so reads no arguments.
    pub fn of(attempt: &Attempt<'_>) -> Result<Option<Records>, Error> {
        let name = attempt.prog.name();
        let failed =
            |errno| Error::sys("BPF_OBJ_GET_INFO_BY_FD", format!("the maps of '{name}'"))(errno);
        let (mut specs, mut by_address) = (None, None);
        for id in sys::prog_map_ids(attempt.prog.as_fd()).map_err(failed)? {
            let fd = sys::object_by_id(Cmd::MAP_GET_FD_BY_ID, id).map_err(failed)?;
            let info = sys::map_info(fd.as_fd()).map_err(failed)?;
            if info.name.starts_with(SPECS) {
                specs = Some((MapFd::from_fd(fd).map_err(failed)?, info));
            } else if info.name.starts_with(IP_TO_SPEC_ID) {
                by_address = Some(MapFd::from_fd(fd).map_err(failed)?);
            }
        }
        let Some((specs, info)) = specs else { return Ok(None) };
        let layout = Layout::of(info.value_size).ok_or_else(|| {
            let why = format!(
                "its __bpf_usdt_specs has values of {} bytes: it was built with a usdt.bpf.h that is not known",
                info.value_size
            );
            attempt.error(None, why)
        })?;
        let registry = &attempt.kernel.usdt.maps;
        let ids = registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(info.id)
            .or_default()
            .clone();
        let lease = Lease { ids, taken: Vec::new(), by_address, addresses: Vec::new() };
        Ok(Some(Records { specs, max: info.max_entries, layout, known: HashMap::new(), lease }))
    }

    /// Writes the record of a place's arguments, unless it is written; its number.
    pub fn add(
        &mut self,
        attempt: &Attempt<'_>,
        text: &str,
        args: &[Arg],
        cookie: u64,
    ) -> Result<u32, Error> {
        if let Some(id) = self.known.get(text) {
            return Ok(*id);
        }
        let value = self.layout.encode(args, cookie).map_err(|why| attempt.error(None, why))?;
        let id = lock(&self.lease.ids).take(self.max).ok_or_else(|| {
            let why = format!(
                "all {} records of __bpf_usdt_specs are taken: define BPF_USDT_MAX_SPEC_CNT",
                self.max
            );
            attempt.error(None, why)
        })?;
        self.lease.taken.push(id);
        self.specs
            .update(&id.to_ne_bytes(), &value, update_flags::ANY)
            .map_err(Error::sys("BPF_MAP_UPDATE_ELEM", "__bpf_usdt_specs"))?;
        self.known.insert(text.to_string(), id);
        Ok(id)
    }

    /// Tells the program which record belongs to an address, for kernels without cookies.
    pub fn at(&mut self, attempt: &Attempt<'_>, address: u64, id: u32) -> Result<(), Error> {
        let Some(map) = &self.lease.by_address else { return Ok(()) };
        let update = map.update(&address.to_ne_bytes(), &id.to_ne_bytes(), update_flags::NOEXIST);
        match update {
            Ok(()) => {
                self.lease.addresses.push(address);
                Ok(())
            }
            Err(errno @ Errno(libc::EEXIST)) => {
                let why = "without cookies (before Linux 5.15) a marker is attached to once only";
                Err(attempt.error(Some(errno), why))
            }
            Err(errno @ Errno(libc::E2BIG)) => {
                let why = "__bpf_usdt_ip_to_spec_id is full: define BPF_USDT_MAX_IP_CNT";
                Err(attempt.error(Some(errno), why))
            }
            Err(errno) => Err(Error::sys("BPF_MAP_UPDATE_ELEM", "__bpf_usdt_ip_to_spec_id")(errno)),
        }
    }

    /// What is to be given back.
    pub fn lease(self) -> Lease {
        self.lease
    }
}

impl Lease {
    fn give_back(&mut self) {
        for address in self.addresses.drain(..) {
            if let Some(map) = &self.by_address {
                // It can only be gone already.
                let _ = map.delete_elem(&address.to_ne_bytes());
            }
        }
        lock(&self.ids).free.append(&mut self.taken);
    }
}

impl Leftover for Lease {
    fn remove(&mut self) -> Result<(), Error> {
        self.give_back();
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn lock(ids: &Mutex<Ids>) -> std::sync::MutexGuard<'_, Ids> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut ids = Ids::default();
        assert_eq!((ids.take(2), ids.take(2), ids.take(2)), (Some(0), Some(1), None));
        ids.free.push(0);
        assert_eq!((ids.take(2), ids.take(2)), (Some(0), None));
    }
}
