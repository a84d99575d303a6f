//! When an explored state covers a new one (`states_equal`, `regsafe`, `stacksafe`).

use alloc::vec::Vec;

use crate::regs::{ADD_CONST, IterState, RegState, RegType, StackObject};
use crate::state::{FuncState, REG_SIZE, SlotType, StackSlot, VerifierState};

/// How alike two states must be (`enum exact_level`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exact {
    /// Precise values must be within the old ones.
    Not,
    /// The same in every detail: the program makes no progress.
    Same,
    /// All values must be within the old ones, precise or not.
    RangeWithin,
}

/// Which id of the old state stands for which of the new (`struct bpf_idmap`).
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMap {
    pairs: Vec<(u32, u32)>,
    next_tmp: u32,
    /// `Features::LOOSE_LOOP_STACK`.
    pub loose_loops: bool,
}

impl IdMap {
    /// Empties the map; `id_gen` is the verifier's last id.
    pub fn reset(&mut self, id_gen: u32) {
        self.pairs.clear();
        self.next_tmp = id_gen;
    }

    fn check_ids(&mut self, old: u32, cur: u32) -> bool {
        if (old == 0) != (cur == 0) {
            return false;
        }
        if old == 0 {
            return true;
        }
        for &(o, c) in &self.pairs {
            if o == old {
                return c == cur;
            }
            if c == cur {
                return false;
            }
        }
        self.pairs.push((old, cur));
        true
    }

    /// As `check_ids`, but a scalar without id stands for one that is alone with its id.
    fn check_scalar_ids(&mut self, old: u32, cur: u32) -> bool {
        let mut fresh = |id: u32| {
            if id != 0 {
                return id;
            }
            self.next_tmp += 1;
            self.next_tmp
        };
        let (old, cur) = (fresh(old), fresh(cur));
        self.check_ids(old, cur)
    }
}

/// All but ids and the marks of precision.
fn same_shape(old: &RegState, cur: &RegState) -> bool {
    same_origin(old, cur) && old.bounds == cur.bounds
}

fn same_origin(old: &RegState, cur: &RegState) -> bool {
    old.ty == cur.ty
        && old.flags == cur.flags
        && old.off == cur.off
        && old.aux == cur.aux
        && old.map == cur.map
        && old.map_uid == cur.map_uid
        && old.object == cur.object
}

fn regs_exact(old: &RegState, cur: &RegState, ids: &mut IdMap) -> bool {
    same_shape(old, cur)
        && ids.check_ids(old.id, cur.id)
        && ids.check_ids(old.ref_obj_id, cur.ref_obj_id)
        && ids.check_ids(old.dynptr_id, cur.dynptr_id)
}

/// Whether what was safe with `old` is safe with `cur`.
pub(crate) fn regsafe(old: &RegState, cur: &RegState, ids: &mut IdMap, exact: Exact) -> bool {
    if exact == Exact::Same {
        return regs_exact(old, cur, ids);
    }
    if old.ty == RegType::NotInit {
        return true;
    }
    if old.ty != cur.ty || old.flags != cur.flags {
        return false;
    }
    match old.ty {
        RegType::Scalar => {
            if !old.precise && exact == Exact::Not {
                return true;
            }
            // A link that only the current state has can but narrow it further.
            if old.id == 0 {
                return old.bounds.contains(&cur.bounds);
            }
            if (old.id ^ cur.id) & ADD_CONST != 0 {
                return false;
            }
            if old.id & ADD_CONST != 0 && old.off != cur.off {
                return false;
            }
            old.bounds.contains(&cur.bounds) && ids.check_scalar_ids(old.id, cur.id)
        }
        RegType::PtrToPacket | RegType::PtrToPacketMeta => {
            let (o, c) = (old.range(), cur.range());
            let range = if o < 0 || c < 0 { o == c } else { o <= c };
            range
                && old.off == cur.off
                && ids.check_ids(old.id, cur.id)
                && old.bounds.contains(&cur.bounds)
        }
        RegType::PtrToMapKey
        | RegType::PtrToMapValue
        | RegType::PtrToMem
        | RegType::PtrToBuf
        | RegType::PtrToTpBuffer => {
            same_origin(old, cur)
                && old.bounds.contains(&cur.bounds)
                && ids.check_ids(old.id, cur.id)
                && ids.check_ids(old.ref_obj_id, cur.ref_obj_id)
                && ids.check_ids(old.dynptr_id, cur.dynptr_id)
        }
        _ => regs_exact(old, cur, ids),
    }
}

/// The scalar that a load of the whole slot gives, when it is one (`scalar_reg_for_stack`).
fn scalar_for_slot(slot: &StackSlot) -> Option<RegState> {
    if slot.is_spilled_scalar64() {
        return Some(slot.spilled);
    }
    let misc = slot.types.iter().all(|t| matches!(t, SlotType::Misc | SlotType::Invalid));
    misc.then(RegState::unknown)
}

fn slot_safe(old: &StackSlot, cur: Option<&StackSlot>, ids: &mut IdMap, exact: Exact) -> bool {
    let unused = StackSlot::default();
    let same_types = exact == Exact::Same || exact == Exact::RangeWithin && !ids.loose_loops;
    if same_types && old.types != cur.unwrap_or(&unused).types {
        return false;
    }
    // With uninitialised reads allowed, MISC asks for no more than INVALID does.
    if old.types.iter().all(|t| matches!(t, SlotType::Invalid | SlotType::Misc)) {
        return true;
    }
    let Some(cur) = cur else { return false };
    if let (Some(o), Some(c)) = (scalar_for_slot(old), scalar_for_slot(cur)) {
        return regsafe(&o, &c, ids, exact);
    }
    for i in 0..REG_SIZE {
        let (o, c) = (old.types[i], cur.types[i]);
        if matches!(o, SlotType::Invalid | SlotType::Misc) || o == c {
            continue;
        }
        return false;
    }
    object_safe(old, cur, ids, exact)
}

/// What the slots hold, when their types are the same.
fn object_safe(old: &StackSlot, cur: &StackSlot, ids: &mut IdMap, exact: Exact) -> bool {
    let (o, c) = (&old.spilled, &cur.spilled);
    match (old.types[REG_SIZE - 1], o.object, c.object) {
        (SlotType::Spill, ..) => regsafe(o, c, ids, exact),
        // How many elements an iterator gave matters to nobody.
        (
            SlotType::Iter,
            StackObject::Iter { state: a, .. },
            StackObject::Iter { state: b, .. },
        ) => {
            a == b
                && o.aux == c.aux
                && o.flags == c.flags
                && ids.check_ids(o.ref_obj_id, c.ref_obj_id)
        }
        (SlotType::Dynptr | SlotType::IrqFlag | SlotType::Iter, a, b) => {
            a == b && ids.check_ids(o.ref_obj_id, c.ref_obj_id)
        }
        _ => true,
    }
}

/// An iterator gave more elements since `old`: that is progress (`iter_active_depths_differ`).
pub(crate) fn iter_active_depths_differ(old: &VerifierState, cur: &VerifierState) -> bool {
    let active = |slot: &StackSlot| match (slot.types[0], slot.spilled.object) {
        (SlotType::Iter, StackObject::Iter { state: IterState::Active, depth }) => Some(depth),
        _ => None,
    };
    old.frames.iter().zip(&cur.frames).any(|(o, c)| {
        o.stack.iter().zip(&c.stack).any(|(o, c)| match (active(o), c.spilled.object) {
            (Some(before), StackObject::Iter { depth, .. }) => depth != before,
            _ => false,
        })
    })
}

fn stacksafe(old: &FuncState, cur: &FuncState, ids: &mut IdMap, exact: Exact) -> bool {
    if exact == Exact::Same && cur.stack.len() > old.stack.len() {
        let extra = &cur.stack[old.stack.len()..];
        if extra.iter().any(|slot| slot.types.iter().any(|t| *t != SlotType::Invalid)) {
            return false;
        }
    }
    old.stack.iter().enumerate().all(|(spi, slot)| slot_safe(slot, cur.stack.get(spi), ids, exact))
}

fn refsafe(old: &VerifierState, cur: &VerifierState, ids: &mut IdMap) -> bool {
    old.refs.len() == cur.refs.len()
        && old.sections.rcu == cur.sections.rcu
        && old.sections.preempt == cur.sections.preempt
        && ids.check_ids(old.sections.irq_id, cur.sections.irq_id)
        && old
            .refs
            .iter()
            .zip(&cur.refs)
            .all(|(o, c)| o.kind == c.kind && o.owner == c.owner && ids.check_ids(o.id, c.id))
}

/// Whether `cur` needs no walk because `old` covers it. `live_regs` gives the registers that are
/// read at or after an instruction.
pub(crate) fn states_equal(
    old: &VerifierState,
    cur: &VerifierState,
    ids: &mut IdMap,
    live_regs: impl Fn(u32) -> u16,
    exact: Exact,
) -> bool {
    if old.frames.len() != cur.frames.len()
        || old.in_sleepable != cur.in_sleepable
        || !refsafe(old, cur, ids)
    {
        return false;
    }
    old.frames.iter().zip(&cur.frames).enumerate().all(|(i, (o, c))| {
        if o.callsite != c.callsite
            || o.subprogno != c.subprogno
            || o.callback_depth > c.callback_depth
            || o.callback != c.callback
        {
            return false;
        }
        if o.callback_ret != c.callback_ret {
            return false;
        }
        let live = live_regs(old.frame_insn_idx(i));
        let regs = (0..11usize)
            .filter(|r| live & (1 << r) != 0)
            .all(|r| regsafe(&o.regs[r], &c.regs[r], ids, exact));
        regs && stacksafe(o, c, ids, exact)
    })
}
