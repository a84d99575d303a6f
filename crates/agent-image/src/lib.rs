//! The agent image: position-independent code and constants that go to offset 0 of an arena's text.
//!
//! The build script builds `crates/agent` and refuses to go on if the result needs relocation at run time, has data to
//! write to, can panic, or touches vector registers wider than 128 bits.
#![no_std]

include!(concat!(env!("OUT_DIR"), "/image.rs"));

/// Offset of a symbol from the image's first byte: `stylet_helper_<id>`, `stylet_slot_enter`, `stylet_slot_leave`.
pub fn symbol(name: &str) -> Option<u32> {
    let i = SYMBOLS.binary_search_by(|&(n, _)| n.cmp(name)).ok()?;
    Some(SYMBOLS.get(i)?.1)
}
