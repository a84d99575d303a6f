//! Symbols by the hundred thousand, and keeping them.

use std::sync::{Arc, Mutex, PoisonError};

use super::Ksymbol;
use crate::Error;

/// A list of symbols in little memory (about 45 bytes each).
#[derive(Debug, Default)]
pub struct Symbols {
    /// Of each symbol its kind and its name.
    text: String,
    rows: Vec<Row>,
    modules: Vec<String>,
}

#[derive(Debug)]
struct Row {
    addr: u64,
    start: u32,
    len: u16,
    /// 0: the kernel itself; else one more than the index of the module.
    module: u16,
}

impl Symbols {
    /// Adds a symbol. One that is too long for a kernel's, or of a kind that is no character, is left out.
    pub(super) fn push(&mut self, symbol: Ksymbol<'_>) {
        let (Ok(start), Ok(len)) =
            (u32::try_from(self.text.len()), u16::try_from(symbol.name.len() + 1))
        else {
            return;
        };
        let Some(module) = self.module_number(symbol.module) else { return };
        if symbol.kind.is_ascii() {
            self.text.push(char::from(symbol.kind));
            self.text.push_str(symbol.name);
            self.rows.push(Row { addr: symbol.addr, start, len, module });
        }
    }

    fn module_number(&mut self, name: Option<&str>) -> Option<u16> {
        let Some(name) = name else { return Some(0) };
        // Symbols of a module come one after the other.
        let index = self.modules.iter().rposition(|known| known == name).unwrap_or_else(|| {
            self.modules.push(name.to_string());
            self.modules.len() - 1
        });
        u16::try_from(index + 1).ok()
    }

    /// All, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = Ksymbol<'_>> + '_ {
        self.rows.iter().map(|row| {
            let start = row.start as usize;
            let (kind, name) = self.text[start..start + usize::from(row.len)].split_at(1);
            let module = usize::from(row.module).checked_sub(1).map(|m| self.modules[m].as_str());
            Ksymbol { addr: row.addr, kind: kind.as_bytes()[0], name, module }
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A list that is read when it is first asked for, and again when modules have come or gone since.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<(String, Arc<Symbols>)>>);

impl Kept {
    pub(crate) fn get(
        &self,
        read: impl FnOnce() -> Result<Symbols, Error>,
    ) -> Result<Arc<Symbols>, Error> {
        let modules = loaded_modules();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, symbols)) = &*kept
            && *then == modules
        {
            return Ok(Arc::clone(symbols));
        }
        let symbols = Arc::new(read()?);
        *kept = Some((modules, Arc::clone(&symbols)));
        Ok(symbols)
    }
}

/// Names and addresses of the modules that are loaded; nothing where there are none.
fn loaded_modules() -> String {
    let text = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    let fields = |line: &str| -> Option<String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(format!("{} {}\n", words.first()?, words.get(5)?))
    };
    text.lines().filter_map(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let symbols = [
            Ksymbol { addr: 1, kind: b'T', name: "vfs_read", module: None },
            Ksymbol { addr: 2, kind: b'b', name: "", module: Some("nbd") },
            Ksymbol { addr: u64::MAX, kind: b't', name: "nbd_open", module: Some("nbd") },
            Ksymbol { addr: 0, kind: b't', name: "größe", module: Some("other") },
        ];
        let mut table = Symbols::default();
        assert!(table.is_empty());
        symbols.into_iter().for_each(|symbol| table.push(symbol));
        assert_eq!(table.len(), symbols.len());
        assert!(table.iter().eq(symbols));
        let long = "x".repeat(1 << 16);
        table.push(Ksymbol { addr: 3, kind: b'T', name: &long, module: None });
        table.push(Ksymbol { addr: 3, kind: 200, name: "x", module: None });
        assert_eq!(table.len(), symbols.len());
    }

    #[test]
    fn kept_until_modules_change() {
        let kept = Kept::default();
        let read = || {
            let mut table = Symbols::default();
            table.push(Ksymbol { addr: 1, kind: b'T', name: "f", module: None });
            Ok(table)
        };
        let first = kept.get(read).unwrap();
        *kept.0.lock().unwrap() = Some(("another 0x0\n".into(), Arc::clone(&first)));
        let second = kept.get(read).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let failing = Kept::default();
        let failed = failing.get(|| Err(Error::Bug { what: "x".into() }));
        assert!(failed.is_err());
        assert!(failing.get(read).is_ok(), "a failure is not kept");
    }
}
