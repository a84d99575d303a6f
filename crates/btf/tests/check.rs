//! What the kernel refuses. Each of these was seen on Linux 6.18 with the message in its comment.

mod common;

use stylet_btf::builder::{BtfBuilder, IntEncoding, MemberDef};
use stylet_btf::{Error, Fault, FuncLinkage, SecVar, TypeId, VarLinkage};

const INT: TypeId = 1;

/// The fault of a set with an `int` and what `add` adds; `None` when the kernel takes it.
fn fault(add: impl FnOnce(&mut BtfBuilder)) -> Option<Fault> {
    let mut b = BtfBuilder::new();
    assert_eq!(b.int("int", 4, IntEncoding::Signed), INT);
    add(&mut b);
    match b.build().expect("parses").check() {
        Ok(()) => None,
        Err(Error::Type { fault, .. }) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn names() {
    let name = Some(Fault::Name);
    // "Invalid name"
    assert_eq!(fault(|b| _ = b.structure("not a name", 0, &[])), name);
    assert_eq!(fault(|b| _ = b.structure("1st", 0, &[])), name);
    assert_eq!(fault(|b| _ = b.typedef("", INT)), name);
    assert_eq!(fault(|b| _ = b.fwd("", false)), name);
    assert_eq!(fault(|b| _ = b.type_tag("", INT)), name);
    assert_eq!(fault(|b| _ = b.structure("with.dot", 0, &[])), None);
    assert_eq!(fault(|b| _ = b.structure("", 0, &[])), None);
}

#[test]
fn members() {
    let s =
        |member: MemberDef<'static>, size| fault(move |b| _ = b.structure("s", size, &[member]));
    assert_eq!(s(MemberDef::new("a", INT, 0), 4), None);
    // "Member exceeds struct_size"
    assert_eq!(s(MemberDef::new("a", INT, 0), 3), Some(Fault::MemberEnd { member: 0 }));
    // "Member bits_offset exceeds its struct size"
    assert_eq!(s(MemberDef::new("a", INT, 8), 4), Some(Fault::MemberEnd { member: 0 }));
    // "Invalid type_id"
    let fault_of_void = Fault::MemberType { member: 0, type_id: 0 };
    assert_eq!(s(MemberDef::new("a", 0, 0), 4), Some(fault_of_void));
    // "Invalid member bitfield_size"
    let wide = MemberDef { bitfield_size: 33, ..MemberDef::new("a", INT, 0) };
    assert_eq!(s(wide, 8), Some(Fault::MemberBits { member: 0, bits: 33 }));
    // "Invalid member bits_offset"
    let back = [MemberDef::new("a", INT, 4), MemberDef::new("b", INT, 0)];
    let back_fault = Fault::MemberOffset { member: 1, bits: 0 };
    assert_eq!(fault(|b| _ = b.structure("s", 8, &back)), Some(back_fault));
    let apart = Fault::MemberOffset { member: 0, bits: 32 };
    assert_eq!(fault(|b| _ = b.union("u", 8, &back)), Some(apart));
}

#[test]
fn functions_and_variables() {
    let proto = |b: &mut BtfBuilder, name| b.func_proto(INT, &[(name, INT)]);
    assert_eq!(
        fault(|b| {
            let p = proto(b, "x");
            b.func("f", FuncLinkage::Global, p);
        }),
        None
    );
    // "Invalid arg#1"
    let no_name = fault(|b| {
        let p = proto(b, "");
        b.func("f", FuncLinkage::Global, p);
    });
    assert_eq!(no_name, Some(Fault::Arg { arg: 0 }));
    // "Invalid func linkage"
    let linkage = fault(|b| {
        let p = proto(b, "x");
        b.func("f", FuncLinkage::Extern, p);
    });
    assert_eq!(linkage, Some(Fault::Linkage { linkage: 2 }));
    // "Invalid type_id"
    let no_proto = fault(|b| _ = b.func("f", FuncLinkage::Static, INT));
    assert_eq!(no_proto, Some(Fault::TypeId { type_id: INT }));
    // "Linkage not supported"
    let var = fault(|b| _ = b.var("v", VarLinkage::Extern, INT));
    assert_eq!(var, Some(Fault::Linkage { linkage: 2 }));
    let sec = |offset, size| {
        fault(move |b| {
            let ty = b.var("v", VarLinkage::Global, INT);
            b.datasec(".data", 8, &[SecVar { ty, offset, size }]);
        })
    };
    assert_eq!(sec(4, 4), None);
    // "Invalid offset", "Invalid size"
    assert_eq!(sec(8, 4), Some(Fault::SecOffset { var: 0 }));
    assert_eq!(sec(0, 2), Some(Fault::SecSize { var: 0 }));
}

#[test]
fn arrays_and_tags() {
    // "Invalid elem", "Invalid index"
    assert_eq!(fault(|b| _ = b.array(0, INT, 1)), Some(Fault::Elem { type_id: 0 }));
    let ptr_index = fault(|b| {
        let p = b.ptr(0);
        b.array(INT, p, 1);
    });
    assert_eq!(ptr_index, Some(Fault::Index { type_id: 2 }));
    // "Array size overflows U32_MAX"
    assert_eq!(fault(|b| _ = b.array(INT, INT, u32::MAX)), Some(Fault::Overflow));
    // "Type tags don't precede modifiers"
    let tags = fault(|b| {
        let t = b.type_tag("t", INT);
        b.constant(t);
    });
    assert_eq!(tags, Some(Fault::TagOrder));
    assert_eq!(
        fault(|b| {
            let c = b.constant(INT);
            b.type_tag("t", c);
        }),
        None
    );
    // "Invalid component_idx"
    let component = fault(|b| {
        let s = b.structure("s", 4, &[MemberDef::new("a", INT, 0)]);
        b.decl_tag("t", s, Some(1));
    });
    assert_eq!(component, Some(Fault::Component { index: 1 }));
}

#[test]
fn compiled_objects_pass() {
    for object in ["fields.target.o", "bitfields.target.o", "matches.target.o", "enums.target.o"] {
        assert_eq!(common::btf(object).check(), Ok(()), "{object}");
    }
}
