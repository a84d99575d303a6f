//! Finding types by name.

use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use alloc::vec::Vec;

use crate::{Btf, TypeId};

/// The own types of a set by essential name. Built at the first look-up.
#[derive(Debug)]
pub(crate) struct NameIndex {
    hasher: DefaultHashBuilder,
    /// First and last own type of each essential name, as positions.
    heads: HashTable<(u32, u32)>,
    /// Next type of the same essential name, by position; `END` at the end.
    next: Vec<u32>,
}

const END: u32 = u32::MAX;

/// The name without its `___flavor` (`bpf_core_essential_name_len`).
pub fn essential_name(name: &str) -> &str {
    core::str::from_utf8(essential_bytes(name.as_bytes())).unwrap_or(name)
}

/// A separator is three underscores between characters that are not underscores; the last one counts.
fn essential_bytes(name: &[u8]) -> &[u8] {
    let is_sep = |w: &[u8]| w[0] != b'_' && &w[1..4] == b"___" && w[4] != b'_';
    let at = name.windows(5).rposition(is_sep);
    at.map_or(name, |at| &name[..=at])
}

impl NameIndex {
    pub(crate) fn new(btf: &Btf) -> NameIndex {
        let own = btf.inner.offsets.len();
        let mut index = NameIndex {
            hasher: DefaultHashBuilder::default(),
            heads: HashTable::with_capacity(own),
            next: alloc::vec![END; own],
        };
        for at in 0..own as u32 {
            let name = own_name(btf, at);
            if name.is_empty() {
                continue;
            }
            let hash = index.hasher.hash_one(name);
            let same = |&(head, _): &(u32, u32)| own_name(btf, head) == name;
            if let Some((_, last)) = index.heads.find_mut(hash, same) {
                index.next[*last as usize] = at;
                *last = at;
            } else {
                let hasher = &index.hasher;
                let rehash = |&(head, _): &(u32, u32)| hasher.hash_one(own_name(btf, head));
                index.heads.insert_unique(hash, (at, at), rehash);
            }
        }
        index
    }

    /// Own types of `btf` with the essential name of `name`, in order.
    pub(crate) fn lookup<'a>(
        &'a self,
        btf: &'a Btf,
        name: &str,
    ) -> impl Iterator<Item = TypeId> + 'a {
        let name = essential_bytes(name.as_bytes());
        let head = if name.is_empty() {
            END
        } else {
            let same = |&(head, _): &(u32, u32)| own_name(btf, head) == name;
            self.heads.find(self.hasher.hash_one(name), same).map_or(END, |&(head, _)| head)
        };
        let first = Some(head).filter(|&at| at != END);
        let next = |at: &u32| self.next.get(*at as usize).copied().filter(|&at| at != END);
        core::iter::successors(first, next).map(|at| at + btf.inner.start_id)
    }
}

/// Essential name of an own type by position.
fn own_name(btf: &Btf, at: u32) -> &[u8] {
    let name_off =
        btf.inner.offsets.get(at as usize).and_then(|&w| btf.inner.words.get(w as usize));
    essential_bytes(name_off.and_then(|&off| btf.str_bytes(off)).unwrap_or(b""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors() {
        assert_eq!(essential_name("task_struct___old"), "task_struct");
        assert_eq!(essential_name("a___b___c"), "a___b");
        assert_eq!(essential_name("a____b"), "a____b");
        assert_eq!(essential_name("___b"), "___b");
        assert_eq!(essential_name("a___"), "a___");
        assert_eq!(essential_name(""), "");
    }
}
