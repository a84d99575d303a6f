//! Maps at the end of a run: tables, histograms, global variables.

use super::{hist, stacks};
use crate::value::{as_integer, hex, to_json};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use stylet::{Entry, Error, MapKind, MapView, Session};
use stylet_btf::{Btf, Type, TypeId, Value, value};
use stylet_uapi::MapType;

/// Everything that the loaded objects' maps hold, as text.
pub fn text(session: &Session, stacks: &stacks::Snapshots) -> Result<String, Error> {
    let mut out = String::new();
    each(session, |object, map| {
        let btf = session.object(object).and_then(|o| o.spec().btf.as_ref());
        let shown = match map.spec().kind {
            MapKind::User => one_map(&map, btf, &|value| stacks.frames(session, object, value))?,
            _ => variables(&map, btf)?,
        };
        out.push_str(&shown);
        Ok(())
    })?;
    Ok(out)
}

/// The same as JSON, one value for each map.
pub fn json(session: &Session, stacks: &stacks::Snapshots) -> Result<Vec<Json>, Error> {
    let mut all = Vec::new();
    each(session, |object, map| {
        let loaded = session.object(object);
        let btf = loaded.and_then(|o| o.spec().btf.as_ref());
        let spec = map.spec();
        let mut entries = Vec::new();
        for entry in visible_entries(&map)? {
            let values: Vec<Json> = entry
                .values
                .iter()
                .map(|v| to_json(&typed(btf, spec.btf_value_type_id, v)))
                .collect();
            let key = typed(btf, spec.btf_key_type_id, &entry.key);
            let mut one = json!({"key": to_json(&key)});
            let frames = stacks.frames(session, object, &key);
            if !frames.is_empty() {
                one["frames"] = frames.into();
            }
            if map.is_percpu() {
                let slots = values.into_iter().enumerate();
                one["values"] =
                    slots.map(|(cpu, value)| json!({"cpu": cpu, "value": value})).collect();
            } else {
                one["value"] = values.into_iter().next().unwrap_or(Json::Null);
            }
            entries.push(one);
        }
        all.push(json!({
            "type": "map",
            "object": loaded.map(|o| o.path().display().to_string()),
            "name": spec.name,
            "map_type": spec.map_type.to_string().to_lowercase(),
            "entries": entries,
            "lost": map.lost(),
        }));
        Ok(())
    })?;
    Ok(all)
}

/// Calls `show` for every map that holds data of the run.
fn each(
    session: &Session,
    mut show: impl FnMut(usize, MapView<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    for (object, loaded) in session.objects().enumerate() {
        for index in 0..loaded.spec().maps.len() {
            let Some(map) = session.map(object, index) else { continue };
            let constant = matches!(map.spec().kind, MapKind::Rodata | MapKind::Kconfig);
            let other = matches!(
                map.spec().map_type,
                MapType::RINGBUF
                    | MapType::PERF_EVENT_ARRAY
                    | MapType::PROG_ARRAY
                    | MapType::STACK_TRACE
                    | MapType::ARRAY_OF_MAPS
                    | MapType::HASH_OF_MAPS
            );
            if !constant && !other {
                show(object, map)?;
            }
        }
    }
    Ok(())
}

/// Entries, without those of arrays that are all zero.
fn visible_entries(map: &MapView<'_>) -> Result<Vec<Entry>, Error> {
    let mut entries = map.entries()?;
    if map.is_array() {
        entries.retain(|e| e.values.iter().flatten().any(|&b| b != 0));
    }
    Ok(entries)
}

/// An entry as it is shown.
struct Row {
    /// What to sort by first.
    rank: Option<i128>,
    /// A key that is a number, to sort by next.
    number: Option<i128>,
    key: String,
    value: String,
    /// The stack that the key names.
    frames: Vec<String>,
}

fn one_map(
    map: &MapView<'_>,
    btf: Option<&Btf>,
    frames: &dyn Fn(&Value<'_>) -> Vec<String>,
) -> Result<String, Error> {
    let spec = map.spec();
    let entries = visible_entries(map)?;
    if entries.is_empty() {
        return Ok(String::new());
    }
    let mut out = String::new();
    if map.is_array() && is_hist_name(&spec.name) {
        let counts: Vec<u64> = map.entries()?.iter().map(|e| sum(e, spec.value_size)).collect();
        let _ = write!(out, "\n{}\n{}", spec.name, hist::draw(&counts));
        return Ok(out);
    }
    let _ = writeln!(out, "\n{}", spec.name);
    let mut rows = Vec::new();
    for entry in &entries {
        let key = typed(btf, spec.btf_key_type_id, &entry.key);
        let (rank, shown) = show_values(map, btf, entry);
        rows.push(Row {
            rank,
            number: as_integer(&key),
            frames: frames(&key),
            key: show(&key),
            value: shown,
        });
    }
    // Counts ascending, the largest last and nearest to the prompt, as in bpftrace; other values by key.
    if !map.is_array() {
        let by_count = rows.iter().all(|r| r.rank.is_some());
        rows.sort_by_cached_key(|r| (r.rank.filter(|_| by_count), r.number, r.key.clone()));
    }
    let width = rows.iter().map(|r| r.key.chars().count()).max().unwrap_or(0);
    for row in rows {
        // A histogram begins a line of its own.
        let line = match row.value.strip_prefix('\n') {
            Some(bars) => format!("  {}\n{}", row.key, bars.trim_end_matches('\n')),
            None => format!("  {:<width$}  {}", row.key, row.value),
        };
        let _ = writeln!(out, "{line}");
        for frame in row.frames {
            let _ = writeln!(out, "      {frame}");
        }
    }
    if map.lost() > 0 {
        let _ = writeln!(out, "  ({} updates found no room)", map.lost());
    }
    Ok(out)
}

/// The value or values of an entry, and the number to sort by.
fn show_values(map: &MapView<'_>, btf: Option<&Btf>, entry: &Entry) -> (Option<i128>, String) {
    let spec = map.spec();
    let ty = spec.btf_value_type_id;
    let first = entry.values.first().map(|v| typed(btf, ty, v));
    if let Some(bars) = first.as_ref().and_then(|v| struct_hist(v, map.is_percpu())) {
        return (None, bars);
    }
    if map.is_percpu() {
        if first.as_ref().is_some_and(|v| as_integer(v).is_some()) {
            let total = sum(entry, spec.value_size);
            return (Some(i128::from(total)), total.to_string());
        }
        let slots = entry.values.iter().enumerate().filter(|(_, v)| v.iter().any(|&b| b != 0));
        let shown: Vec<String> =
            slots.map(|(cpu, v)| format!("cpu {cpu}: {}", show(&typed(btf, ty, v)))).collect();
        return (None, shown.join(", "));
    }
    first.map_or((None, String::new()), |v| (as_integer(&v), show(&v)))
}

/// A value that is a struct with an array `slots` (the histogram of libbpf-tools), drawn.
fn struct_hist(value: &Value<'_>, percpu: bool) -> Option<String> {
    let Value::Struct(members) = value else { return None };
    let (_, slots) = members.iter().find(|(name, _)| *name == "slots")?;
    if percpu {
        return None;
    }
    Some(format!("\n{}", hist::draw(&integers(slots)?)))
}

fn integers(value: &Value<'_>) -> Option<Vec<u64>> {
    let Value::Array(items) = value else { return None };
    items.iter().map(|v| as_integer(v).and_then(|n| u64::try_from(n).ok())).collect()
}

/// The variables of a data section, histograms last.
fn variables(map: &MapView<'_>, btf: Option<&Btf>) -> Result<String, Error> {
    let (mut plain, mut out) = (String::new(), String::new());
    let Some(btf) = btf else { return Ok(out) };
    let Some(values) = map.lookup(&0u32.to_le_bytes())? else { return Ok(out) };
    let bytes = values.into_iter().next().unwrap_or_default();
    stylet::for_each_var(btf, map.spec().btf_value_type_id, |name, offset, size, ty| {
        let pointer = matches!(btf.type_by_id(btf.skip_mods_and_typedefs(ty)), Some(Type::Ptr(_)));
        let Some(bytes) = bytes.get(offset..offset.saturating_add(size)) else { return };
        // Pointers are there for their types.
        if pointer {
            return;
        }
        let value = value::decode(btf, ty, bytes);
        match integers(&value).filter(|_| is_hist_name(name)) {
            Some(counts) if counts.iter().all(|&c| c == 0) => {}
            Some(counts) => {
                let _ = write!(out, "\n{name}\n{}", hist::draw(&counts));
            }
            None => {
                let _ = writeln!(plain, "{name}: {}", show(&value));
            }
        }
    });
    if !plain.is_empty() {
        plain.insert(0, '\n');
    }
    Ok(plain + &out)
}

/// Maps and variables of such names are arrays of counts by power of two.
fn is_hist_name(name: &str) -> bool {
    name.ends_with("hist") || name == "slots"
}

/// The sum over CPU slots of an unsigned integer.
fn sum(entry: &Entry, size: u32) -> u64 {
    let one = |bytes: &Vec<u8>| {
        let mut word = [0u8; 8];
        let len = (size as usize).min(8).min(bytes.len());
        word[..len].copy_from_slice(&bytes[..len]);
        u64::from_le_bytes(word)
    };
    entry.values.iter().map(one).fold(0, u64::wrapping_add)
}

/// Bytes by their type, or as bytes where there is none; plain integers of 4 or 8 bytes without BTF as numbers.
pub fn typed<'a>(btf: Option<&'a Btf>, ty: TypeId, bytes: &'a [u8]) -> Value<'a> {
    match btf {
        Some(btf) if ty != 0 => value::decode(btf, ty, bytes),
        _ => match *bytes {
            [a, b, c, d] => Value::UInt(u128::from(u32::from_le_bytes([a, b, c, d]))),
            [a, b, c, d, e, f, g, h] => {
                Value::UInt(u128::from(u64::from_le_bytes([a, b, c, d, e, f, g, h])))
            }
            _ => Value::Bytes(bytes),
        },
    }
}

/// A value as people read it.
pub fn show(value: &Value<'_>) -> String {
    match value {
        Value::Bytes(bytes) => hex(bytes),
        Value::Enum { name: Some(name), .. } => (*name).to_owned(),
        other => other.to_string(),
    }
}
