//! Exceptions: `bpf_throw` ends the program, after a callback when it has one
//! (`bpf_find_exception_callback_insn_off`, `check_kfunc_call`).

use alloc::string::ToString;

use stylet_btf::{FuncLinkage, Kind as BtfKind, Type};
use stylet_uapi::errno;

use crate::env::{Flow, Step, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::rejection::{Reject, Res};

/// The kfunc that throws.
pub(crate) const THROW: &str = "bpf_throw";

impl Verifier<'_> {
    /// First slot of the exception callback that the main function's BTF names.
    pub(crate) fn find_exception_callback(&self) -> Res<Option<u32>> {
        let (Some(btf), Some(main)) = (self.input.btf, self.input.func_info.first()) else {
            return Ok(None);
        };
        let mut names = btf.types().filter_map(|(_, ty)| match ty {
            Type::DeclTag(tag) if tag.ty == main.type_id && tag.component.is_none() => {
                btf.name(tag.name_off).strip_prefix("exception_callback:")
            }
            _ => None,
        });
        let Some(name) = names.next() else { return Ok(None) };
        if names.next().is_some() {
            return Err(Reject::new(errno::EEXIST, Kind::ManyExceptionCbs));
        }
        let Some(id) = btf.find_by_name_kind(name, BtfKind::Func) else {
            let kind = Kind::ExceptionCbNotFound { name: name.to_string() };
            return Err(Reject::new(errno::ENOENT, kind));
        };
        if !matches!(btf.type_by_id(id), Some(Type::Func(f)) if f.linkage == FuncLinkage::Global) {
            return Err(Reject::inval(Kind::ExceptionCbNotGlobal { name: name.to_string() }));
        }
        match self.input.func_info.iter().find(|f| f.type_id == id) {
            None => Err(Reject::inval(Kind::ExceptionCbNoFuncInfo)),
            Some(info) if info.insn_idx == 0 => Err(Reject::inval(Kind::ExceptionCbIsMain)),
            Some(info) => Ok(Some(info.insn_idx)),
        }
    }

    /// `bpf_throw`: nothing may be left behind in any frame.
    pub(super) fn check_throw(&mut self) -> Step {
        if self.exception_cb.is_none() {
            self.check_return_code(1)?;
        }
        self.check_resource_leak(THROW, true)?;
        Ok(Flow::Exit)
    }
}
