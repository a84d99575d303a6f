//! Which names the kernel takes.

use crate::{Btf, limits};

/// A C identifier, in which dots are allowed too (`btf_name_valid_identifier`).
pub(super) fn is_identifier(btf: &Btf, name_off: u32) -> bool {
    let name = btf.str_bytes(name_off).unwrap_or(b"");
    let other = |&b: &u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    !name.first().is_none_or(u8::is_ascii_digit)
        && name.len() < limits::KSYM_NAME_LEN
        && name.iter().all(other)
}

/// Printable characters (`btf_name_valid_section`).
pub(super) fn is_section(btf: &Btf, name_off: u32) -> bool {
    let name = btf.str_bytes(name_off).unwrap_or(b"");
    let printable = |&b: &u8| b.is_ascii_graphic() || b == b' ';
    !name.is_empty() && name.len() < limits::KSYM_NAME_LEN && name.iter().all(printable)
}
