//! The text form of a site, as in libbpf's `SEC("uprobe/PATH:FUNCTION+OFFSET")`.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A function and bytes from its start. The name may carry a version (`name@VERSION`).
    Function {
        /// Name.
        name: String,
        /// Bytes.
        offset: u64,
    },
    /// Offset in the file, as for the kernel's uprobes.
    FileOffset(u64),
}

/// A site by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbolic {
    /// Path, or name of a library or program.
    pub path: String,
    /// Place in it.
    pub place: Place,
}

impl FromStr for Symbolic {
    type Err = Error;

    /// `path:function`, `path:function+offset`, `path:offset`; offsets are decimal or `0x` hexadecimal.
    fn from_str(text: &str) -> Result<Symbolic> {
        let bad = |why| Error::BadSpec { text: text.to_owned(), why };
        let (path, place) =
            text.rsplit_once(':').ok_or(bad("expected PATH:FUNCTION[+OFFSET] or PATH:OFFSET"))?;
        if path.is_empty() || place.is_empty() {
            return Err(bad("the path or the function is missing"));
        }
        let raw = place.strip_prefix('+').unwrap_or(place);
        let place = if raw.starts_with(|c: char| c.is_ascii_digit()) {
            Place::FileOffset(number(raw).ok_or(bad("the offset is no number"))?)
        } else {
            let (name, offset) = match place.rsplit_once('+') {
                Some((name, offset)) => {
                    (name, number(offset).ok_or(bad("the offset is no number"))?)
                }
                None => (place, 0),
            };
            Place::Function { name: name.to_owned(), offset }
        };
        Ok(Symbolic { path: path.to_owned(), place })
    }
}

impl fmt::Display for Symbolic {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.place {
            Place::Function { name, offset: 0 } => write!(f, "{}:{name}", self.path),
            Place::Function { name, offset } => write!(f, "{}:{name}+{offset:#x}", self.path),
            Place::FileOffset(offset) => write!(f, "{}:{offset:#x}", self.path),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, shown) in [
            ("libc:malloc", "libc:malloc"),
            ("/bin/a:b:f+16", "/bin/a:b:f+0x10"),
            ("a:f+0x1f", "a:f+0x1f"),
            ("a:0x40", "a:0x40"),
            ("a:+64", "a:0x40"),
            ("a:operator+@V_1", "error"),
            ("a", "error"),
            (":f", "error"),
            ("a:0xzz", "error"),
        ] {
            let got = text.parse::<Symbolic>().map_or("error".to_owned(), |s| s.to_string());
            assert_eq!(got, shown, "{text}");
        }
    }
}
