//! Kernel releases, ordered as numbers.

use core::fmt;
use core::str::FromStr;

/// A mainline release, `major.minor`. Ordered by number: 6.10 comes after 6.9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Release {
    /// First number.
    pub major: u8,
    /// Second number.
    pub minor: u8,
}

#[allow(missing_docs)]
impl Release {
    pub const V5_10: Release = Release::new(5, 10);
    pub const V5_15: Release = Release::new(5, 15);
    pub const V6_1: Release = Release::new(6, 1);
    pub const V6_6: Release = Release::new(6, 6);
    pub const V6_12: Release = Release::new(6, 12);
    pub const V6_18: Release = Release::new(6, 18);
    pub const V7_3: Release = Release::new(7, 3);

    /// The releases that `check` offers by default, ascending.
    pub const KNOWN: [Release; 7] = [
        Release::V5_10,
        Release::V5_15,
        Release::V6_1,
        Release::V6_6,
        Release::V6_12,
        Release::V6_18,
        Release::V7_3,
    ];

    /// Builds a release from its two numbers.
    pub const fn new(major: u8, minor: u8) -> Release {
        Release { major, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A string that does not start with `major.minor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRelease;

impl fmt::Display for BadRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kernel release is two numbers, as 6.12")
    }
}

impl core::error::Error for BadRelease {}

impl FromStr for Release {
    type Err = BadRelease;

    /// Reads `6.12`, `v6.12`, or a full `uname -r` such as `6.12.4-amd64`.
    fn from_str(s: &str) -> Result<Release, BadRelease> {
        let s = s.strip_prefix('v').unwrap_or(s);
        let (major, rest) = s.split_once('.').ok_or(BadRelease)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = major.parse().map_err(|_| BadRelease)?;
        let minor = rest[..end].parse().map_err(|_| BadRelease)?;
        Ok(Release { major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_is_a_number_not_a_fraction() {
        let r = |s: &str| s.parse::<Release>();
        assert!(r("6.10").unwrap() > r("6.9").unwrap());
        assert_ne!(r("6.10"), r("6.1"));
        assert_eq!(r("v6.12.117-1-amd64"), Ok(Release::V6_12));
        assert_eq!(r("7.3-rc1"), Ok(Release::V7_3));
    }

    #[test]
    fn refuses_what_is_no_release() {
        for s in ["", "6", "6.", ".1", "six.one", "6.x", "300.1", "-6.1"] {
            assert_eq!(s.parse::<Release>(), Err(BadRelease), "{s:?}");
        }
    }
}
