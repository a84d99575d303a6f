//! Changes to real inputs.

use arbitrary::{Result, Unstructured};

/// Numbers at which parsers err: signs, sizes, off-by-ones.
const INTERESTING: &[u64] = &[
    0,
    1,
    2,
    4,
    7,
    8,
    12,
    16,
    24,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_fff8,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];

/// Changes up to `max` places within `regions` (offset and length), and sometimes the length.
pub fn mutate(
    u: &mut Unstructured<'_>,
    bytes: &mut Vec<u8>,
    regions: &[(usize, usize)],
    max: u32,
) -> Result<()> {
    for _ in 0..u.int_in_range(0..=max)? {
        let (start, len) = *u.choose(regions)?;
        let off = start + u.choose_index(len.max(1))?;
        if u.ratio(1, 40u8)? {
            bytes.truncate(off);
        }
        if u.ratio(1, 20u8)? {
            move_part(u, bytes, off)?;
            continue;
        }
        let width = *u.choose(&[1usize, 2, 4, 4, 8])?;
        // fields are aligned, so changes should mostly be
        let off = if u.ratio(3, 4u8)? { off / width * width } else { off };
        let Some(field) = bytes.get_mut(off..off + width) else { continue };
        let mut old = [0; 8];
        old[..width].copy_from_slice(field);
        let new = match u.int_in_range(0..=3u8)? {
            0 => *u.choose(INTERESTING)?,
            1 => u64::from_le_bytes(old).wrapping_add(u.int_in_range(-9i64..=9)? as u64),
            2 => u64::from_le_bytes(old) ^ 1 << u.int_in_range(0..=width as u32 * 8 - 1)?,
            _ => u.arbitrary()?,
        };
        field.copy_from_slice(&new.to_le_bytes()[..width]);
    }
    Ok(())
}

/// Copies up to 64 bytes from elsewhere over `off`.
fn move_part(u: &mut Unstructured<'_>, bytes: &mut [u8], off: usize) -> Result<()> {
    let from = u.choose_index(bytes.len().max(1))?;
    let len = u.int_in_range(1..=64usize)?.min(bytes.len().saturating_sub(from.max(off)));
    if len > 0 {
        bytes.copy_within(from..from + len, off);
    }
    Ok(())
}
