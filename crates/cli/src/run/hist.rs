//! Log2 histograms, drawn as bpftrace draws them.

use std::fmt::Write as _;

/// Columns of a full bar.
const BAR_WIDTH: usize = 52;

/// Draws counts by power of two: `counts[n]` counts values from 2^n to 2^(n+1)-1, and `counts[0]` also zero. Leading and
/// trailing empty slots are left out; an empty histogram gives an empty string.
pub fn draw(counts: &[u64]) -> String {
    let Some(first) = counts.iter().position(|&c| c != 0) else {
        return String::new();
    };
    let last = counts.iter().rposition(|&c| c != 0).unwrap_or(first);
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut out = String::new();
    for (slot, &count) in counts.iter().enumerate().take(last + 1).skip(first) {
        let filled = (u128::from(count) * BAR_WIDTH as u128 / u128::from(most)) as usize;
        let bar = "@".repeat(filled);
        let _ = writeln!(out, "{:<16}{count:>8} |{bar:<BAR_WIDTH$}|", label(slot));
    }
    out
}

/// The interval of a slot: `[0, 2)`, `[2, 4)`, `[1K, 2K)`.
pub fn label(slot: usize) -> String {
    let low = if slot == 0 { "0".to_owned() } else { power(slot) };
    format!("[{low}, {})", power(slot + 1))
}

/// 2^n with the binary suffixes that bpftrace uses.
fn power(n: usize) -> String {
    const SUFFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    format!("{}{}", 1u64 << (n % 10), SUFFIXES.get(n / 10).unwrap_or(&"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_binary_suffixes() {
        assert_eq!(label(0), "[0, 2)");
        assert_eq!(label(9), "[512, 1K)");
        assert_eq!(label(31), "[2G, 4G)");
        assert_eq!(label(63), "[8E, 16E)");
    }

    #[test]
    fn bars_are_relative_to_the_largest_count() {
        let drawn = draw(&[0, 4, 0, 2, 0]);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], format!("{:<16}{:>8} |{}|", "[2, 4)", 4, "@".repeat(52)));
        assert_eq!(lines[2], format!("{:<16}{:>8} |{:<52}|", "[8, 16)", 2, "@".repeat(26)));
    }

    #[test]
    fn nothing_counted_draws_nothing() {
        assert_eq!(draw(&[0; 64]), "");
        assert_eq!(draw(&[]), "");
    }

    #[test]
    fn the_largest_count_does_not_overflow() {
        assert!(draw(&[u64::MAX, 1]).contains(&"@".repeat(52)));
    }
}
