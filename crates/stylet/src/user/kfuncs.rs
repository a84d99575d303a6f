//! The runtime's kfuncs in the user backend's BTF.

use std::collections::BTreeMap;
use stylet_btf::builder::{IntEncoding, MemberDef};
use stylet_btf::{BtfBuilder, FuncLinkage, TypeId};
use stylet_runtime::kfuncs::TABLE;

/// What `u32` and the like are.
const TYPEDEFS: [(&str, &str); 8] = [
    ("__u8", "unsigned char"),
    ("__u32", "unsigned int"),
    ("__u64", "long long unsigned int"),
    ("u8", "__u8"),
    ("u32", "__u32"),
    ("u64", "__u64"),
    ("bool", "_Bool"),
    ("size_t", "long unsigned int"),
];

/// Structures that programs have on their stacks, and their words.
const OPAQUE: [(&str, u32); 3] = [("bpf_dynptr", 2), ("bpf_iter_num", 1), ("bpf_iter_bits", 2)];

/// Types by the way C writes them.
struct Types<'b> {
    b: &'b mut BtfBuilder,
    known: BTreeMap<String, TypeId>,
}

/// Adds every kfunc with the types it names; `ulong` is the type `long unsigned int`.
pub(super) fn add(b: &mut BtfBuilder, ulong: TypeId) {
    let ints = [
        ("int", b.int("int", 4, IntEncoding::Signed)),
        ("char", b.int("char", 1, IntEncoding::Char)),
        ("_Bool", b.int("_Bool", 1, IntEncoding::Bool)),
        ("unsigned char", b.int("unsigned char", 1, IntEncoding::Unsigned)),
        ("unsigned int", b.int("unsigned int", 4, IntEncoding::Unsigned)),
        ("long long unsigned int", b.int("long long unsigned int", 8, IntEncoding::Unsigned)),
        ("long unsigned int", ulong),
        ("void", 0),
    ];
    let known = ints.into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
    let mut types = Types { b, known };
    for (name, of) in TYPEDEFS {
        let of = types.id(of);
        let id = types.b.typedef(name, of);
        types.known.insert(name.to_owned(), id);
    }
    let word = types.id("__u64");
    for (name, words) in OPAQUE {
        let array = types.b.array(word, ulong, words);
        let id = types.b.structure(name, 8 * words, &[MemberDef::new("__opaque", array, 0)]);
        types.known.insert(format!("struct {name}"), id);
    }
    for (decl, _) in TABLE {
        types.func(decl);
    }
}

impl Types<'_> {
    /// The type of this name: `const struct bpf_dynptr *`. What is not known is `void`, which no test lets pass.
    fn id(&mut self, text: &str) -> TypeId {
        let text = text.trim();
        if let Some(&id) = self.known.get(text) {
            return id;
        }
        let id = if let Some(of) = text.strip_suffix('*') {
            let of = self.id(of);
            self.b.ptr(of)
        } else if let Some(of) = text.strip_prefix("const ") {
            let of = self.id(of);
            self.b.constant(of)
        } else {
            0
        };
        self.known.insert(text.to_owned(), id);
        id
    }

    /// A function by its declaration.
    fn func(&mut self, decl: &str) {
        let (head, rest) = decl.split_once('(').unwrap_or((decl, ""));
        let (ret, name) = split(head);
        let ret = self.id(ret);
        let params: Vec<(&str, TypeId)> = rest
            .trim_end_matches(')')
            .split(',')
            .filter(|p| *p != "void")
            .map(|param| {
                let (ty, name) = split(param);
                (name, self.id(ty))
            })
            .collect();
        let proto = self.b.func_proto(ret, &params);
        self.b.func(name, FuncLinkage::Static, proto);
    }
}

/// A declarator: type and name.
fn split(text: &str) -> (&str, &str) {
    let at = text.rfind([' ', '*']).map_or(0, |at| at + 1);
    (&text[..at], &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stylet_btf::Kind;
    use stylet_runtime::kfuncs::name;

    #[test]
    fn declarations_are_as_in_c() {
        let mut b = BtfBuilder::new();
        let ulong = b.int("long unsigned int", 8, IntEncoding::Unsigned);
        add(&mut b, ulong);
        let btf = b.build().unwrap();
        let c = stylet_btf::dump::c_source(&btf).unwrap();
        for structure in [
            "struct bpf_iter_num {\n\t__u64 __opaque[1];\n}",
            "typedef __u32 u32;",
            "typedef _Bool bool;",
        ] {
            assert!(c.contains(structure), "{structure}: {c}");
        }
        for (decl, _) in TABLE {
            let id = btf.find_by_name_kind(name(decl), Kind::Func).expect(decl);
            let Some(stylet_btf::Type::Func(func)) = btf.type_by_id(id) else { panic!("{decl}") };
            let Some(stylet_btf::Type::FuncProto(proto)) = btf.type_by_id(func.ty) else {
                panic!("{decl}")
            };
            let params: Vec<&str> = proto.params().map(|p| btf.name(p.name_off)).collect();
            let text = decl.split_once('(').unwrap().1;
            for param in &params {
                assert!(
                    text.contains(&format!("{param},")) || text.ends_with(&format!("{param})")),
                    "{decl}: {param}"
                );
            }
            assert!(proto.params().all(|p| p.ty != 0), "{decl}: a type is not known");
            assert_eq!(
                params.len(),
                if text == "void)" { 0 } else { text.split(',').count() },
                "{decl}"
            );
        }
    }
}
