//! Maps that hold variables: `.rodata*`, `.data*`, `.bss*`, `.kconfig` (`bpf_object__init_internal_map`).

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use stylet_uapi::MapType;

use crate::elf::Elf;
use crate::elf::collect::Collected;
use crate::error::Error;
use crate::spec::{MapKind, MapSpec};

/// Bytes of a kernel object's name with its NUL (`BPF_OBJ_NAME_LEN`).
const OBJ_NAME_LEN: usize = 16;
/// `BPF_F_RDONLY_PROG`
const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`
pub(crate) const F_MMAPABLE: u32 = 1 << 10;
/// All data sections of an object together: what a small file with a hostile `.bss` may make us allocate.
const MAX_DATA: u64 = 64 << 20;

/// Refuses objects whose data sections together are larger than anything a program uses.
pub(crate) fn check_data_size(elf: &Elf<'_>, collected: &Collected<'_>) -> Result<(), Error> {
    let sizes = collected.data.iter().map(|&(idx, _)| elf.sections[idx].size);
    match sizes.fold(0u64, u64::saturating_add) {
        0..=MAX_DATA => Ok(()),
        value => Err(Error::Limit { what: "bytes of data sections", value, max: MAX_DATA }),
    }
}

/// The maps of an object's data sections, each with the section it holds.
pub(crate) fn data_maps(
    elf: &Elf<'_>,
    collected: &Collected<'_>,
    name: &str,
) -> Vec<(usize, MapSpec)> {
    let map = |&(idx, kind): &(usize, MapKind)| {
        let section = &elf.sections[idx];
        let contents = match kind {
            MapKind::Bss => vec![0; section.size as usize],
            _ => section.data.to_vec(),
        };
        (idx, internal_map(name, section.name, kind, contents))
    };
    collected.data.iter().map(map).collect()
}

/// An array of one value. Its BTF and `BPF_F_MMAPABLE` follow from the object's BTF, see `btf_fixup`.
pub(crate) fn internal_map(
    obj_name: &str,
    section: &str,
    kind: MapKind,
    contents: Vec<u8>,
) -> MapSpec {
    MapSpec {
        name: internal_map_name(obj_name, section),
        section: section.to_string(),
        kind,
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: contents.len() as u32,
        max_entries: 1,
        map_flags: if kind.is_frozen() { F_RDONLY_PROG } else { 0 },
        contents,
        ..MapSpec::default()
    }
}

/// libbpf's `internal_map_name`: as much of the object's name as leaves room for the section's, which counts as
/// 7 bytes at least; none of it for a section with a second dot; 15 bytes in all, of which only letters, digits,
/// `_` and `.` stay.
pub(crate) fn internal_map_name(obj_name: &str, section: &str) -> String {
    let suffix = section.len().clamp(7, OBJ_NAME_LEN - 1);
    let custom = section.bytes().skip(1).any(|b| b == b'.');
    let prefix = if custom { 0 } else { OBJ_NAME_LEN - 1 - suffix };
    let bytes = obj_name.bytes().take(prefix).chain(section.bytes().take(suffix));
    let keep = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    bytes.map(|b| if keep(b) { b as char } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::internal_map_name;

    #[test]
    fn names() {
        assert_eq!(internal_map_name("my_object_name", ".rodata"), "my_objec.rodata");
        assert_eq!(internal_map_name("my_object_name", ".bss"), "my_objec.bss");
        assert_eq!(internal_map_name("my_object_name", ".kconfig"), "my_obje.kconfig");
        assert_eq!(internal_map_name("a-b", ".data"), "a_b.data");
        assert_eq!(internal_map_name("obj", ".rodata.abracadabra"), ".rodata.abracad");
        assert_eq!(internal_map_name("obj", ".data.x"), ".data.x");
    }
}
