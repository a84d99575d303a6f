//! Stack traces at the end of a run, when the processes may be gone.

use std::cell::RefCell;
use std::collections::HashMap;
use stylet::{Mappings, Session, Symbolizer};
use stylet_btf::Value;
use stylet_uapi::MapType;

/// Mappings of traced processes, taken while they lived, and the names found with them.
#[derive(Default)]
pub struct Snapshots {
    maps: HashMap<i32, Mappings>,
    symbols: RefCell<Symbolizer>,
}

impl Snapshots {
    /// Takes the mappings of a process, unless it is gone: then the last ones stay.
    pub fn take(&mut self, pid: i32) {
        let maps = Mappings::of(pid);
        if !maps.is_empty() {
            self.maps.insert(pid, maps);
        }
    }

    /// The frames of a key that names a stack: a struct with a member whose name contains `stack`, in an object with a map
    /// of stack traces. A member `pid` or `tgid` says whose addresses they are.
    pub fn frames(&self, session: &Session, object: usize, key: &Value<'_>) -> Vec<String> {
        let Value::Struct(members) = key else { return Vec::new() };
        let integer = |wanted: &dyn Fn(&str) -> bool| {
            let (_, value) = members.iter().find(|(name, _)| wanted(name))?;
            crate::value::as_integer(value)
        };
        let Some(id) = integer(&|n| n.contains("stack")).and_then(|id| u32::try_from(id).ok())
        else {
            return Vec::new();
        };
        let pid = integer(&|n| n == "pid" || n == "tgid").and_then(|p| i32::try_from(p).ok());
        let maps = pid.and_then(|p| self.maps.get(&p)).or_else(|| self.maps.values().next());
        let Some(addresses) = stack(session, object, id) else { return Vec::new() };
        let empty = Mappings::default();
        let maps = maps.unwrap_or(&empty);
        let mut symbols = self.symbols.borrow_mut();
        addresses.into_iter().map(|address| symbols.name(maps, address)).collect()
    }
}

/// The addresses of a stack in the object's first map of stack traces.
fn stack(session: &Session, object: usize, id: u32) -> Option<Vec<u64>> {
    let maps = &session.object(object)?.spec().maps;
    let index = maps.iter().position(|m| m.map_type == MapType::STACK_TRACE)?;
    let values = session.map(object, index)?.lookup(&id.to_le_bytes()).ok()??;
    let bytes = values.into_iter().next()?;
    let words = bytes
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]));
    Some(words.take_while(|&w| w != 0).collect())
}
