//! Callbacks that run later, on their own: timers, work queues, task work (`push_async_cb`,
//! `set_timer_callback_state`).

use stylet_uapi::errno;

use crate::env::Verifier;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{PathStep, Reject, Res};
use crate::state::CallbackKind;

impl Verifier<'_> {
    /// Puts aside the walk of a callback that gets the map, key and value of the field behind `regno`.
    pub(crate) fn push_async_callback(
        &mut self,
        regno: u8,
        subprog: Option<usize>,
        sleepable: bool,
    ) -> Res<()> {
        let Some(subprog) = subprog else {
            return Err(Reject::bug("callback helper without a callback"));
        };
        let field = *self.reg(regno.into());
        let at = self.insn_idx;
        let info = &mut self.subprogs[subprog];
        (info.is_cb, info.is_async_cb) = (true, true);
        let start = info.start;
        let entries = self.cur.cur().async_entries + 1;
        let mut queued = self.start_state(subprog as u32);
        queued.in_sleepable = sleepable;
        queued.last_insn_idx = at;
        let of_map = |ty| RegState {
            map: field.map,
            map_uid: field.map_uid,
            ..RegState::pointer(ty, RegFlags::NONE)
        };
        let callee = queued.cur_mut();
        callee.callback = CallbackKind::Async;
        callee.async_entries = entries;
        callee.regs[1] = of_map(RegType::ConstPtrToMap);
        callee.regs[2] = of_map(RegType::PtrToMapKey);
        callee.regs[3] = of_map(RegType::PtrToMapValue);
        self.push_stack(queued, start, at).map_err(|mut e| {
            e.errno = errno::EFAULT;
            e
        })?;
        self.note_pushed(PathStep::Call { insn_idx: at, target: start });
        Ok(())
    }
}
