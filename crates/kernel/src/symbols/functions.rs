//! Functions that can be traced: what ftrace offers, in tracefs.

use std::collections::HashMap;
use std::path::Path;

use stylet_symbols::glob_match;

use super::each_symbol;
use super::kallsyms::each_line;
use crate::{Error, sys};

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
/// [`Error::Sys`] when the lists cannot be read.
pub fn matching_functions(tracefs: &Path, pattern: &str) -> Result<Vec<Function>, Error> {
    let with_addrs = tracefs.join("available_filter_functions_addrs");
    if with_addrs.exists() {
        let mut found = Vec::new();
        lines(&with_addrs, |line| {
            let mut words = line.split_ascii_whitespace();
            let addr =
                words.next().and_then(|a| u64::from_str_radix(a.trim_start_matches("0x"), 16).ok());
            if let (Some(addr), Some(name)) = (addr, words.next())
                && glob_match(pattern, name)
                && is_function(name)
            {
                found.push(Function { addr, name: name.to_string() });
            }
        })?;
        return Ok(found);
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    names_of(tracefs, |name| {
        if glob_match(pattern, name) {
            *names.entry(name.to_string()).or_default() += 1;
        }
    })?;
    let mut addresses: HashMap<&str, Vec<u64>> = HashMap::new();
    each_symbol(|symbol| {
        if let Some((name, _)) = names.get_key_value(symbol.name) {
            addresses.entry(name).or_default().push(symbol.addr);
        }
    })?;
    let certain = addresses.iter().filter(|(name, list)| names.get(**name) == Some(&list.len()));
    let mut found: Vec<Function> = certain
        .flat_map(|(name, list)| list.iter().map(|&addr| Function { addr, name: name.to_string() }))
        .filter(|function| function.addr != 0)
        .collect();
    found.sort_by(|a, b| (a.addr, &a.name).cmp(&(b.addr, &b.name)));
    Ok(found)
}

/// Those of `names` that ftrace does not offer. Empty when its list cannot be read.
pub fn not_traceable<'a>(tracefs: &Path, names: &[&'a str]) -> Vec<&'a str> {
    let mut missing = names.to_vec();
    let read = names_of(tracefs, |name| missing.retain(|m| *m != name));
    if read.is_ok() { missing } else { Vec::new() }
}

fn names_of(tracefs: &Path, mut visit: impl FnMut(&str)) -> Result<(), Error> {
    lines(&tracefs.join("available_filter_functions"), |line| {
        if let Some(name) = line.split_ascii_whitespace().next()
            && is_function(name)
        {
            visit(name);
        }
    })
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
        assert_eq!(not_traceable(&dir, &["vfs_read", "nbd_open", "vfs_none"]), ["vfs_none"]);
        let with_addrs = "ffffffff81000010 vfs_read\nffffffff81000020 vfs_write\nffffffffc0000000 nbd_open [nbd]\n";
        std::fs::write(dir.join("available_filter_functions_addrs"), with_addrs).unwrap();
        let found = matching_functions(&dir, "vfs_*").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Function { addr: 0xffff_ffff_8100_0020, name: "vfs_write".into() });
        assert_eq!(matching_functions(&dir, "nbd_open").unwrap().len(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
