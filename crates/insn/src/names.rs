//! Names for numbers, and numbers for names.

use core::fmt;

use stylet_uapi::HelperId;

/// Names that a disassembly shows. Everything may stay a number: `()` knows no name.
pub trait Names {
    /// Name of the kernel function with a BTF id in the BTF number `btf_idx` (0 is vmlinux).
    fn kfunc(&self, btf_id: i32, btf_idx: i16) -> Option<&str> {
        let _ = (btf_id, btf_idx);
        None
    }

    /// Name of the map with an index (`PSEUDO_MAP_IDX`).
    fn map(&self, idx: i32) -> Option<&str> {
        let _ = idx;
        None
    }
}

impl Names for () {}

/// What an assembler's names stand for. `()` knows none.
pub trait Symbols {
    /// BTF id and BTF number (0 is vmlinux) of a kernel function.
    fn kfunc(&self, name: &str) -> Option<(i32, i16)> {
        let _ = name;
        None
    }

    /// Index of a map (`PSEUDO_MAP_IDX`).
    fn map(&self, name: &str) -> Option<i32> {
        let _ = name;
        None
    }
}

impl Symbols for () {}

/// A helper's name as the kernel prints it (`bpf_map_lookup_elem`), `unknown` when it has none.
pub(crate) struct HelperName(pub i32);

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = u32::try_from(self.0).ok().and_then(|id| HelperId(id).name());
        match name {
            None if self.0 == 0 => f.write_str("bpf_unspec"),
            Some(name) => {
                f.write_str("bpf_")?;
                name.chars().try_for_each(|c| fmt::Write::write_char(f, c.to_ascii_lowercase()))
            }
            None => f.write_str("unknown"),
        }
    }
}

/// The helper of a name, with or without `bpf_`. Number 0 has a name too, and is none.
pub(crate) fn helper_by_name(name: &str) -> Option<HelperId> {
    let name = name.strip_prefix("bpf_").unwrap_or(name);
    if name == "unspec" {
        return Some(HelperId(0));
    }
    let found = HelperId::ALL.iter().find(|(_, upper)| {
        upper.len() == name.len()
            && upper.bytes().zip(name.bytes()).all(|(u, l)| u.to_ascii_lowercase() == l)
    });
    found.map(|(id, _)| *id)
}
