//! Which type an event is of.
//!
//! BPF objects do not say what a program puts into a ring buffer. The type is taken from `--event`; else it is the struct
//! of the event's size that a global pointer of the object names (`const struct event *unused`, the usual way to get a
//! type into BTF); else the only struct of that size that is no key or value of a map; else the only one that is.

use std::collections::HashMap;
use stylet::{EventSource, Session};
use stylet_btf::{Btf, Kind, Type, TypeId};
use stylet_object::Spec;

/// Types of events by source and size.
#[derive(Default)]
pub struct EventTypes {
    /// `--event`: by object and map (`None`: every map of the object).
    chosen: HashMap<(usize, Option<usize>), TypeId>,
    /// By object and size in bytes.
    guessed: HashMap<(usize, usize), Guess>,
}

enum Guess {
    One(TypeId),
    Ambiguous,
}

impl EventTypes {
    /// Finds out the types of events of every loaded object. `choices` are the texts of `--event`.
    ///
    /// # Errors
    /// A choice that names a type or map that no object has.
    pub fn new(session: &Session, choices: &[String]) -> Result<EventTypes, String> {
        let mut types = EventTypes::default();
        for choice in choices {
            types.choose(session, choice)?;
        }
        for (index, object) in session.objects().enumerate() {
            types.guess(index, object.spec());
        }
        Ok(types)
    }

    /// The type of an event of `size` bytes.
    pub fn of(&self, source: EventSource, size: usize) -> Option<TypeId> {
        let EventSource::Map { object, map } = source else { return None };
        let chosen = self.chosen.get(&(object, Some(map))).or(self.chosen.get(&(object, None)));
        if let Some(&ty) = chosen {
            return Some(ty);
        }
        match self.guessed.get(&(object, size))? {
            Guess::One(ty) => Some(*ty),
            Guess::Ambiguous => None,
        }
    }

    /// The type of an event that may have up to 7 bytes of padding: the kernel makes a perf event with the 4 bytes of its
    /// length a multiple of 8.
    pub fn of_padded(&self, source: EventSource, size: usize) -> Option<TypeId> {
        (size.saturating_sub(7)..=size).rev().find_map(|len| self.of(source, len))
    }

    fn choose(&mut self, session: &Session, choice: &str) -> Result<(), String> {
        let (map, name) = match choice.split_once('=') {
            Some((map, name)) => (Some(map), name),
            None => (None, choice),
        };
        let name = name.trim().trim_start_matches("struct ").trim_start_matches("union ");
        let mut found = false;
        for (index, object) in session.objects().enumerate() {
            let spec = object.spec();
            let Some(btf) = &spec.btf else { continue };
            let Some(ty) = named(btf, name) else { continue };
            match map.map(|m| spec.map_idx(m)) {
                None => found |= self.chosen.insert((index, None), ty).is_none(),
                Some(Some(m)) => found |= self.chosen.insert((index, Some(m)), ty).is_none(),
                Some(None) => {}
            }
        }
        if found {
            return Ok(());
        }
        Err(format!(
            "--event {choice}: no object has {}a type '{name}' in its BTF",
            map.map(|m| format!("a map '{m}' and ")).unwrap_or_default()
        ))
    }

    fn guess(&mut self, object: usize, spec: &Spec) {
        let Some(btf) = &spec.btf else { return };
        let uses: Vec<TypeId> =
            spec.maps.iter().flat_map(|m| [m.btf_key_type_id, m.btf_value_type_id]).collect();
        let structs = || {
            btf.types().filter_map(|(ty, kind)| match kind {
                Type::Struct(s) if !matches!(btf.name(s.name_off), "" | "pt_regs") => {
                    Some((ty, s.size as usize))
                }
                _ => None,
            })
        };
        let (used, free): (Vec<_>, Vec<_>) = structs().partition(|(ty, _)| uses.contains(ty));
        // The first that has a type of a size decides it.
        for tier in [declared_by_pointers(btf, spec), free, used] {
            let mut found: HashMap<usize, Guess> = HashMap::new();
            for (ty, size) in tier {
                let one = found.entry(size).and_modify(|g| *g = Guess::Ambiguous);
                one.or_insert(Guess::One(ty));
            }
            for (size, guess) in found {
                self.guessed.entry((object, size)).or_insert(guess);
            }
        }
    }
}

/// A struct, union or typedef of that name.
fn named(btf: &Btf, name: &str) -> Option<TypeId> {
    let kinds = [Kind::Struct, Kind::Union, Kind::Typedef, Kind::Int, Kind::Enum];
    kinds.iter().find_map(|&kind| btf.find_by_name_kind(name, kind))
}

/// Structs that global pointers point to, with their sizes.
fn declared_by_pointers(btf: &Btf, spec: &Spec) -> Vec<(TypeId, usize)> {
    let mut found = Vec::new();
    for map in spec.maps.iter().filter(|m| m.kind.is_internal()) {
        stylet::for_each_var(btf, map.btf_value_type_id, |_, _, _, ty| {
            let Some(Type::Ptr(pointer)) = btf.type_by_id(btf.skip_mods_and_typedefs(ty)) else {
                return;
            };
            let pointee = btf.skip_mods_and_typedefs(pointer.ty);
            if let Some(Type::Struct(s) | Type::Union(s)) = btf.type_by_id(pointee)
                && !found.contains(&(pointee, s.size as usize))
            {
                found.push((pointee, s.size as usize));
            }
        });
    }
    found
}
