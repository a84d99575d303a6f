//! Types as C: the text, and that it compiles to the same types.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use object::{Object, ObjectSection};
use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::{Btf, Kind, Type, dump};

#[test]
fn definitions() {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    let node = b.next_id() + 1;
    let ptr = b.ptr(node);
    let inner = b.union("", 4, &[MemberDef::new("x", int, 0), MemberDef::new("y", int, 0)]);
    assert_eq!(node, inner);
    let list = b.next_id() + 3;
    let next = b.ptr(list);
    let proto = b.func_proto(0, &[("", next), ("n", int), ("", 0)]);
    let hook = b.ptr(proto);
    let members = [
        MemberDef::new("next", next, 0),
        MemberDef::new("", inner, 8),
        MemberDef { name: "bit", ty: int, bit_offset: 96, bitfield_size: 3 },
        MemberDef::new("hook", hook, 24),
    ];
    assert_eq!(b.structure("list", 40, &members), list);
    let packed = b.structure("packed", 5, &[MemberDef::new("c", int, 1)]);
    let alias = b.typedef("list_t", list);
    let small = b.enumeration("small", 1, false, &[("A", 0), ("B", 255)]);
    let wide = b.enum64("wide", 8, false, &[("W", -1)]);
    let _ = ptr;
    let btf = b.build().expect("valid");
    let def = |id| dump::type_def(&btf, id).expect("shallow");
    let expected = "\
struct list {
	struct list *next;
	union {
		int x;
		int y;
	};
	int bit: 3;
	long long: 64;
	void (*hook)(struct list *, int n, ...);
	long long: 64;
};
";
    // The padding in front of `hook` starts in the middle of a word.
    let expected = expected.replacen("\tlong long: 64;\n", PADDING, 1);
    assert_eq!(def(list), expected);
    assert_eq!(def(packed), "struct packed {\n\tchar: 8;\n\tint c;\n} __attribute__((packed));\n");
    assert_eq!(def(alias), "typedef struct list list_t;\n");
    let text = "enum small {\n\tA = 0,\n\tB = 255,\n} __attribute__((mode(byte)));\n";
    assert_eq!(def(small), text);
    assert_eq!(def(wide), "enum wide {\n\tW = 18446744073709551615ULL,\n};\n");
    assert_eq!(def(next), "struct list *");
}

/// From bit 99 to bit 192.
const PADDING: &str = "\tchar: 5;\n\tchar: 8;\n\tshort: 16;\n\tlong long: 64;\n";

#[test]
fn declared_before_use_and_unique() {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    // struct a { struct b *b; }; struct b { struct a a; };
    let a = b.next_id();
    let ptr = b.next_id() + 1;
    b.structure("a", 8, &[MemberDef::new("b", ptr, 0)]);
    b.ptr(ptr + 1);
    b.structure("b", 8, &[MemberDef::new("a", a, 0)]);
    b.structure("a", 4, &[MemberDef::new("other", int, 0)]);
    b.enumeration("", 4, false, &[("ONE", 1)]);
    let text = dump::c_source(&b.build().expect("valid")).expect("shallow");
    let expected = "\
struct b;

struct a {
	struct b *b;
};

struct b {
	struct a a;
};

struct a___2 {
	int other;
};

enum {
	ONE = 1,
};

";
    assert_eq!(text, expected);
}

/// Size in bytes; declaration, bit offset and bitfield size of each member.
type Layout = (u32, Vec<(String, u32, u32)>);

/// Layouts of all named structs and unions.
fn layouts(btf: &Btf) -> BTreeMap<String, Layout> {
    let mut found = BTreeMap::new();
    for (_, t) in btf.types() {
        let (Type::Struct(c) | Type::Union(c)) = t else { continue };
        let name = btf.name(c.name_off).to_owned();
        if name.is_empty() {
            continue;
        }
        // Padding comes out as members without a name or as `__pad`.
        let members = c
            .members()
            .filter(|m| m.name_off != 0 || btf.kind(m.ty).is_some_and(Kind::is_composite));
        let member = |m: stylet_btf::Member| {
            (btf.decl_string(m.ty, btf.name(m.name_off)), m.bit_offset, m.bitfield_size)
        };
        found.insert(name, (c.size, members.map(member).collect()));
    }
    found
}

#[test]
fn compiles_to_the_same_types() {
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!("skipped: no clang");
        return;
    }
    let dir = std::env::temp_dir().join(format!("stylet-btf-dump-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("temporary directory");
    for case in ["fields", "arrays", "memory", "bitfields", "flavors", "types", "matches"] {
        let btf = common::btf(&format!("{case}.target.o"));
        let mut source = dump::c_source(&btf).expect("shallow");
        let wanted = layouts(&btf);
        for (i, (id, t)) in btf.types().enumerate() {
            if t.kind().is_composite() && !btf.type_name(id).is_empty() {
                source += &format!("{} keep_{i};\n", btf.type_string(id));
            }
        }
        let (c, o) = (dir.join(format!("{case}.c")), dir.join(format!("{case}.o")));
        std::fs::write(&c, source).expect("write");
        let clang = Command::new("clang")
            .args(["-target", "bpf", "-g", "-O1", "-w", "-c", "-o"])
            .args([&o, &c])
            .output()
            .expect("clang");
        assert!(clang.status.success(), "{case}: {}", String::from_utf8_lossy(&clang.stderr));
        let bytes = std::fs::read(&o).expect("object");
        let elf = object::File::parse(&*bytes).expect("ELF");
        let section = elf.section_by_name(".BTF").expect("BTF");
        let compiled = Btf::parse(section.data().expect("data")).expect("valid");
        assert_eq!(layouts(&compiled), wanted, "{case}");
    }
    std::fs::remove_dir_all(&dir).expect("temporary directory");
}

/// Each anonymous struct has the one before twice: written out, there would be 2^31 of them.
#[test]
fn endless_text_is_refused() {
    let mut b = BtfBuilder::new();
    let mut inner = b.int("int", 4, IntEncoding::Signed);
    for _ in 0..30 {
        let members = [MemberDef::new("a", inner, 0), MemberDef::new("b", inner, 0)];
        inner = b.structure("", 4, &members);
    }
    let outer = b.typedef("outer", inner);
    let btf = b.build().expect("valid");
    assert!(dump::c_source(&btf).is_err());
    assert!(dump::type_def(&btf, outer).is_err());
    assert_eq!(btf.align_of(outer), Ok(4));
    assert!(stylet_btf::value::decode(&btf, outer, &[0; 4]).to_string().len() > 4);
}
