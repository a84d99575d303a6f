//! Names that are unique in C.

use alloc::format;
use alloc::string::{String, ToString};

use hashbrown::HashMap;

use crate::Btf;
use crate::types::*;

/// Gives each type a name; types that share theirs get `name___2`, `name___3` and so on, in the order in
/// which they are asked for.
pub(super) struct Names<'a> {
    btf: &'a Btf,
    given: HashMap<TypeId, String>,
    /// How often each name was given to a struct, union or enum.
    tags: HashMap<&'a str, u32>,
    /// And to a typedef or an enumerator.
    idents: HashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    pub(super) fn new(btf: &'a Btf) -> Names<'a> {
        Names { btf, given: HashMap::new(), tags: HashMap::new(), idents: HashMap::new() }
    }

    /// Name of a struct, union, enum or typedef.
    pub(super) fn of(&mut self, id: TypeId) -> String {
        if let Some(name) = self.given.get(&id) {
            return name.clone();
        }
        let is_ident = self.btf.kind(id) == Some(Kind::Typedef);
        let table = if is_ident { &mut self.idents } else { &mut self.tags };
        let name = unique(table, self.btf.type_name(id));
        self.given.insert(id, name.clone());
        name
    }

    /// Name of an enumerator, which is written once.
    pub(super) fn of_enumerator(&mut self, name_off: u32) -> String {
        unique(&mut self.idents, self.btf.name(name_off))
    }
}

fn unique<'a>(table: &mut HashMap<&'a str, u32>, name: &'a str) -> String {
    let count = table.entry(name).or_insert(0);
    *count += 1;
    match *count {
        1 => name.to_string(),
        n => format!("{name}___{n}"),
    }
}
