//! Global functions: verified once for any arguments of their prototype, assumed valid at each call
//! (`btf_check_func_arg_match`).

use alloc::rc::Rc;
use alloc::string::ToString;

use stylet_btf::FuncLinkage;
use stylet_uapi::errno;

use super::dynptr::DynptrUse;
use super::func_proto::{GlobalArg, GlobalProto};
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{DynptrType, RegFlags, RegState, RegType, StackObject};
use crate::rejection::{Reject, Res};

impl Verifier<'_> {
    /// Finds which functions are global.
    pub(crate) fn find_global_funcs(&mut self) {
        for subprog in 1..self.subprogs.len() {
            self.subprogs[subprog].is_global =
                self.subprog_linkage(subprog) == Some(FuncLinkage::Global);
        }
    }

    /// Prototype of a global function, worked out at its first call.
    fn proto_of(&mut self, subprog: usize) -> Res<Rc<GlobalProto>> {
        if let Some(proto) = &self.subprogs[subprog].args {
            return Ok(proto.clone());
        }
        let proto = Rc::new(self.global_proto(subprog)?);
        self.subprogs[subprog].args = Some(proto.clone());
        Ok(proto)
    }

    /// A call of a global function: its arguments fit, its result is any number.
    pub(crate) fn check_global_call(&mut self, subprog: usize) -> Res<()> {
        let matches = self.match_global_args(subprog);
        if matches.as_ref().is_err_and(|e| e.errno == errno::EFAULT) || is_unsupported(&matches) {
            return matches;
        }
        if self.cur.active_lock().is_some() {
            return Err(Reject::inval(Kind::GlobalCallUnderLock));
        }
        if self.subprogs[subprog].might_sleep && self.in_atomic_context() {
            return Err(Reject::inval(Kind::GlobalMaySleep));
        }
        matches.map_err(|e| {
            let name = self.subprog_name(subprog).to_string();
            e.then(Kind::InvalidGlobalArgs { func: subprog as u32, name })
        })?;
        self.subprogs[subprog].called = true;
        Self::clear_caller_saved(self.cur.cur_mut());
        *self.reg_mut(0) = RegState::unknown();
        Ok(())
    }

    fn match_global_args(&mut self, subprog: usize) -> Res<()> {
        let proto = self.proto_of(subprog)?;
        for (i, arg) in proto.args.iter().enumerate() {
            self.match_global_arg(i as u8, arg)?;
        }
        Ok(())
    }

    fn match_global_arg(&mut self, n: u8, arg: &GlobalArg) -> Res<()> {
        let regno = n + 1;
        let reg = *self.reg(regno.into());
        match *arg {
            GlobalArg::Scalar if !reg.is_scalar() => {
                Err(Reject::inval(Kind::NotAScalar { reg: regno }))
            }
            GlobalArg::Scalar => Ok(()),
            GlobalArg::Ctx => {
                self.check_arg_off(&reg, regno)?;
                if reg.ty != RegType::PtrToCtx {
                    return Err(Reject::inval(Kind::ExpectsCtx { arg: n }));
                }
                // Who reads which part of it is not followed into the function.
                self.facts.ctx_escapes = true;
                Ok(())
            }
            GlobalArg::Mem { size, nullable } => {
                self.check_arg_off(&reg, regno)?;
                self.check_mem_reg(regno, &reg, size).map_err(|mut e| {
                    e.errno = errno::EINVAL;
                    e
                })?;
                if !nullable && reg.maybe_null() {
                    return Err(Reject::inval(Kind::ExpectedNonNull { arg: n }));
                }
                Ok(())
            }
            GlobalArg::Dynptr => {
                if reg.ty != RegType::PtrToStack {
                    self.check_arg_off(&reg, regno)?;
                }
                self.process_dynptr_func(regno, DynptrUse::Use { ty: None, rdonly: true })
            }
        }
    }

    /// Where an offset is allowed (`check_func_arg_reg_off`).
    pub(super) fn check_arg_off(&self, reg: &RegState, regno: u8) -> Res<()> {
        match reg.ty {
            RegType::PtrToStack
            | RegType::PtrToMapKey
            | RegType::PtrToMapValue
            | RegType::PtrToMem
            | RegType::PtrToBuf
            | RegType::Scalar => Ok(()),
            RegType::PtrToBtfId => self.check_ptr_off_reg(reg, regno, reg.may_have_offset()),
            _ => self.check_ptr_off_reg(reg, regno, false),
        }
    }

    /// Sets the arguments with which a function's walk starts.
    pub(crate) fn set_entry_regs(&mut self, subprog: usize) -> Res<()> {
        let ctx = RegState::pointer(RegType::PtrToCtx, RegFlags::NONE);
        if subprog == 0 {
            *self.reg_mut(1) = ctx;
            return Ok(());
        }
        let proto = self.proto_of(subprog)?;
        if self.exception_cb == Some(subprog) && proto.args != [GlobalArg::Scalar] {
            return Err(Reject::inval(Kind::ExceptionCbArgs));
        }
        for (i, arg) in proto.args.iter().enumerate() {
            let reg = match *arg {
                GlobalArg::Scalar => RegState::unknown(),
                GlobalArg::Ctx => ctx,
                GlobalArg::Dynptr => self.local_dynptr_reg(),
                GlobalArg::Mem { size, nullable } => {
                    let flags = if nullable { RegFlags::MAYBE_NULL } else { RegFlags::NONE };
                    let id = self.new_id();
                    RegState { aux: size, id, ..RegState::pointer(RegType::PtrToMem, flags) }
                }
            };
            *self.reg_mut(i + 1) = reg;
        }
        Ok(())
    }

    /// A dynptr of which only its contents may change (`mark_dynptr_cb_reg`).
    pub(super) fn local_dynptr_reg(&mut self) -> RegState {
        RegState {
            id: self.new_id(),
            object: StackObject::Dynptr { ty: DynptrType::Local, first: true },
            ..RegState::pointer(RegType::ConstPtrToDynptr, RegFlags::NONE)
        }
    }
}

fn is_unsupported(result: &Res<()>) -> bool {
    matches!(result, Err(e) if matches!(e.kind, Kind::NotSupportedYet { .. }))
}
