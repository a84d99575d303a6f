//! Why a function cannot be probed: asked only after the kernel has refused.

use std::ops::Range;

use stylet_symbols::similar;

use super::Ksymbol;
use super::functions::not_traceable;
use super::kallsyms::each_line;
use crate::error::Unprobeable;
use crate::sys::Errno;
use crate::{Error, Kernel};

/// Functions that must not be probed, by address (kernel/kprobes.c, `kprobe_blacklist_seq_show`).
const BLACKLIST: &str = "/sys/kernel/debug/kprobes/blacklist";

/// The one symbol of a name (`function` or `module:function`).
///
/// # Errors
/// [`Error::NoFunction`], [`Error::Unprobeable`] if there are several.
pub(crate) fn kernel_function(kernel: &Kernel, name: &str) -> Result<u64, Error> {
    match addresses(kernel, name)?.as_slice() {
        [] => Err(no_function(kernel, name)),
        [addr] => Ok(*addr),
        several => Err(unprobeable(name, Unprobeable::Ambiguous { count: several.len() }, None)),
    }
}

/// The reason behind the kernel's refusal to probe `function` at `offset`, where one can be told.
pub(crate) fn why_not(kernel: &Kernel, function: &str, offset: u64, errno: Errno) -> Option<Error> {
    if !matches!(
        errno.0,
        libc::ENOENT
            | libc::EINVAL
            | libc::EILSEQ
            | libc::EADDRNOTAVAIL
            | libc::ESRCH
            | libc::EOPNOTSUPP
    ) {
        return None;
    }
    let refused = |why| Some(unprobeable(function, why, Some(errno)));
    let found = addresses(kernel, function).ok()?;
    if found.is_empty() {
        return Some(no_function(kernel, function));
    }
    if found.len() > 1 && errno.0 == libc::EADDRNOTAVAIL {
        return refused(Unprobeable::Ambiguous { count: found.len() });
    }
    if errno.0 == libc::EILSEQ {
        return refused(Unprobeable::NotInstruction { offset });
    }
    let listed = blacklist();
    if found.iter().any(|a| listed.iter().any(|r| r.contains(&a.wrapping_add(offset)))) {
        return refused(Unprobeable::Blacklisted);
    }
    let bare = function.split_once(':').map_or(function, |(_, name)| name);
    if !not_traceable(kernel, &[bare]).is_empty() {
        return refused(Unprobeable::NoTrace);
    }
    if offset != 0 {
        return refused(Unprobeable::NotInstruction { offset });
    }
    None
}

/// Names of system calls that resemble `wanted`, out of symbols that start with `prefix`.
pub(crate) fn syscall_names(kernel: &Kernel, prefix: &str, wanted: &str) -> Vec<String> {
    // Without kallsyms there is nothing to suggest.
    let Ok(symbols) = kernel.symbols() else { return Vec::new() };
    similar(wanted, symbols.iter().filter_map(|symbol| symbol.name.strip_prefix(prefix)))
}

fn unprobeable(function: &str, why: Unprobeable, errno: Option<Errno>) -> Error {
    Error::Unprobeable { function: function.to_string(), why, errno }
}

/// Addresses of a name's code symbols, each once.
fn addresses(kernel: &Kernel, name: &str) -> Result<Vec<u64>, Error> {
    let (module, bare) = match name.split_once(':') {
        Some((module, bare)) => (Some(module), bare),
        None => (None, name),
    };
    let symbols = kernel.symbols()?;
    let of_module = |symbol: &Ksymbol<'_>| module.is_none() || symbol.module == module;
    let named = symbols.iter().filter(|s| s.name == bare && s.is_code() && of_module(s));
    let mut found: Vec<u64> = named.map(|symbol| symbol.addr).collect();
    // Hidden addresses are all alike.
    found.dedup_by(|a, b| a == b && *a != 0);
    Ok(found)
}

/// No symbol: a typing error, a function that the compiler inlined, or one that it split or cloned under another name.
fn no_function(kernel: &Kernel, name: &str) -> Error {
    // Without kallsyms there is nothing to suggest.
    let symbols = kernel.symbols().unwrap_or_default();
    let code = || symbols.iter().filter(Ksymbol::is_code).map(|symbol| symbol.name);
    let is_clone = |other: &&str| {
        other
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.') && !rest.starts_with(".cold"))
    };
    let mut clones: Vec<String> = code().filter(is_clone).map(str::to_string).collect();
    if !clones.is_empty() {
        clones.truncate(3);
        return unprobeable(name, Unprobeable::Cloned { names: clones }, None);
    }
    let in_types = kernel
        .vmlinux()
        .is_some_and(|btf| btf.find_by_name_kind(name, stylet_btf::Kind::Func).is_some());
    if in_types {
        return unprobeable(name, Unprobeable::Inlined, None);
    }
    let alike = |other: &&str| other.len().abs_diff(name.len()) <= name.len() / 3 + 4;
    let near = similar(name, code().filter(alike));
    Error::NoFunction { name: name.to_string(), near }
}

/// `0xstart-0xend name` on each line; empty where debugfs is not there.
fn blacklist() -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let hex = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    let _ = each_line(BLACKLIST, |line| {
        let range = line.split_ascii_whitespace().next().and_then(|word| word.split_once('-'));
        if let Some((start, end)) = range
            && let (Some(start), Some(end)) = (hex(start), hex(end))
        {
            found.push(start..end);
        }
    });
    found
}
