//! What precision is sought for, and the steps of the walk that were noted for it.

use crate::rejection::{Reject, Res};
use crate::state::MAX_CALL_FRAMES;

/// Most registers that one history entry can tie together.
pub(crate) const MAX_LINKED: usize = 6;

/// A register or stack slot with the same scalar id as another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LinkedReg {
    pub frame: u8,
    pub is_reg: bool,
    /// Register number or slot number.
    pub index: u8,
}

/// Registers that gained a range together at a conditional jump (`struct linked_regs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LinkedRegs {
    pub count: u8,
    pub entries: [LinkedReg; MAX_LINKED],
}

impl LinkedRegs {
    pub fn as_slice(&self) -> &[LinkedReg] {
        &self.entries[..usize::from(self.count)]
    }

    /// Adds a register; `false` when there is no room.
    pub fn push(&mut self, entry: LinkedReg) -> bool {
        let Some(place) = self.entries.get_mut(usize::from(self.count)) else { return false };
        *place = entry;
        self.count += 1;
        true
    }
}

/// One step that was not simply the next instruction, or that needs to be remembered for
/// backtracking (`struct bpf_jmp_history_entry`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct JmpHistEntry {
    pub idx: u32,
    /// Where the walk came from; `u32::MAX` at the start.
    pub prev_idx: u32,
    /// The instruction accessed this stack slot (frame, slot) at a fixed offset.
    pub stack: Option<(u8, u8)>,
    pub linked: LinkedRegs,
    /// The conditional jump's destination and source were stack pointers.
    pub stack_ptrs: [bool; 2],
}

/// Registers and slots for which precision is sought (`struct backtrack_state`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Backtrack {
    pub(super) frame: usize,
    pub(super) regs: [u32; MAX_CALL_FRAMES],
    pub(super) slots: [u64; MAX_CALL_FRAMES],
}

impl Backtrack {
    pub fn new(frame: usize) -> Backtrack {
        Backtrack { frame, ..Backtrack::default() }
    }

    pub fn set_reg(&mut self, regno: u8) {
        self.regs[self.frame] |= 1 << regno;
    }

    pub fn set_frame_reg(&mut self, frame: usize, regno: usize) {
        self.regs[frame] |= 1 << regno;
    }

    pub fn set_frame_slot(&mut self, frame: usize, slot: usize) {
        self.slots[frame] |= 1 << slot;
    }

    pub(super) fn clear_reg(&mut self, regno: u8) {
        self.regs[self.frame] &= !(1 << regno);
    }

    pub(super) fn has_reg(&self, regno: u8) -> bool {
        self.regs[self.frame] & (1 << regno) != 0
    }

    pub(super) fn reg_mask(&self) -> u32 {
        self.regs[self.frame]
    }

    pub fn is_empty(&self) -> bool {
        self.regs.iter().all(|m| *m == 0) && self.slots.iter().all(|m| *m == 0)
    }

    pub(super) fn enter(&mut self) -> Res<()> {
        if self.frame + 1 >= MAX_CALL_FRAMES {
            return Err(Reject::bug("backtracking enters too many frames"));
        }
        self.frame += 1;
        Ok(())
    }

    pub(super) fn exit(&mut self) -> Res<()> {
        match self.frame.checked_sub(1) {
            Some(frame) => self.frame = frame,
            None => return Err(Reject::bug("backtracking leaves the main program")),
        }
        Ok(())
    }

    pub(super) fn has_linked(&self, entry: &LinkedReg) -> bool {
        let mask = if entry.is_reg {
            u64::from(self.regs[usize::from(entry.frame)])
        } else {
            self.slots[usize::from(entry.frame)]
        };
        mask & (1 << entry.index) != 0
    }

    pub(super) fn sync_linked(&mut self, hist: Option<&JmpHistEntry>) {
        let Some(hist) = hist else { return };
        if !hist.linked.as_slice().iter().any(|e| self.has_linked(e)) {
            return;
        }
        for entry in hist.linked.as_slice() {
            let frame = usize::from(entry.frame);
            if entry.is_reg {
                self.set_frame_reg(frame, usize::from(entry.index));
            } else {
                self.set_frame_slot(frame, usize::from(entry.index));
            }
        }
    }
}
