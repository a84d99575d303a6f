//! What the tests of this crate share.
#![allow(dead_code)]

use std::path::PathBuf;

use object::{Object, ObjectSection};
use stylet_btf::Btf;

/// Bytes of a section of an object in `filetests/core_relo`.
pub fn section(object: &str, section: &str) -> Vec<u8> {
    let bytes = std::fs::read(filetests().join(object)).expect("object");
    let elf = object::File::parse(&*bytes).expect("ELF");
    let section = elf.section_by_name(section).expect("section");
    section.data().expect("data").to_vec()
}

/// Types of an object in `filetests/core_relo`.
pub fn btf(object: &str) -> Btf {
    Btf::parse(&section(object, ".BTF")).expect("BTF")
}

/// Where the compiled cases are.
pub fn filetests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../filetests/core_relo")
}
