//! What older kernels get instead of what they do not know. That they take it is seen in virtual machines.

use stylet_btf::builder::IntEncoding;
use stylet_btf::{Btf, BtfBuilder, FuncLinkage, Kind, SecVar, Type, VarLinkage};

use super::*;

/// One type of each kind that some kernel does not know.
fn every_kind() -> Vec<u8> {
    let mut btf = BtfBuilder::new();
    let int = btf.int("int", 4, IntEncoding::Signed);
    let float = btf.float("double", 8);
    let tag = btf.type_tag("user", int);
    btf.ptr(tag);
    let proto = btf.func_proto(int, &[("a", int), ("b", float)]);
    let func = btf.func("f", FuncLinkage::Global, proto);
    btf.decl_tag("arg:ctx", func, Some(0));
    let var = btf.var("v", VarLinkage::Global, int);
    btf.datasec(".data.x", 4, &[SecVar { ty: var, offset: 0, size: 4 }]);
    btf.datasec("?.data", 4, &[SecVar { ty: var, offset: 0, size: 4 }]);
    btf.enum64("big", 8, false, &[("A", 1 << 40), ("B", 2)]);
    btf.enumeration("signed", 4, true, &[("C", -1)]);
    btf.to_bytes().unwrap()
}

#[test]
fn a_kernel_that_knows_all_gets_all() {
    assert_eq!(sanitize(&every_kind(), &Spec::default(), &|_| true), None);
}

#[test]
fn a_kernel_that_knows_nothing_gets_old_kinds_in_the_same_places() {
    let bytes = every_kind();
    let old = Btf::parse(&bytes).unwrap();
    let new = sanitize(&bytes, &Spec::default(), &|_| false).unwrap();
    let new = Btf::parse(&new).unwrap();
    let replaced: Vec<(Kind, Kind)> = old
        .types()
        .map(|(id, ty)| (ty.kind(), new.kind(id).unwrap()))
        .filter(|(old, new)| old != new)
        .collect();
    assert_eq!(
        replaced,
        [
            (Kind::Float, Kind::Struct),
            (Kind::TypeTag, Kind::Const),
            (Kind::FuncProto, Kind::Enum),
            (Kind::Func, Kind::Typedef),
            (Kind::DeclTag, Kind::Int),
            (Kind::Var, Kind::Int),
            (Kind::DataSec, Kind::Struct),
            (Kind::DataSec, Kind::Struct),
            (Kind::Enum64, Kind::Union),
        ]
    );
    let name = |id| new.type_name(id).to_string();
    let structs: Vec<String> =
        new.types().filter(|(_, ty)| ty.kind() == Kind::Struct).map(|(id, _)| name(id)).collect();
    assert_eq!(structs, ["double", "_data_x", "__data"]);
    let Some(Type::Union(union)) =
        new.types().map(|(_, ty)| ty).find(|ty| ty.kind() == Kind::Union)
    else {
        panic!("no union")
    };
    let members: Vec<(String, u32)> =
        union.members().map(|m| (new.name(m.name_off).to_string(), m.bit_offset)).collect();
    assert_eq!(members, [("A".to_string(), 0), ("B".to_string(), 0)]);
    assert_eq!(new.len(), old.len() + 1, "and the integer that stands for 64-bit enumerators");
}

#[test]
fn what_is_no_btf_is_left_as_it_is() {
    let bytes = every_kind();
    for len in 0..bytes.len() {
        sanitize(&bytes[..len], &Spec::default(), &|_| false);
    }
    assert_eq!(sanitize(&[0xff; 64], &Spec::default(), &|_| false), None);
}
