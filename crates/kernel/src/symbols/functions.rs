//! Functions that can be traced: what ftrace offers, in tracefs.

use std::collections::HashMap;
use std::path::Path;
use std::str::SplitAsciiWhitespace;

use stylet_symbols::glob_match;

use super::kallsyms::each_line;
use super::{Ksymbol, Symbols};
use crate::{Error, Kernel, sys};

/// A kernel function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Address of its entry, as kprobe.multi takes it.
    pub addr: u64,
    /// Name.
    pub name: String,
}

/// The functions that ftrace can trace and whose names match a pattern with `*` and `?`.
///
/// As libbpf does it: from `available_filter_functions_addrs` (since 6.5), before that from `available_filter_functions`
/// and kallsyms. Where a name stands for more symbols than functions that can be traced, nobody knows which: it is left out.
///
/// # Errors
/// [`Error::Tracefs`] without tracefs, [`Error::Sys`] when the lists cannot be read.
pub fn matching_functions(kernel: &Kernel, pattern: &str) -> Result<Vec<Function>, Error> {
    let traceable = kernel.traceable()?;
    let matching = || traceable.iter().filter(|function| glob_match(pattern, function.name));
    if traceable.iter().any(|function| function.addr != 0) {
        let found = matching().map(|f| Function { addr: f.addr, name: f.name.to_string() });
        return Ok(found.collect());
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    for function in matching() {
        *names.entry(function.name).or_default() += 1;
    }
    Ok(certain(&names, &*kernel.symbols()?))
}

/// Of functions that can be traced so many times each, those of whom there are as many symbols, by address.
fn certain(names: &HashMap<&str, usize>, symbols: &Symbols) -> Vec<Function> {
    let mut addresses: HashMap<&str, Vec<u64>> = HashMap::new();
    for symbol in symbols.iter().filter(|symbol| names.contains_key(symbol.name)) {
        addresses.entry(symbol.name).or_default().push(symbol.addr);
    }
    let certain = addresses.iter().filter(|(name, list)| names.get(**name) == Some(&list.len()));
    let mut found: Vec<Function> = certain
        .flat_map(|(name, list)| list.iter().map(|&addr| Function { addr, name: name.to_string() }))
        .filter(|function| function.addr != 0)
        .collect();
    found.sort_by(|a, b| (a.addr, &a.name).cmp(&(b.addr, &b.name)));
    found
}

/// Those of `names` that ftrace does not offer. Empty when its list cannot be read.
pub fn not_traceable<'a>(kernel: &Kernel, names: &[&'a str]) -> Vec<&'a str> {
    let Ok(traceable) = kernel.traceable() else { return Vec::new() };
    let mut missing = names.to_vec();
    for function in traceable.iter() {
        missing.retain(|name| *name != function.name);
    }
    missing
}

/// The list of functions that ftrace can trace; with addresses where the kernel has them (`available_filter_functions_addrs`).
pub(crate) fn read_traceable(tracefs: &Path) -> Result<Symbols, Error> {
    let with_addrs = tracefs.join("available_filter_functions_addrs");
    let mut found = Symbols::default();
    let mut push = |addr: u64, words: &mut SplitAsciiWhitespace<'_>| {
        if let Some(name) = words.next()
            && is_function(name)
        {
            let module = words.next().and_then(|m| m.strip_prefix('[')?.strip_suffix(']'));
            found.push(Ksymbol { addr, kind: b'T', name, module });
        }
    };
    if with_addrs.exists() {
        lines(&with_addrs, |line| {
            let mut words = line.split_ascii_whitespace();
            let addr = words.next().map(|addr| addr.trim_start_matches("0x"));
            if let Some(addr) = addr.and_then(|addr| u64::from_str_radix(addr, 16).ok()) {
                push(addr, &mut words);
            }
        })?;
    } else {
        lines(&tracefs.join("available_filter_functions"), |line| {
            push(0, &mut line.split_ascii_whitespace());
        })?;
    }
    Ok(found)
}

/// Entries of ftrace for code that was discarded have no symbol and get a made-up name.
fn is_function(name: &str) -> bool {
    !name.starts_with("__ftrace_invalid_address___")
}

fn lines(path: &Path, visit: impl FnMut(&str)) -> Result<(), Error> {
    let path = path.to_string_lossy();
    each_line(&path, visit).map_err(|error| Error::sys("read", &*path)(sys::Errno::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let dir = std::env::temp_dir().join(format!("stylet-functions-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names = "vfs_read\nvfs_write\n__ftrace_invalid_address___9\nnbd_open [nbd]\n";
        std::fs::write(dir.join("available_filter_functions"), names).unwrap();
        let found = read_traceable(&dir).unwrap();
        assert!(found.iter().map(|f| f.name).eq(["vfs_read", "vfs_write", "nbd_open"]));
        assert!(found.iter().all(|f| f.addr == 0));
        let with_addrs = "ffffffff81000010 vfs_read\nffffffff81000020 vfs_write\nffffffffc0000000 nbd_open [nbd]\n";
        std::fs::write(dir.join("available_filter_functions_addrs"), with_addrs).unwrap();
        let found = read_traceable(&dir).unwrap();
        let last = Ksymbol {
            addr: 0xffff_ffff_c000_0000,
            kind: b'T',
            name: "nbd_open",
            module: Some("nbd"),
        };
        assert_eq!((found.len(), found.iter().last()), (3, Some(last)));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(read_traceable(&dir).is_err());
    }

    /// A name with more symbols than traceable functions is nobody's.
    #[test]
    fn names_without_addresses() {
        let mut symbols = Symbols::default();
        for (addr, name) in [
            (8, "twice"),
            (3, "once"),
            (9, "twice"),
            (4, "doubtful"),
            (5, "doubtful"),
            (6, "other"),
        ] {
            symbols.push(Ksymbol { addr, kind: b't', name, module: None });
        }
        let names = HashMap::from([("once", 1), ("twice", 2), ("doubtful", 1), ("none", 1)]);
        let found: Vec<(u64, String)> =
            certain(&names, &symbols).into_iter().map(|f| (f.addr, f.name)).collect();
        assert_eq!(found, [(3, "once".into()), (8, "twice".into()), (9, "twice".into())]);
    }
}
