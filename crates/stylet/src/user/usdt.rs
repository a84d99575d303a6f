//! USDT markers: `usdt.bpf.h` finds a marker's arguments in a map of the object, which is filled here; the number of the
//! record reaches the program as its attach cookie.

use super::load::Loaded;
use crate::Error;
use std::collections::HashMap;
use stylet_object::ProgSpec;
use stylet_runtime::host::Arena;
use stylet_symbols::usdt::{Layout, parse_args};

/// The map of arguments' records.
const SPECS: &str = "__bpf_usdt_specs";

/// Records written so far, by object, arguments and the user's cookie: places and processes with the same ones share one.
#[derive(Debug, Default)]
pub(super) struct Records(HashMap<(usize, String, u64), u32>);

impl Records {
    /// Number of the record for a marker's arguments, written if it is new; 0 for an object that reads no arguments.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for arguments that can not be told, and for a full map.
    pub fn add(
        &mut self,
        arena: &Arena,
        (object, loaded): (usize, &Loaded),
        prog: &ProgSpec,
        args: &str,
        cookie: u64,
    ) -> Result<u32, Error> {
        let maps = &loaded.object.spec.maps;
        let Some(index) = maps.iter().position(|m| m.name == SPECS) else { return Ok(0) };
        let (map, key) = (&maps[index], (object, args.to_owned(), cookie));
        if let Some(&id) = self.0.get(&key) {
            return Ok(id);
        }
        let refuse = |what: String| Error::Unsupported {
            object: loaded.object.path.clone(),
            what: format!("program '{}': {what}", prog.name),
            advice: "",
        };
        let layout = Layout::of(map.value_size).ok_or_else(|| {
            refuse(format!(
                "{SPECS} with values of {} bytes, of an unknown usdt.bpf.h",
                map.value_size
            ))
        })?;
        let parsed = parse_args(args).map_err(|e| refuse(e.to_string()))?;
        let value = layout
            .encode(&parsed, cookie)
            .map_err(|why| refuse(format!("a marker with arguments '{args}': {why}")))?;
        let id = self.0.keys().filter(|k| k.0 == object).count() as u32;
        if id >= map.max_entries {
            return Err(refuse(format!(
                "all {} records of {SPECS} are taken: define BPF_USDT_MAX_SPEC_CNT",
                map.max_entries
            )));
        }
        let fail = |source| Error::Runtime { what: format!("map '{SPECS}'"), source };
        let id_of =
            loaded.maps.get(index).ok_or(Error::Bug { what: "a map without a place".into() })?;
        arena.map(*id_of).map_err(fail)?.update(&id.to_le_bytes(), &value, 0).map_err(fail)?;
        self.0.insert(key, id);
        Ok(id)
    }
}
