//! The user backend's own "vmlinux" BTF, against which CO-RE relocates.
//!
//! It has what programs ask a kernel for by name: `struct pt_regs`, the helpers that exist (`enum bpf_func_id`), the map
//! types that exist (`enum bpf_map_type`) and `struct bpf_ringbuf`, so that the usual feature tests
//! (`bpf_core_enum_value_exists`, `bpf_core_type_exists`) give true answers; and the kfuncs that exist, which `extern ...
//! __ksym` finds.

use stylet_btf::builder::{IntEncoding, MemberDef};
use stylet_btf::{Btf, BtfBuilder};
use stylet_uapi::{HelperId, MapType, PtRegs};

/// Builds the BTF for a backend that has these helpers and map types.
///
/// # Errors
/// Those of the writer, which mean that this function is wrong.
pub fn btf(helpers: &[u32], map_types: &[MapType]) -> Result<Btf, stylet_btf::Error> {
    let mut b = BtfBuilder::new();
    let ulong = b.int("long unsigned int", 8, IntEncoding::Unsigned);
    let regs: Vec<MemberDef> = PtRegs::FIELDS
        .iter()
        .enumerate()
        .map(|(i, name)| MemberDef::new(name, ulong, 8 * i as u32))
        .collect();
    b.structure("pt_regs", PtRegs::SIZE as u32, &regs);
    b.structure("bpf_ringbuf", 8, &[MemberDef::new("mask", ulong, 0)]);
    let names: Vec<(String, i32)> = helpers
        .iter()
        .filter_map(|&id| Some((HelperId(id).name()?, id)))
        .map(|(name, id)| (format!("BPF_FUNC_{}", name.to_ascii_lowercase()), id as i32))
        .collect();
    let values: Vec<(&str, i32)> = names.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    b.enumeration("bpf_func_id", 4, false, &values);
    let names: Vec<(String, i32)> = map_types
        .iter()
        .filter_map(|t| Some((format!("{}{}", MapType::PREFIX, t.name()?), t.0 as i32)))
        .collect();
    let values: Vec<(&str, i32)> = names.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    b.enumeration("bpf_map_type", 4, false, &values);
    super::kfuncs::add(&mut b, ulong);
    Btf::parse(&b.to_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stylet_btf::Kind;

    #[test]
    fn what_exists_can_be_found_by_name() {
        let btf = btf(&[HelperId::RINGBUF_OUTPUT.0], &[MapType::HASH]).unwrap();
        let regs = btf.find_by_name_kind("pt_regs", Kind::Struct).unwrap();
        assert_eq!(btf.resolve_size(regs).unwrap(), 168);
        let ids = btf.find_by_name_kind("bpf_func_id", Kind::Enum).unwrap();
        let Some(stylet_btf::Type::Enum(e)) = btf.type_by_id(ids) else { panic!("not an enum") };
        let names: Vec<_> =
            e.values().map(|v| (btf.name(v.name_off).to_owned(), v.value)).collect();
        assert_eq!(names, [("BPF_FUNC_ringbuf_output".to_owned(), 130)]);
    }
}
