//! Calls of the program's own functions (`check_func_call`, `setup_func_entry`).

use alloc::rc::Rc;

use stylet_insn::Insn;
use stylet_uapi::errno;

use crate::env::{Flow, Step, Verifier};
use crate::kind::RejectionKind as Kind;
use crate::regs::RegState;
use crate::rejection::{PathStep, Reject, Res};
use crate::state::{FuncState, MAX_CALL_FRAMES, VerifierState};

/// Adds the frame of a function (`setup_func_entry`, the part that callbacks share).
pub(crate) fn push_frame(
    st: &mut VerifierState,
    subprog: usize,
    callsite: u32,
) -> Res<&mut FuncState> {
    let depth = st.frames.len();
    if depth >= MAX_CALL_FRAMES {
        return Err(Reject::new(errno::E2BIG, Kind::CallStackTooDeep { frames: depth as u32 + 1 }));
    }
    let func = FuncState::new(callsite, depth as u32, subprog as u32);
    st.frames.push(Rc::new(func));
    Ok(st.cur_mut())
}

impl Verifier<'_> {
    /// R0 to R5 do not survive a call (`clear_caller_saved_regs`).
    pub(crate) fn clear_caller_saved(func: &mut FuncState) {
        func.regs[..6].fill(RegState::not_init());
    }

    /// A call of one of the program's functions.
    pub(crate) fn check_func_call(&mut self, insn: Insn) -> Step {
        let at = self.insn_idx;
        let target = at.wrapping_add(insn.imm as u32).wrapping_add(1);
        let Some(subprog) = self.find_subprog(target) else {
            return Err(Reject::bug("call of no function"));
        };
        if self.subprogs[subprog].is_global {
            self.check_global_call(subprog)?;
            if self.subprogs[subprog].changes_pkt_data {
                self.clear_all_pkt_pointers();
            }
            return Ok(Flow::Next);
        }
        let args: [RegState; 5] = core::array::from_fn(|i| *self.reg(i + 1));
        let callee = push_frame(&mut self.cur, subprog, at)?;
        callee.regs[1..6].copy_from_slice(&args);
        let caller = self.cur.curframe() - 1;
        Self::clear_caller_saved(self.cur.frame_mut(caller));
        self.log_call(caller);
        self.note_step(PathStep::Call { insn_idx: at, target });
        self.insn_idx = target;
        Ok(Flow::Jumped)
    }
}
