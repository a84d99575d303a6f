//! Memory arguments of kfuncs and of global functions (`check_mem_reg`, `check_kfunc_mem_size_reg`).

use super::helper::CallMeta;
use super::kfunc::KfuncMeta;
use super::kfunc_arg::Arg;
use super::mem::Dir;
use super::nullness::mark_ptr_not_null;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegState, RegType};
use crate::rejection::{Reject, Res};

impl Verifier<'_> {
    /// Program types that may write packets (`may_access_direct_pkt_data`).
    pub(super) fn may_write_packets(&self) -> bool {
        use stylet_uapi::ProgType as P;
        matches!(
            self.input.prog_type,
            P::SCHED_CLS | P::SCHED_ACT | P::XDP | P::LWT_XMIT | P::SK_SKB | P::SK_MSG
        ) || self.input.prog_type == P::CGROUP_SOCKOPT
    }

    /// Memory of the size of what the argument points to.
    pub(super) fn check_mem_arg(&mut self, arg: &Arg<'_>, reg: &RegState) -> Res<()> {
        let (id, _) = arg.target.unwrap_or_default();
        let Ok(size) = arg.btf.resolve_size(id) else {
            return Err(Reject::unsupported("pointers to types without a size"));
        };
        self.check_mem_reg(arg.n + 1, reg, size)
    }

    /// `size` bytes that may be read and written, or NULL (`check_mem_reg`).
    pub(crate) fn check_mem_reg(&mut self, regno: u8, reg: &RegState, size: u32) -> Res<()> {
        if reg.is_null() {
            return Ok(());
        }
        self.as_if_not_null(regno, |v| {
            v.check_helper_mem_access(regno, size, Dir::Read, true, None)?;
            v.check_helper_mem_access(regno, size, Dir::Write, true, None)
        })
    }

    /// Memory with its size in the next argument.
    pub(super) fn check_mem_size_arg(
        &mut self,
        arg: &Arg<'_>,
        size: Option<&Arg<'_>>,
        reg: &RegState,
        meta: &mut KfuncMeta<'_>,
    ) -> Res<()> {
        let Some(size) = size else { return Err(Reject::bug("memory without a size")) };
        let (regno, size_regno) = (arg.n + 1, size.n + 1);
        let optional = arg.name.ends_with("__opt") || arg.name.ends_with("__nullable");
        if !(reg.is_null() && optional) {
            let fits = self.as_if_not_null(regno, |v| {
                let mut call = CallMeta::default();
                v.check_mem_size_reg(size_regno, Dir::Read, true, &mut call)?;
                v.check_mem_size_reg(size_regno, Dir::Write, true, &mut call)
            });
            fits.map_err(|e| e.then(Kind::MemLenPair { arg: arg.n, size: size.n }))?;
        }
        if size.name.ends_with("__szk") {
            let Some(value) = self.reg(size_regno.into()).const_value() else {
                return Err(Reject::inval(Kind::MustBeKnownConstant { reg: size_regno }));
            };
            meta.arg_constant = Some(value);
        }
        Ok(())
    }

    /// Checks as for a pointer that is not NULL; the callee looks for itself.
    fn as_if_not_null(&mut self, regno: u8, check: impl FnOnce(&mut Self) -> Res<()>) -> Res<()> {
        let saved = *self.reg(regno.into());
        if saved.maybe_null() {
            let mut reg = saved;
            mark_ptr_not_null(&self.known(), &mut reg);
            *self.reg_mut(regno.into()) = reg;
        }
        let result = check(self);
        if saved.maybe_null() {
            *self.reg_mut(regno.into()) = saved;
        }
        if saved.ty == RegType::PtrToCtx {
            self.facts.ctx_escapes = true;
        }
        result
    }
}
