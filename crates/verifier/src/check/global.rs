//! Global functions: verified once for any arguments of their prototype, assumed valid at each call
//! (`btf_prepare_func_args`, `btf_check_func_arg_match`).

use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;

use stylet_btf::{Btf, FuncLinkage, Type};

use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};

/// What a global function's argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GlobalArg {
    /// Any number.
    Scalar,
}

/// Prototype of a global function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GlobalProto {
    pub args: Vec<GlobalArg>,
}

fn global_arg(btf: &Btf, id: u32) -> Option<GlobalArg> {
    match btf.type_by_id(btf.skip_mods_and_typedefs(id))? {
        Type::Int(_) | Type::Enum(_) | Type::Enum64(_) => Some(GlobalArg::Scalar),
        _ => None,
    }
}

impl Verifier<'_> {
    /// Finds which functions are global and what they take.
    pub(crate) fn prepare_global_funcs(&mut self) -> Res<()> {
        for subprog in 1..self.subprogs.len() {
            if self.subprog_linkage(subprog) == Some(FuncLinkage::Global) {
                let start = self.subprogs[subprog].start;
                let proto = self.global_proto(subprog).map_err(|e| e.at(start))?;
                self.subprogs[subprog].is_global = true;
                self.subprogs[subprog].args = Some(Rc::new(proto));
            }
        }
        Ok(())
    }

    fn global_proto(&self, subprog: usize) -> Res<GlobalProto> {
        let unknown = || Reject::unsupported("global functions with this prototype");
        let (Some(btf), Some(info)) = (self.input.btf, self.subprog_info(subprog)) else {
            return Err(unknown());
        };
        let Some(Type::Func(func)) = btf.type_by_id(info.type_id) else { return Err(unknown()) };
        let Some(Type::FuncProto(proto)) = btf.type_by_id(func.ty) else { return Err(unknown()) };
        if global_arg(btf, proto.ret) != Some(GlobalArg::Scalar) {
            return Err(unknown());
        }
        let args: Option<Vec<GlobalArg>> = proto.params().map(|p| global_arg(btf, p.ty)).collect();
        let args = args.filter(|a| a.len() <= 5).ok_or_else(unknown)?;
        Ok(GlobalProto { args })
    }

    /// A call of a global function: its arguments fit, its result is any number.
    pub(crate) fn check_global_call(&mut self, subprog: usize) -> Res<()> {
        let Some(proto) = self.subprogs[subprog].args.clone() else {
            return Err(Reject::bug("global function without prototype"));
        };
        for (i, arg) in proto.args.iter().enumerate() {
            let regno = i as u8 + 1;
            match arg {
                GlobalArg::Scalar if !self.reg(regno.into()).is_scalar() => {
                    return Err(Reject::inval(Kind::InvalidGlobalArgs {
                        reg: regno,
                        func: subprog as u32,
                        name: self.subprog_name(subprog).to_string(),
                    }));
                }
                GlobalArg::Scalar => {}
            }
        }
        self.subprogs[subprog].called = true;
        Self::clear_caller_saved(self.cur.cur_mut());
        *self.reg_mut(0) = RegState::unknown();
        Ok(())
    }

    /// Sets the arguments with which a function's walk starts.
    pub(crate) fn set_entry_regs(&mut self, subprog: usize) {
        if subprog == 0 {
            *self.reg_mut(1) = RegState::pointer(RegType::PtrToCtx, RegFlags::NONE);
            return;
        }
        let proto = self.subprogs[subprog].args.clone();
        for (i, arg) in proto.iter().flat_map(|p| p.args.iter()).enumerate() {
            match arg {
                GlobalArg::Scalar => *self.reg_mut(i + 1) = RegState::unknown(),
            }
        }
    }
}
