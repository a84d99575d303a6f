//! Addresses of kernel symbols.

use std::collections::HashMap;

use crate::{Error, Kernel};

/// What kallsyms says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ksym {
    /// One address; 0 where addresses are hidden (`kernel.kptr_restrict`).
    At(u64),
    /// Several symbols of this name at different addresses.
    Ambiguous,
}

/// Addresses of these names, as far as there are symbols of them. Clang's suffix of functions that it renamed is no part
/// of a name.
///
/// # Errors
/// [`Error::Sys`] when `/proc/kallsyms` can not be read.
pub(crate) fn addresses(kernel: &Kernel, names: &[&str]) -> Result<HashMap<String, Ksym>, Error> {
    let mut found = HashMap::new();
    for symbol in kernel.symbols()?.iter() {
        let name = symbol.name.split_once(".llvm.").map_or(symbol.name, |(name, _)| name);
        if names.contains(&name) {
            found
                .entry(name.to_string())
                .and_modify(|known| {
                    if *known != Ksym::At(symbol.addr) {
                        *known = Ksym::Ambiguous;
                    }
                })
                .or_insert(Ksym::At(symbol.addr));
        }
    }
    Ok(found)
}
