//! CPUs: how many values a per-CPU map has, and which CPUs run.

use std::sync::OnceLock;

use super::Errno;

/// Number of CPUs that the kernel may ever have (`num_possible_cpus`): the values of an element of a per-CPU map.
pub fn possible_cpus() -> Result<usize, Errno> {
    static COUNT: OnceLock<usize> = OnceLock::new();
    if let Some(count) = COUNT.get() {
        return Ok(*count);
    }
    let count = read("/sys/devices/system/cpu/possible")?.len();
    Ok(*COUNT.get_or_init(|| count))
}

/// Numbers of the CPUs that run now, ascending.
pub fn online_cpus() -> Result<Vec<u32>, Errno> {
    read("/sys/devices/system/cpu/online")
}

fn read(path: &str) -> Result<Vec<u32>, Errno> {
    let text = std::fs::read_to_string(path).map_err(Errno::from)?;
    parse(text.trim()).filter(|cpus| !cpus.is_empty()).ok_or(Errno(libc::EIO))
}

/// Parses a list as `0-3,8`.
fn parse(list: &str) -> Option<Vec<u32>> {
    /// More than any kernel has (`NR_CPUS` is at most 8192).
    const MAX: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse("0-99999999"), None);
        assert_eq!(parse("x"), None);
        assert_eq!(parse(""), None);
    }
}
