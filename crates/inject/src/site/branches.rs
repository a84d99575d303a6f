//! Branches into given addresses, anywhere in a file's code.

use std::collections::HashSet;

/// Adds to `found` (address of the branch, target) for all bytes of `code` that read as `jmp`, `call` or `jcc` with a 32-bit
/// displacement to one of `targets`. Instructions are not decoded: each byte is tried as a first one, so that data between
/// code cannot hide a branch; that data looks like one with such a target is improbable.
pub fn far_branches(code: &[u8], at: u64, targets: &HashSet<u64>, found: &mut Vec<(u64, u64)>) {
    let (Some(&low), Some(&high)) = (targets.iter().min(), targets.iter().max()) else { return };
    for (i, pair) in code.windows(2).enumerate() {
        let field = match pair {
            [0xe8 | 0xe9, _] => i + 1,
            [0x0f, 0x80..=0x8f] => i + 2,
            _ => continue,
        };
        let Some(bytes) = code.get(field..field + 4) else { break };
        let rel = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let target = (at + field as u64 + 4).wrapping_add_signed(rel.into());
        if target >= low && target <= high && targets.contains(&target) {
            found.push((at + i as u64, target));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_form() {
        let code = [0x90, 0xe9, 1, 0, 0, 0, 0x0f, 0x84, 0xf5, 0xff, 0xff, 0xff, 0xe8, 0, 0, 0, 0];
        let mut found = Vec::new();
        far_branches(&code, 0x1000, &HashSet::from([0x1007, 0x1001]), &mut found);
        assert_eq!(found, [(0x1001, 0x1007), (0x1006, 0x1001)]);
    }
}
