//! Branches into given addresses, anywhere in a file's code.

use std::collections::HashSet;

/// Adds to `found` (address of the branch, target) for all bytes of `code` that read as `jmp`, `call` or `jcc` with a 32-bit
/// displacement to one of `targets`. Instructions are not decoded: each byte is tried as a first one, so that data between
/// code cannot hide a branch; that data looks like one with such a target is improbable.
pub fn far_branches(code: &[u8], at: u64, targets: &HashSet<u64>, found: &mut Vec<(u64, u64)>) {
    let (Some(&low), Some(&high)) = (targets.iter().min(), targets.iter().max()) else { return };
    let mut i = 0;
    // A plain loop: this runs over megabytes, also in unoptimised builds.
    while i + 6 <= code.len() {
        let field = match code[i] {
            0xe8 | 0xe9 => i + 1,
            0x0f if code[i + 1] & 0xf0 == 0x80 => i + 2,
            _ => {
                i += 1;
                continue;
            }
        };
        let rel =
            i32::from_le_bytes([code[field], code[field + 1], code[field + 2], code[field + 3]]);
        let target = (at + field as u64 + 4).wrapping_add_signed(rel.into());
        if target >= low && target <= high && targets.contains(&target) {
            found.push((at + i as u64, target));
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_form() {
        let code =
            [0x90, 0xe9, 1, 0, 0, 0, 0x0f, 0x84, 0xf5, 0xff, 0xff, 0xff, 0xe8, 0, 0, 0, 0, 0];
        let mut found = Vec::new();
        far_branches(&code, 0x1000, &HashSet::from([0x1007, 0x1001]), &mut found);
        assert_eq!(found, [(0x1001, 0x1007), (0x1006, 0x1001)]);
    }
}
