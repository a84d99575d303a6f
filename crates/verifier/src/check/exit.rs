//! Leaving a function, a callback or the program (`process_bpf_exit_full`, `prepare_func_exit`,
//! `check_return_code`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use stylet_catalog::Env;
use stylet_uapi::{AttachType, ProgType};

use super::exception::THROW;
use crate::env::{Flow, Step, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegState, RegType};
use crate::rejection::{PathStep, Reject, Res};
use crate::state::{CallbackKind, RefKind, RefState};

/// Whether every value of the number is in the range (`retval_range_within`).
fn within(reg: &RegState, (min, max): (i32, i32)) -> bool {
    reg.bounds.smin >= i64::from(min) && reg.bounds.smax <= i64::from(max)
}

fn bad_scalar(
    context: &'static str,
    regno: u8,
    reg: &RegState,
    (min, max): (i32, i32),
) -> alloc::boxed::Box<Reject> {
    let b = reg.bounds;
    Reject::inval(Kind::ReturnValue {
        context,
        reg: regno,
        smin: (b.smin > i64::MIN).then_some(b.smin),
        smax: (b.smax < i64::MAX).then_some(b.smax),
        min,
        max,
    })
}

impl Verifier<'_> {
    /// The EXIT instruction.
    pub(crate) fn check_exit(&mut self) -> Step {
        let ends = self.cur.curframe() == 0;
        self.check_resource_leak("BPF_EXIT instruction in main prog", ends)?;
        if self.cur.curframe() > 0 {
            return self.prepare_func_exit();
        }
        self.check_return_code(0)?;
        Ok(Flow::Exit)
    }

    /// Every reference was released and, where the program may end, every section left (`check_resource_leak`).
    pub(crate) fn check_resource_leak(&self, what: &'static str, ends: bool) -> Res<()> {
        if ends && self.cur.active_lock().is_some() {
            return Err(Reject::inval(Kind::InsideSection { what, section: "bpf_spin_lock" }));
        }
        self.check_reference_leak(what)?;
        let sections = self.cur.sections;
        let open = if sections.irq_id != 0 {
            "bpf_local_irq_save"
        } else if sections.rcu != 0 {
            "bpf_rcu_read_lock"
        } else if sections.preempt != 0 {
            "bpf_preempt_disable"
        } else {
            return Ok(());
        };
        if ends { Err(Reject::inval(Kind::InsideSection { what, section: open })) } else { Ok(()) }
    }

    /// Every reference was released (`check_reference_leak`).
    pub(crate) fn check_reference_leak(&self, what: &'static str) -> Res<()> {
        // Frames share their references: what a callback leaves is found when the program ends.
        if self.cur.curframe() > 0 && what != THROW {
            return Ok(());
        }
        let lost: Vec<_> = self.cur.refs.iter().filter(|r| r.kind == RefKind::Ptr).collect();
        let Some((last, others)) = lost.split_last() else { return Ok(()) };
        let mut kind = Kind::UnreleasedReference { id: last.id, alloc_insn: last.insn_idx, what };
        if !others.is_empty() {
            let note = |r: &&RefState| {
                alloc::format!("Unreleased reference id={} alloc_insn={}", r.id, r.insn_idx)
            };
            let note = others.iter().map(note).collect::<Vec<_>>().join("\n");
            kind = Kind::Noted { note, kind: Box::new(kind) };
        }
        Err(Reject::inval(kind))
    }

    /// Return to the calling frame.
    pub(super) fn prepare_func_exit(&mut self) -> Step {
        let callee = self.cur.cur();
        let (callsite, in_callback, range) =
            (callee.callsite, callee.in_callback(), callee.callback_ret);
        let r0 = callee.regs[0];
        if r0.ty == RegType::PtrToStack {
            return Err(Reject::inval(Kind::ReturnStackPointer));
        }
        if in_callback {
            if !r0.is_scalar() {
                return Err(Reject::acces(Kind::CallbackReturnNotScalar));
            }
            self.mark_reg_precise(0)?;
            if !within(&r0, range) {
                return Err(bad_scalar("At callback return", 0, &r0, range));
            }
        }
        let frame = self.cur.curframe();
        let from = self.insn_idx;
        self.insn_idx = if in_callback { callsite } else { callsite + 1 };
        if !in_callback {
            self.cur.frame_mut(frame - 1).regs[0] = r0;
        }
        self.log_return(frame);
        self.cur.frames.pop();
        self.note_step(PathStep::Return { insn_idx: from, target: self.insn_idx });
        let prev = if in_callback { self.find_prev_entry(callsite) } else { None };
        if let Some(prev) = prev {
            let mut cur = self.cur.clone();
            self.widen_imprecise_scalars(prev, &mut cur);
            self.cur = cur;
        }
        Ok(Flow::Jumped)
    }

    /// What the program returns.
    pub(super) fn check_return_code(&mut self, regno: u8) -> Res<()> {
        let subprog = self.cur.frames[0].subprogno as usize;
        let attach = self.input.expected_attach_type;
        let is_lsm = self.input.prog_type == ProgType::LSM;
        let hook = is_lsm && attach == AttachType::LSM_MAC;
        let is_main = subprog == 0 || self.exception_cb == Some(subprog);
        // What the function behind a void hook leaves in R0 goes nowhere.
        if hook && is_main && self.target_is_void() {
            return Ok(());
        }
        self.check_src(regno)?;
        let r0 = *self.reg(regno.into());
        if self.cur.frames[0].callback == CallbackKind::Async {
            return self.check_return_range("At async callback return", regno, &r0, (0, 0));
        }
        if subprog != 0 && self.exception_cb != Some(subprog) {
            if !r0.is_scalar() {
                return Err(Reject::inval(Kind::SubprogReturnNotScalar { ty: r0.type_name() }));
            }
            return Ok(());
        }
        let info = self.cat.prog_info(self.input.prog_type);
        // An attach type that the release does not know is not looked at.
        let known = Env::attach_type_since(attach).is_none_or(|since| since <= self.cat.release());
        let range = match is_lsm {
            true if hook => self.lsm_range(),
            true if self.target_is_void() => Some((1, 1)),
            true => Some((0, 1)),
            false => info.and_then(|i| i.return_range(attach)).filter(|_| known),
        };
        let Some(range) = range else { return Ok(()) };
        let result = self.check_return_range("At program exit", regno, &r0, range);
        if is_lsm && range == (1, 1) {
            return result.map_err(|e| e.then(Kind::CannotModifyVoid));
        }
        result
    }

    fn check_return_range(
        &mut self,
        context: &'static str,
        regno: u8,
        reg: &RegState,
        range: (i32, i32),
    ) -> Res<()> {
        if !reg.is_scalar() {
            let ty = reg.type_name();
            return Err(Reject::inval(Kind::ReturnNotKnown { context, reg: regno, ty }));
        }
        self.mark_reg_precise(regno.into())?;
        // What LSM hooks return is an `int`.
        let low_half = self.input.prog_type == ProgType::LSM && range.0 < 0;
        let fits = match low_half {
            true => reg.bounds.s32_min >= range.0 && reg.bounds.s32_max <= range.1,
            false => within(reg, range),
        };
        if !fits {
            return Err(bad_scalar(context, regno, reg, range));
        }
        Ok(())
    }
}
