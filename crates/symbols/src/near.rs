//! Names: patterns and resemblance.

/// Whether `name` matches a pattern with `*` and `?`.
pub fn glob_match(pattern: &str, name: &str) -> bool {
    let (p, n) = (pattern.as_bytes(), name.as_bytes());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some(b'*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(&c) if c == b'?' || c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (i, j) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|&c| c == b'*')
}

/// Up to three of `names` that resemble `wanted`, best first.
pub fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (wanted.len() / 3).max(1);
    let bare = |s: &str| s.trim_matches('_').to_ascii_lowercase();
    let key = bare(wanted);
    let mut best: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let other = bare(name);
        let distance = if other == key {
            0
        } else if other.len().abs_diff(key.len()) <= limit {
            1 + edits(key.as_bytes(), other.as_bytes(), limit)
        } else {
            continue;
        };
        if distance <= limit + 1 && !best.iter().any(|(_, n)| *n == name) {
            best.push((distance, name));
        }
    }
    best.sort();
    best.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Edit distance (insert, delete, replace), or more than `limit` once it cannot be less.
fn edits(a: &[u8], b: &[u8], limit: usize) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut left_up = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let up = row[j + 1];
            row[j + 1] = (up + 1).min(row[j] + 1).min(left_up + usize::from(x != y));
            left_up = up;
        }
        if row.iter().all(|&d| d > limit) {
            return limit + 1;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("str*", "strlen", true),
            ("*len", "strlen", true),
            ("s?r*e*", "strlen", true),
            ("*", "", true),
            ("str", "strlen", false),
            ("*a*b", "xaxbxc", false),
            ("*a*b", "xaxbxb", true),
        ] {
            assert_eq!(glob_match(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn resemblance() {
        let names = ["malloc", "calloc", "free", "__malloc", "mallopt"];
        assert_eq!(
            similar("maloc", names.iter().copied()),
            ["__malloc", "malloc"].map(String::from)
        );
        assert!(similar("socket", names.iter().copied()).is_empty());
    }
}
