//! The program's own types of a case, from header lines `// struct: NAME SIZE MEMBER@OFFSET TYPE [, …]`.
//!
//! A TYPE is words: a number type (`u32`, `u64`, …), `struct=NAME` of a line before, or the name of one of the kernel's
//! fields (`bpf_spin_lock`, …), after it `contains=TYPE:NODE` for a list or tree, `xN` for an array of N; before it
//! `ptr` with a tag (`ptr @kptr struct=NAME`), `volatile` or `const`. `${NAME}` in the text is the type's BTF id.

use std::collections::BTreeMap;

use stylet_btf::TypeId;
use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};

/// Structures of the kernel's fields: name, words of eight bytes or of four.
const FIELDS: &[(&str, u32, u32)] = &[
    ("bpf_spin_lock", 1, 4),
    ("bpf_res_spin_lock", 1, 4),
    ("bpf_refcount", 1, 4),
    ("bpf_timer", 2, 8),
    ("bpf_wq", 2, 8),
    ("bpf_task_work", 1, 8),
    ("bpf_list_head", 2, 8),
    ("bpf_list_node", 3, 8),
    ("bpf_rb_root", 2, 8),
    ("bpf_rb_node", 4, 8),
];

/// Types of a case, by name.
#[derive(Default)]
pub struct Types {
    pub out: BtfBuilder,
    pub ids: BTreeMap<String, TypeId>,
}

impl Types {
    /// Reads all lines: structures are numbered before their members are read, so that they may point to each other.
    pub fn parse(lines: &[String]) -> Result<Types, String> {
        let mut types = Types::default();
        lines.iter().try_for_each(|line| types.structure(line))?;
        Ok(types)
    }

    fn field(&mut self, name: &str) -> Option<TypeId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let (_, words, size) = FIELDS.iter().find(|(n, ..)| *n == name)?;
        let elem = self.number(if *size == 4 { "u32" } else { "u64" })?;
        let ty = if *words == 1 { elem } else { self.out.array(elem, elem, *words) };
        let id = self.out.structure(name, words * size, &[MemberDef::new("opaque", ty, 0)]);
        self.ids.insert(name.into(), id);
        Some(id)
    }

    fn number(&mut self, name: &str) -> Option<TypeId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let (c, size) = match name {
            "u8" => ("unsigned char", 1),
            "u16" => ("unsigned short", 2),
            "u32" => ("unsigned int", 4),
            "u64" => ("unsigned long", 8),
            "int" => ("int", 4),
            _ => return None,
        };
        let sign = if name == "int" { IntEncoding::Signed } else { IntEncoding::Unsigned };
        let id = self.out.int(c, size, sign);
        self.ids.insert(name.into(), id);
        Some(id)
    }

    fn structure(&mut self, line: &str) -> Result<(), String> {
        let bad = || format!("struct {line}");
        let (name, rest) = line.trim().split_once(' ').ok_or_else(bad)?;
        let (size, members) = rest.split_once(' ').ok_or_else(bad)?;
        let size: u32 = size.parse().map_err(|_| bad())?;
        let mut defs = Vec::new();
        let mut tags = Vec::new();
        for (n, member) in members.split(',').map(str::trim).enumerate() {
            let (place, ty) = member.split_once(' ').ok_or_else(bad)?;
            let (member, at) = place.split_once('@').ok_or_else(bad)?;
            let at: u32 = at.parse().map_err(|_| bad())?;
            let (id, tag) = self.member_type(ty)?;
            tags.extend(tag.map(|t| (t, n as u32)));
            defs.push((member.to_string(), id, at));
        }
        let defs: Vec<MemberDef<'_>> =
            defs.iter().map(|(name, id, at)| MemberDef::new(name, *id, *at)).collect();
        let id = self.out.structure(name, size, &defs);
        for (tag, n) in tags {
            self.out.decl_tag(&tag, id, Some(n));
        }
        self.ids.insert(name.into(), id);
        Ok(())
    }

    fn member_type(&mut self, text: &str) -> Result<(TypeId, Option<String>), String> {
        let mut tag = None;
        let mut count = None;
        let mut words: Vec<&str> = Vec::new();
        for word in text.split_whitespace() {
            if let Some(what) = word.strip_prefix("contains=") {
                tag = Some(format!("contains:{what}"));
            } else if let Some(n) = word.strip_prefix('x').and_then(|n| n.parse().ok()) {
                count = Some(n);
            } else {
                words.push(word);
            }
        }
        let (last, before) = words.split_last().ok_or("a type is missing")?;
        let name = last.strip_prefix("struct=").unwrap_or(last);
        let known = self.number(name).or_else(|| self.field(name));
        let mut id = match known.or_else(|| self.ids.get(name).copied()) {
            Some(id) => id,
            // A type that only the kernel describes.
            None => {
                let id = self.out.structure(name, 8, &[]);
                self.ids.insert(name.into(), id);
                id
            }
        };
        for word in before.iter().rev() {
            id = match word.strip_prefix('@') {
                Some(tag) => self.out.type_tag(tag, id),
                None if *word == "ptr" => self.out.ptr(id),
                None if *word == "const" => self.out.constant(id),
                None if *word == "volatile" => self.out.volatile(id),
                None => return Err(format!("type word {word}")),
            };
        }
        if let Some(count) = count {
            let index = self.number("u32").unwrap_or(0);
            id = self.out.array(id, index, count);
        }
        Ok((id, tag))
    }

    /// A type of `size` bytes for a map's key.
    pub fn key(&mut self, size: u32) -> TypeId {
        if size == 4 {
            return self.number("int").unwrap_or(0);
        }
        let byte = self.number("u8").unwrap_or(0);
        self.out.array(byte, byte, size)
    }

    /// Text with the ids in place of `${NAME}`.
    pub fn substitute(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_string(), |t, (name, id)| {
            t.replace(&format!("${{{name}}}"), &id.to_string())
        })
    }
}
