//! Callbacks that a helper runs before it returns (`push_callback_call`).

use stylet_btf::Kind;
use stylet_uapi::{HelperId, MapType, errno};

use super::call::push_frame;
use super::helper::CallMeta;
use crate::env::Verifier;
use crate::equal::IdMap;
use crate::kind::RejectionKind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{PathStep, Reject, Res};
use crate::state::{CallbackKind, FuncState, StateId, VerifierState};

/// Map types whose elements can be walked by a callback.
fn has_for_each(map: MapType) -> bool {
    matches!(
        map,
        MapType::HASH
            | MapType::ARRAY
            | MapType::PERCPU_HASH
            | MapType::PERCPU_ARRAY
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
    )
}

impl Verifier<'_> {
    /// `bpf_loop`: one more round, unless the count is used up.
    pub(crate) fn check_loop_call(&mut self, meta: &CallMeta) -> Res<()> {
        self.mark_reg_precise(1)?;
        if u64::from(self.cur.cur().callback_depth) >= self.reg(1).bounds.umax {
            self.cur.cur_mut().callback_depth = 0;
            return Ok(());
        }
        let ctx = *self.reg(3);
        self.push_callback(meta.subprog, CallbackKind::Loop, |callee| {
            callee.regs[1] = RegState::unknown();
            callee.regs[2] = ctx;
        })
    }

    /// `bpf_for_each_map_elem`.
    pub(crate) fn check_for_each_map_elem(&mut self, meta: &CallMeta) -> Res<()> {
        let Some(map) = meta.map else {
            return Err(Reject::bug("for_each_map_elem without a map"));
        };
        if !has_for_each(self.maps[map as usize].map_type) {
            return Err(Reject::new(errno::ENOTSUPP, RejectionKind::NoCallbackForMap));
        }
        let (ctx, caller_r1) = (*self.reg(3), *self.reg(1));
        let of_map = |ty| RegState {
            map,
            map_uid: caller_r1.map_uid,
            ..RegState::pointer(ty, RegFlags::NONE)
        };
        self.push_callback(meta.subprog, CallbackKind::ForEachMapElem, |callee| {
            callee.regs[1] = of_map(RegType::ConstPtrToMap);
            callee.regs[2] = of_map(RegType::PtrToMapKey);
            callee.regs[3] = of_map(RegType::PtrToMapValue);
            callee.regs[4] = ctx;
        })
    }

    /// `bpf_find_vma`: the callback gets the task and the area.
    fn check_find_vma(&mut self, meta: &CallMeta) -> Res<()> {
        let btf = self.cat.btf.as_ref();
        let vma = btf.and_then(|btf| btf.find_by_name_kind("vm_area_struct", Kind::Struct));
        let Some(aux) = vma else {
            return Err(Reject::unsupported("bpf_find_vma without the target's BTF"));
        };
        let (task, ctx) = (*self.reg(1), *self.reg(4));
        self.push_callback(meta.subprog, CallbackKind::FindVma, |callee| {
            callee.regs[1] = task;
            callee.regs[2] =
                RegState { aux, ..RegState::pointer(RegType::PtrToBtfId, RegFlags::NONE) };
            callee.regs[3] = ctx;
        })
    }

    /// Puts aside a path that runs the callback once and comes back to the helper call.
    pub(super) fn push_callback(
        &mut self,
        subprog: Option<usize>,
        kind: CallbackKind,
        args: impl FnOnce(&mut FuncState),
    ) -> Res<()> {
        let Some(subprog) = subprog else {
            return Err(Reject::bug("callback helper without a callback"));
        };
        let at = self.insn_idx;
        let start = self.subprogs[subprog].start;
        self.subprogs[subprog].is_cb = true;
        let mut queued = self.cur.clone();
        let callee = push_frame(&mut queued, subprog, at)?;
        args(callee);
        callee.callback = kind;
        callee.callback_ret = (0, 1);
        queued.callback_unroll_depth += 1;
        let caller = queued.curframe() - 1;
        queued.frame_mut(caller).callback_depth += 1;
        self.push_stack(queued, start, at)?;
        self.log.touch_all();
        self.note_pushed(PathStep::Call { insn_idx: at, target: start });
        self.cur.cur_mut().callback_depth = 0;
        Ok(())
    }

    /// The checkpoint of an earlier round of the loop through `insn_idx` (`find_prev_entry`).
    pub(crate) fn find_prev_entry(&self, insn_idx: u32) -> Option<StateId> {
        let nearest = self.cur.parent?;
        let mut at = self.explorer.arena[nearest].parent;
        while let Some(id) = at {
            let st = &self.explorer.arena[id];
            let same_calls = st.frames.len() == self.cur.frames.len()
                && st.frames.iter().zip(&self.cur.frames).all(|(a, b)| a.callsite == b.callsite);
            if st.insn_idx == insn_idx && same_calls {
                return Some(id);
            }
            at = st.parent;
        }
        None
    }

    /// Forgets numbers that changed since `old` and decided nothing, so that loops converge
    /// (`widen_imprecise_scalars`).
    pub(crate) fn widen_imprecise_scalars(&mut self, old: StateId, cur: &mut VerifierState) {
        let mut ids = IdMap::default();
        ids.reset(self.id_gen);
        let old = &self.explorer.arena[old];
        for frame in 0..old.frames.len().min(cur.frames.len()) {
            let (old, cur) = (&old.frames[frame], cur.frame_mut(frame));
            for (o, c) in old.regs.iter().zip(&mut cur.regs) {
                maybe_widen(o, c, &mut ids);
            }
            for (o, c) in old.stack.iter().zip(&mut cur.stack) {
                if o.is_spilled() && c.is_spilled() {
                    maybe_widen(&o.spilled, &mut c.spilled, &mut ids);
                }
            }
        }
    }

    /// Whether the helper runs a callback before it returns.
    pub(crate) fn check_callback_helper(&mut self, id: u32, meta: &CallMeta) -> Res<()> {
        match HelperId(id) {
            HelperId::LOOP => self.check_loop_call(meta),
            HelperId::FOR_EACH_MAP_ELEM => self.check_for_each_map_elem(meta),
            HelperId::USER_RINGBUF_DRAIN => {
                let (dynptr, ctx) = (self.local_dynptr_reg(), *self.reg(3));
                self.push_callback(meta.subprog, CallbackKind::UserRingbuf, |callee| {
                    callee.regs[1] = dynptr;
                    callee.regs[2] = ctx;
                })
            }
            HelperId::FIND_VMA => self.check_find_vma(meta),
            _ => Err(Reject::unsupported("this callback helper")),
        }
    }
}

fn maybe_widen(old: &RegState, cur: &mut RegState, ids: &mut IdMap) {
    if !old.is_scalar() || !cur.is_scalar() || old.precise || cur.precise {
        return;
    }
    if crate::equal::regsafe(old, cur, ids, crate::equal::Exact::Same) {
        return;
    }
    *cur = RegState::unknown();
}
