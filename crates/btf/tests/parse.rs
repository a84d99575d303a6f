//! Parsing: what compilers write, split BTF, byte order, and broken input.

mod common;

use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::{
    Btf, Error, Ext, ExtFault, Fault, HeaderFault, Kind, ReloKind, Type, essential_name,
};

fn sample() -> BtfBuilder {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    let ptr = b.ptr(int);
    b.structure("pair", 16, &[MemberDef::new("a", int, 0), MemberDef::new("p", ptr, 8)]);
    b
}

#[test]
fn names_and_kinds_of_a_compiled_object() {
    let btf = common::btf("fields.target.o");
    let moved = btf.find_by_name_kind("moved", Kind::Struct).expect("struct moved");
    assert_eq!(btf.find_by_name_kind("moved", Kind::Union), None);
    assert_eq!(btf.find_by_name("moved").collect::<Vec<_>>(), [moved]);
    let Ok(Type::Struct(moved)) = btf.get(moved) else { panic!("not a struct") };
    let members: Vec<_> = moved
        .members()
        .map(|m| (btf.decl_string(m.ty, btf.name(m.name_off)), m.bit_offset / 8))
        .collect();
    let expected = [
        ("char pad[12]", 0),
        ("int b", 12),
        ("u64 c", 16),
        ("int a", 24),
        ("struct inner in", 32),
        ("const volatile struct inner *ptr", 56),
    ];
    assert_eq!(members, expected.map(|(text, offset)| (text.to_owned(), offset)));
}

#[test]
fn type_strings() {
    let btf = common::btf("types.target.o");
    let text = |name: &str| {
        let id = btf.find_by_name_kind(name, Kind::Typedef).expect(name);
        let Ok(Type::Typedef(r)) = btf.get(id) else { panic!("{name}") };
        btf.type_string(r.ty)
    };
    assert_eq!(text("t_fn"), "int (*)(u64, struct s *)");
    assert_eq!(text("t_array"), "int[7]");
    assert_eq!(text("t_array_of_ptr"), "int *[2]");
    assert_eq!(text("t_proto"), "int (int)");
    assert_eq!(text("t_anon"), "struct (anon)");
    assert_eq!(text("t_mods").split(' ').count(), 3);
    assert_eq!(btf.type_string(9999), "<invalid type 9999>");
}

#[test]
fn sizes_and_alignment() {
    let btf = common::btf("bitfields.target.o");
    let tight = btf.find_by_name_kind("tight", Kind::Struct).expect("tight");
    let bits = btf.find_by_name_kind("bits", Kind::Struct).expect("bits");
    assert_eq!((btf.resolve_size(bits), btf.align_of(bits)), (Ok(40), Ok(8)));
    assert_eq!(btf.align_of(tight), Ok(1));
    let fault = Fault::NoSize;
    assert_eq!(btf.resolve_size(0), Err(Error::Type { id: 0, kind: Kind::Void, fault }));
    assert_eq!(btf.resolve_size(9999), Err(Error::NoSuchType { id: 9999 }));
}

#[test]
fn array_size_overflow() {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, IntEncoding::Signed);
    let inner = b.array(int, int, 1 << 16);
    let outer = b.array(inner, int, 1 << 16);
    let btf = b.build().expect("valid");
    let refused = btf.resolve_size(outer);
    assert!(matches!(refused, Err(Error::Type { fault: Fault::Overflow, .. })), "{refused:?}");
    assert_eq!(btf.resolve_size(inner), Ok(4 << 16));
}

#[test]
fn round_trip() {
    let bytes = sample().to_bytes().expect("fits");
    let btf = Btf::parse(&bytes).expect("valid");
    assert_eq!(btf.to_bytes(), bytes);
    let built = sample().build().expect("valid");
    assert_eq!(built.to_bytes(), bytes);
    for object in ["fields.target.o", "types.bpf.o", "bitfields.target.o"] {
        let btf = common::btf(object);
        let mut b = BtfBuilder::new();
        for (id, _) in btf.types() {
            assert_eq!(b.copy(&btf, id, |id| id), id);
        }
        let copy = Btf::parse(&b.to_bytes().expect("fits")).expect("valid");
        assert_eq!(copy.len(), btf.len());
        for (id, t) in btf.types() {
            assert_eq!(copy.kind(id), Some(t.kind()));
            assert_eq!(copy.type_string(id), btf.type_string(id));
            assert_eq!(copy.resolve_size(id), btf.resolve_size(id));
        }
    }
}

#[test]
fn big_endian() {
    let mut bytes = sample().to_bytes().expect("fits");
    let little = Btf::parse(&bytes).expect("valid");
    bytes[..2].reverse();
    let strings = bytes.len() - little.strings_len() as usize;
    bytes[4..strings].chunks_exact_mut(4).for_each(<[u8]>::reverse);
    let big = Btf::parse(&bytes).expect("valid");
    assert!(big.is_big_endian());
    assert_eq!(big.to_bytes(), bytes);
    assert!(little.types().map(|(_, t)| t).eq(big.types().map(|(_, t)| t)));
}

#[test]
fn split() {
    let base = sample().build().expect("valid");
    let mut b = BtfBuilder::split(&base);
    let pair = base.find_by_name_kind("pair", Kind::Struct).expect("pair");
    let twice =
        b.structure("twice", 32, &[MemberDef::new("x", pair, 0), MemberDef::new("y", pair, 16)]);
    let again = b.structure("pair", 4, &[MemberDef::new("z", 1, 0)]);
    let split = Btf::parse_split(&b.to_bytes().expect("fits"), &base).expect("valid");
    assert_eq!((twice, split.start_id()), (base.len(), base.len()));
    assert_eq!(split.type_string(twice), "struct twice");
    assert_eq!(split.find_by_name("pair").collect::<Vec<_>>(), [pair, again]);
    assert_eq!(split.find_by_name_kind("twice", Kind::Struct), Some(twice));
    assert_eq!(split.align_of(twice), Ok(8));
    assert_eq!(base.type_by_id(twice), None);
    // Without its base it is broken.
    assert!(Btf::parse(&b.to_bytes().expect("fits")).is_err());
}

#[test]
fn essential_names_find_flavors() {
    let btf = common::btf("flavors.target.o");
    let names: Vec<_> =
        btf.find_by_essential_name("agree___x").map(|id| btf.type_name(id)).collect();
    assert_eq!(names, ["agree", "agree___2"]);
    assert_eq!(btf.find_by_name("agree").count(), 1);
    assert_eq!(essential_name("double___two___seps"), "double___two");
}

#[test]
fn ext_of_a_compiled_object() {
    let btf = common::btf("enums.bpf.o");
    let bytes = common::section("enums.bpf.o", ".BTF.ext");
    let ext = Ext::parse(&bytes, &btf).expect("valid");
    assert_eq!(ext.func_info.len(), 1);
    assert_eq!(ext.func_info[0].name, "raw_tp");
    let relos = &ext.core_relo[0].records;
    assert_eq!(relos[0].kind, ReloKind::EnumvalExists);
    assert_eq!((relos[0].insn_off, btf.str(relos[0].access_str_off)), (0, Some("0")));
    let line = &ext.line_info[0].records[0];
    assert!(btf.name(line.file_name_off).ends_with("enums.bpf.c"));
    assert!(btf.name(line.line_off).starts_with("TEST(a, enum plain, A)"));
    assert!(line.line() > 0 && line.col() > 0);

    for len in 0..bytes.len() {
        assert!(Ext::parse(&bytes[..len], &btf).is_err(), "{len} bytes");
    }
    let mut bad = bytes.clone();
    bad[32..36].copy_from_slice(&6u32.to_le_bytes());
    let fault = ExtFault::RecordSize { size: 6 };
    assert!(matches!(Ext::parse(&bad, &btf), Err(Error::Ext { fault: f, .. }) if f == fault));
}

#[test]
fn broken_headers() {
    let bytes = sample().to_bytes().expect("fits");
    let fault = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        match Btf::parse(&bytes) {
            Err(Error::Header { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault(0, 0x0001_eb00), HeaderFault::Magic { magic: 0xeb00 });
    assert_eq!(fault(0, 0x0002_eb9f), HeaderFault::Version { version: 2 });
    assert_eq!(fault(0, 0x0101_eb9f), HeaderFault::Flags { flags: 1 });
    assert_eq!(fault(4, 20), HeaderFault::HdrLen { hdr_len: 20 });
    assert!(matches!(fault(12, u32::MAX), HeaderFault::Section { part: "type section", .. }));
    assert!(matches!(fault(16, u32::MAX), HeaderFault::Section { part: "string section", .. }));
    assert_eq!(fault(8, 2), HeaderFault::Unaligned { part: "type section" });
    for len in 0..bytes.len() {
        assert!(Btf::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn broken_types() {
    let fault = |b: BtfBuilder| match b.build() {
        Err(Error::Type { id, fault, .. }) => (id, fault),
        other => panic!("{other:?}"),
    };
    let mut b = sample();
    b.ptr(77);
    assert_eq!(fault(b), (4, Fault::TypeId { type_id: 77 }));
    let mut b = sample();
    b.typedef("t", 5);
    b.constant(4);
    assert_eq!(fault(b), (5, Fault::Loop));
    let mut b = sample();
    b.structure("s", 4, &[MemberDef::new("s", 4, 0)]);
    assert_eq!(fault(b), (4, Fault::Loop));
    let mut b = sample();
    (4..40).for_each(|id| _ = b.ptr(id + 1));
    b.ptr(0);
    assert_eq!(fault(b).1, Fault::Depth { depth: 32 });
}

/// Any change to real BTF ends in an error or in a set that can be used.
#[test]
fn mutations() {
    let seed = common::section("types.target.o", ".BTF");
    arbtest::arbtest(|u| {
        let mut bytes = seed.clone();
        for _ in 0..u.int_in_range(1..=4)? {
            let at = u.choose_index(bytes.len())?;
            bytes[at] = u.arbitrary()?;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            let _ = btf.check();
            let _ = stylet_btf::dump::c_source(&btf);
            for (id, _) in btf.types() {
                let _ = (btf.resolve_size(id), btf.align_of(id), btf.type_string(id));
                let _ = stylet_btf::value::decode(&btf, id, &seed[..64]).to_string();
            }
        }
        Ok(())
    });
}
