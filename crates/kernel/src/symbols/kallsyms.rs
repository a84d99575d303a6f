//! /proc/kallsyms.

use std::io::{BufRead, BufReader};

use super::Symbols;
use crate::{Error, sys};

/// One line of /proc/kallsyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ksymbol<'a> {
    /// Address, 0 where addresses are hidden (`kernel.kptr_restrict`).
    pub addr: u64,
    /// Kind as `nm` has it: `t` and `T` are code.
    pub kind: u8,
    /// Name.
    pub name: &'a str,
    /// Module, `None` for the kernel itself.
    pub module: Option<&'a str>,
}

impl<'a> Ksymbol<'a> {
    /// `address kind name [module]`.
    pub fn parse(line: &'a str) -> Option<Ksymbol<'a>> {
        let mut words = line.split_ascii_whitespace();
        let addr = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = *words.next()?.as_bytes().first()?;
        let name = words.next()?;
        let module = words.next().and_then(|m| m.strip_prefix('[')?.strip_suffix(']'));
        Some(Ksymbol { addr, kind, name, module })
    }

    /// Whether it is code.
    pub fn is_code(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

/// All symbols but those of BPF programs, which come and go.
///
/// # Errors
/// [`Error::Sys`] when /proc/kallsyms cannot be read.
pub(crate) fn read_symbols() -> Result<Symbols, Error> {
    let path = "/proc/kallsyms";
    let mut found = Symbols::default();
    let read = each_line(path, |line| {
        if let Some(symbol) = Ksymbol::parse(line)
            && symbol.module != Some("bpf")
        {
            found.push(symbol);
        }
    });
    read.map_err(|error| Error::sys("read", path)(sys::Errno::from(error)))?;
    Ok(found)
}

/// Shows every line of a file to `visit`, without its end. Lines that are no UTF-8 are left out.
pub(super) fn each_line(path: &str, mut visit: impl FnMut(&str)) -> std::io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, std::fs::File::open(path)?);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if let Ok(text) = std::str::from_utf8(&line) {
            visit(text.trim_end());
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let symbol = Ksymbol::parse("ffffffff81000000 T _stext").unwrap();
        assert_eq!(
            (symbol.addr, symbol.name, symbol.module),
            (0xffff_ffff_8100_0000, "_stext", None)
        );
        assert!(symbol.is_code());
        let symbol = Ksymbol::parse("ffffffffc0000010 b nbd_index\t[nbd]").unwrap();
        assert_eq!(
            (symbol.name, symbol.module, symbol.is_code()),
            ("nbd_index", Some("nbd"), false)
        );
        assert_eq!(Ksymbol::parse("ffffffff81000000 T"), None);
        assert_eq!(Ksymbol::parse("x T f"), None);
    }
}
