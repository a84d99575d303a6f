//! Sections in which a program must not sleep: RCU, without preemption, without interrupts
//! (`bpf_rcu_read_lock`, `bpf_preempt_disable`, `bpf_local_irq_save`).

use alloc::string::ToString;

use stylet_catalog::{Features, KfuncFlags};

use super::kfunc::KfuncMeta;
use super::mem::{Access, Dir, Value};
use crate::cfg::is_pseudo_func;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{IrqClass, RegFlags, RegState, RegType, StackObject};
use crate::rejection::{Reject, Res};
use crate::state::{RefKind, SlotType};

impl Verifier<'_> {
    /// Effect of a kfunc on the open sections, and whether it may be called in them.
    pub(crate) fn check_sections(&mut self, meta: &KfuncMeta<'_>, sleepable: bool) -> Res<()> {
        let name = meta.desc.name;
        let sections = self.cur.sections;
        let sleeps_in = |region| {
            Err(Reject::acces(Kind::KfuncSleepsInRegion { name: name.to_string(), region }))
        };
        let rcu_section = matches!(name, "bpf_rcu_read_lock" | "bpf_rcu_read_unlock");
        if rcu_section && sections.rcu != 0 && self.in_rbtree_cb() {
            return Err(Reject::acces(Kind::RcuInRbtreeCb));
        }
        match (name, sections.rcu) {
            ("bpf_rcu_read_lock", 0) => self.cur.sections.rcu = 1,
            ("bpf_rcu_read_lock", n) if self.cat.has(Features::NESTED_RCU) => {
                self.cur.sections.rcu = n + 1;
            }
            ("bpf_rcu_read_lock", _) => {
                return Err(Reject::inval(Kind::NestedRcuLock { name: name.to_string() }));
            }
            ("bpf_rcu_read_unlock", 0) => {
                return Err(Reject::inval(Kind::UnmatchedRcuUnlock { name: name.to_string() }));
            }
            ("bpf_rcu_read_unlock", n) => {
                self.cur.sections.rcu = n - 1;
                if n == 1 {
                    self.invalidate_rcu_pointers();
                }
            }
            (_, 0) => {}
            _ if sleepable => return sleeps_in("rcu_read_lock region"),
            _ => {}
        }
        match (name, sections.preempt) {
            ("bpf_preempt_disable", n) => self.cur.sections.preempt = n + 1,
            ("bpf_preempt_enable", 0) => {
                return Err(Reject::inval(Kind::UnmatchedPreemptEnable { name: name.to_string() }));
            }
            ("bpf_preempt_enable", n) => self.cur.sections.preempt = n - 1,
            (_, 0) => {}
            _ if sleepable => return sleeps_in("non-preemptible region"),
            _ => {}
        }
        if sections.irq_id != 0 && sleepable {
            return sleeps_in("IRQ-disabled region");
        }
        if meta.has(KfuncFlags::RCU_PROTECTED) && !self.in_rcu_cs() {
            return Err(Reject::acces(Kind::KfuncNeedsRcu { name: name.to_string() }));
        }
        Ok(())
    }

    /// What a helper that may sleep must not be called in.
    pub(crate) fn check_helper_sections(&self, helper: &'static str, id: u32) -> Res<()> {
        let sections = self.cur.sections;
        let region = if sections.rcu != 0 {
            "rcu_read_lock region"
        } else if sections.preempt != 0 {
            "non-preemptible region"
        } else if sections.irq_id != 0 {
            "IRQ-disabled region"
        } else {
            return Ok(());
        };
        Err(Reject::inval(Kind::HelperSleepsInRegion { helper, id, region }))
    }

    /// Here nothing may sleep.
    pub(crate) fn in_atomic_context(&self) -> bool {
        let sections = self.cur.sections;
        !self.cur.in_sleepable
            || sections.rcu != 0
            || sections.preempt != 0
            || sections.irq_id != 0
            || self.cur.active_lock().is_some()
    }

    /// Finds the functions that may sleep, by themselves or by what they call (`mark_subprog_might_sleep`).
    pub(crate) fn mark_subprogs_might_sleep(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for subprog in 0..self.subprogs.len() {
                let info = &self.subprogs[subprog];
                let sleeps =
                    !info.might_sleep && (info.start..info.end).any(|i| self.insn_might_sleep(i));
                if sleeps {
                    self.subprogs[subprog].might_sleep = true;
                    changed = true;
                }
            }
        }
    }

    fn insn_might_sleep(&self, i: u32) -> bool {
        let insn = self.insns[i as usize];
        if insn.is_pseudo_call() || is_pseudo_func(insn) {
            let start = i.wrapping_add(insn.imm as u32).wrapping_add(1);
            return self.find_subprog(start).is_some_and(|s| self.subprogs[s].might_sleep);
        }
        if insn.is_kfunc_call() {
            let flags = self.kfuncs.get(&(insn.imm as u32)).and_then(|k| k.flags);
            return flags.is_some_and(|f| f.contains(KfuncFlags::SLEEPABLE));
        }
        insn.is_helper_call() && self.helper_proto(insn.imm as u32).is_ok_and(|p| p.might_sleep)
    }

    /// Nothing that RCU protected is valid any more.
    fn invalidate_rcu_pointers(&mut self) {
        let forget = |reg: &mut RegState| {
            if reg.flags.has(RegFlags::RCU) {
                reg.flags = reg
                    .flags
                    .without(RegFlags::RCU)
                    .without(RegFlags::MAYBE_NULL)
                    .with(RegFlags::UNTRUSTED);
            }
        };
        self.cur.for_each_reg(forget);
        for frame in 0..self.cur.frames.len() {
            let iters = |ty: SlotType| ty == SlotType::Iter;
            if self.cur.frames[frame].stack.iter().any(|s| iters(s.types[0])) {
                let slots = self.cur.frame_mut(frame).stack.iter_mut();
                slots.filter(|s| iters(s.types[0])).for_each(|s| forget(&mut s.spilled));
            }
        }
    }

    /// A flag that `bpf_local_irq_save` fills or `bpf_local_irq_restore` uses (`process_irq_flag`).
    pub(crate) fn process_irq_flag(&mut self, regno: u8, kfunc: &str) -> Res<()> {
        let save = matches!(kfunc, "bpf_local_irq_save" | "bpf_res_spin_lock_irqsave");
        let class =
            if kfunc.starts_with("bpf_res_spin") { IrqClass::Lock } else { IrqClass::Native };
        let reg = *self.reg(regno.into());
        let found = self.stack_object(&reg, "irq_flag", 1);
        let slot = found.as_ref().ok().copied().flatten();
        let is_flag = slot.is_some_and(|(frame, spi)| {
            self.cur.frames[frame].stack[spi].types.contains(&SlotType::IrqFlag)
        });
        if save {
            if is_flag || found.is_err() {
                let kind = Kind::ExpectedUninitIrqFlag { arg: regno - 1 };
                return Err(Reject::inval(kind).after(found.err()));
            }
            self.check_mem_access(Access {
                size: 8,
                dir: Dir::Write,
                value: Value::None,
                ..Access::helper_byte(regno, 0)
            })?;
            let Ok(Some((frame, spi))) = self.stack_object(&reg, "irq_flag", 1) else {
                return Err(Reject::bug("irq flag without a slot"));
            };
            let id = self.acquire_reference(RefKind::Irq);
            self.cur.sections.irq_id = id;
            self.mark_stack_write(frame, spi, true);
            let slot = &mut self.cur.frame_mut(frame).stack[spi];
            slot.reset(SlotType::IrqFlag);
            slot.spilled = RegState {
                ref_obj_id: id,
                object: StackObject::Irq { class },
                ..RegState::pointer(RegType::PtrToStack, RegFlags::NONE)
            };
            return Ok(());
        }
        let (Some((frame, spi)), true) = (slot, is_flag) else {
            let kind = Kind::ExpectedIrqFlag { arg: regno - 1 };
            return Err(Reject::inval(kind).after(found.err()));
        };
        self.mark_stack_read(frame, spi, spi);
        let flag = self.cur.frames[frame].stack[spi].spilled;
        if let StackObject::Irq { class: taken } = flag.object
            && taken != class
        {
            let name = |c| if c == IrqClass::Lock { "rqspinlock" } else { "native" };
            let kind = Kind::IrqClassMismatch { taken: name(taken), restored: name(class) };
            return Err(Reject::inval(kind));
        }
        self.release_irq_state(flag.ref_obj_id)?;
        self.mark_stack_write(frame, spi, true);
        self.cur.frame_mut(frame).stack[spi].reset(SlotType::Invalid);
        Ok(())
    }

    /// Flags are restored in the opposite order.
    fn release_irq_state(&mut self, id: u32) -> Res<()> {
        let active = self.cur.sections.irq_id;
        if id != active {
            let insn_idx = self.cur.refs.iter().find(|r| r.id == active).map_or(0, |r| r.insn_idx);
            return Err(Reject::acces(Kind::IrqOutOfOrder { id: active, insn_idx }));
        }
        self.cur.refs.retain(|r| r.kind != RefKind::Irq || r.id != id);
        let before = self.cur.refs.iter().rev().find(|r| r.kind == RefKind::Irq);
        self.cur.sections.irq_id = before.map_or(0, |r| r.id);
        Ok(())
    }
}
