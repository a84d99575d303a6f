//! A mainline kernel version.

use std::fmt;
use std::str::FromStr;

/// A mainline kernel version, `6.12`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Release {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Release {
    /// `Release::new(6, 12)` is Linux 6.12.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Release {
    type Err = String;

    /// Reads the first two numbers of what uname(2) gives: `6.12.117+deb12-cloud-amd64` is 6.12.
    fn from_str(s: &str) -> Result<Self, String> {
        let mut numbers = s.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(format!("`{s}` is not a kernel release")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn numbers_not_strings() {
        let release = |s: &str| s.parse::<Release>();
        assert_eq!(release("6.12.117+deb12-cloud-amd64"), Ok(Release::new(6, 12)));
        assert_eq!(release("7.3"), Ok(Release::new(7, 3)));
        assert!(release("6.9") < release("6.10"));
        assert!(release("linux").is_err());
    }
}
