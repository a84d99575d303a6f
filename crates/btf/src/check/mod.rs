//! What the kernel asks of BTF that is loaded into it, beyond what [`Btf::parse`] needs.
//!
//! The rules are those of `btf_check_meta` and `btf_check_all_types` in kernel/bpf/btf.c of Linux 6.18. libbpf
//! first replaces what an older kernel does not know; here nothing is replaced.

mod member;
mod meta;
mod names;
mod refs;

use crate::types::*;
use crate::{Btf, Error, Fault};

impl Btf {
    /// Whether `BPF_BTF_LOAD` takes these types.
    ///
    /// # Errors
    /// [`Error::Type`] with the fault that the kernel names; where there are several it may name another.
    pub fn check(&self) -> Result<(), Error> {
        let start = self.start_id();
        for id in start..self.len() {
            let t = self.get(id)?;
            let words = self.raw(id).ok_or(Error::NoSuchType { id })?;
            meta::check(self, &t, words).map_err(|fault| at(id, &t, fault))?;
        }
        for id in start..self.len() {
            let t = self.get(id)?;
            refs::check(self, id, &t).map_err(|fault| at(id, &t, fault))?;
        }
        Ok(())
    }
}

fn at(id: TypeId, t: &Type<'_>, fault: Fault) -> Error {
    Error::Type { id, kind: t.kind(), fault }
}
