//! Frames, stack slots and whole states (`struct bpf_func_state`, `struct bpf_verifier_state`).

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::backtrack::JmpHistEntry;
use crate::regs::{RegFlags, RegState, RegType};

/// Bytes of a stack slot.
pub(crate) const REG_SIZE: usize = 8;
/// Deepest call chain (`MAX_CALL_FRAMES`).
pub(crate) const MAX_CALL_FRAMES: usize = 8;
/// Register number of the frame pointer.
pub(crate) const FP: usize = 10;

/// What one byte of stack holds (`enum bpf_stack_slot_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(crate) enum SlotType {
    #[default]
    Invalid,
    /// Part of a spilled register.
    Spill,
    /// Initialised with anything.
    Misc,
    /// Zero.
    Zero,
    /// Part of a dynptr.
    Dynptr,
    /// Part of an iterator.
    Iter,
    /// A saved interrupt flag.
    IrqFlag,
}

/// Eight bytes of stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct StackSlot {
    /// The spilled register; meaningful while `types[7]` is `Spill`.
    pub spilled: RegState,
    /// Types of the eight bytes, the lowest address first in the kernel's order: index `i` is the
    /// byte at `-(spi * 8) - 1 - i` below the frame pointer.
    pub types: [SlotType; REG_SIZE],
}

impl StackSlot {
    /// A register was spilled here, all of it or its lower part (`is_spilled_reg`).
    pub fn is_spilled(&self) -> bool {
        self.types[REG_SIZE - 1] == SlotType::Spill
    }

    /// The slot holds more than bytes (`is_stack_slot_special`).
    pub fn is_special(&self) -> bool {
        matches!(
            self.types[REG_SIZE - 1],
            SlotType::Spill | SlotType::Dynptr | SlotType::Iter | SlotType::IrqFlag
        )
    }

    /// All bytes become of one type and what they held is forgotten.
    pub fn reset(&mut self, ty: SlotType) {
        *self = StackSlot { spilled: RegState::not_init(), types: [ty; REG_SIZE] };
    }

    /// `is_spilled_scalar_reg`.
    pub fn is_spilled_scalar(&self) -> bool {
        self.is_spilled() && self.spilled.ty == RegType::Scalar
    }

    /// `is_spilled_scalar_reg64`.
    pub fn is_spilled_scalar64(&self) -> bool {
        self.types[0] == SlotType::Spill && self.spilled.ty == RegType::Scalar
    }
}

/// What a callback's return value must be, and where it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CallbackKind {
    /// Not a callback.
    #[default]
    None,
    /// `bpf_loop`.
    Loop,
    /// `bpf_for_each_map_elem`.
    ForEachMapElem,
    /// `bpf_user_ringbuf_drain`.
    UserRingbuf,
    /// `bpf_rbtree_add`.
    RbtreeLess,
    /// A timer's or work queue's: it runs later, on its own.
    Async,
    /// `bpf_find_vma`.
    FindVma,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FuncState {
    pub regs: [RegState; 11],
    /// Slots in use; slot 0 is at `fp-8`.
    pub stack: Vec<StackSlot>,
    /// Call instruction in the calling frame (`u32::MAX` in the main program).
    pub callsite: u32,
    pub frameno: u32,
    pub subprogno: u32,
    /// Times this callback was simulated so far (kept in the calling frame).
    pub callback_depth: u32,
    pub callback: CallbackKind,
    /// Range the callback must return.
    pub callback_ret: (i32, i32),
    /// How many times callbacks that run later set up each other on the way here.
    pub async_entries: u32,
}

impl FuncState {
    pub fn new(callsite: u32, frameno: u32, subprogno: u32) -> FuncState {
        let mut regs = [RegState::not_init(); 11];
        regs[FP] =
            RegState { aux: frameno, ..RegState::pointer(RegType::PtrToStack, RegFlags::NONE) };
        FuncState {
            regs,
            stack: Vec::new(),
            callsite,
            frameno,
            subprogno,
            callback_depth: 0,
            callback: CallbackKind::None,
            callback_ret: (0, 0),
            async_entries: 0,
        }
    }

    pub fn in_callback(&self) -> bool {
        self.callback != CallbackKind::None
    }
}

/// What a reference stands for (`enum ref_state_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum RefKind {
    /// An object.
    #[default]
    Ptr,
    /// A saved interrupt flag.
    Irq,
    /// A `bpf_spin_lock` that is held.
    Lock,
    /// A `bpf_res_spin_lock` that is held.
    ResLock,
    /// The same, taken with interrupts off.
    ResLockIrq,
}

impl RefKind {
    pub fn is_lock(self) -> bool {
        matches!(self, RefKind::Lock | RefKind::ResLock | RefKind::ResLockIrq)
    }
}

/// `RefState::owner` of a lock in an object of the program's own.
pub(crate) const OWN_OBJECT: u32 = u32::MAX;

/// A reference that must be released (`struct bpf_reference_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RefState {
    pub id: u32,
    pub kind: RefKind,
    /// Instruction that acquired it.
    pub insn_idx: u32,
    /// Of a lock: the map that holds it, or [`OWN_OBJECT`].
    pub owner: u32,
}

/// Index into the verifier's arena of checkpoints.
pub(crate) type StateId = u32;

/// A whole state of the program.
#[derive(Clone, Debug)]
pub(crate) struct VerifierState {
    /// Frames, the main program's first; the last one runs.
    pub frames: Vec<Rc<FuncState>>,
    pub refs: Vec<RefState>,
    /// The checkpoint that this state continues.
    pub parent: Option<StateId>,
    /// States that continue this one and are not done.
    pub branches: u32,
    pub insn_idx: u32,
    pub last_insn_idx: u32,
    pub first_insn_idx: u32,
    pub history: Vec<JmpHistEntry>,
    pub callback_unroll_depth: u32,
    pub may_goto_depth: u32,
    /// Slots that nobody reads any more were forgotten.
    pub cleaned: bool,
    pub in_sleepable: bool,
    /// Sections that are open.
    pub sections: Sections,
}

/// Sections in which a program must not sleep nor end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sections {
    /// Calls of `bpf_rcu_read_lock` that are open.
    pub rcu: u32,
    /// Calls of `bpf_preempt_disable` that are open.
    pub preempt: u32,
    /// Reference of the interrupt flag that was saved last.
    pub irq_id: u32,
}

impl VerifierState {
    /// The lock that was taken last.
    pub fn active_lock(&self) -> Option<&RefState> {
        self.refs.iter().rev().find(|r| r.kind.is_lock())
    }

    pub fn curframe(&self) -> usize {
        self.frames.len() - 1
    }

    pub fn cur(&self) -> &FuncState {
        &self.frames[self.frames.len() - 1]
    }

    pub fn frame_mut(&mut self, frame: usize) -> &mut FuncState {
        Rc::make_mut(&mut self.frames[frame])
    }

    pub fn cur_mut(&mut self) -> &mut FuncState {
        let last = self.frames.len() - 1;
        self.frame_mut(last)
    }

    pub fn reg(&self, regno: usize) -> &RegState {
        &self.cur().regs[regno]
    }

    pub fn reg_mut(&mut self, regno: usize) -> &mut RegState {
        &mut self.cur_mut().regs[regno]
    }

    /// Instruction at which `frame` stands (`frame_insn_idx`).
    pub fn frame_insn_idx(&self, frame: usize) -> u32 {
        match self.frames.get(frame + 1) {
            Some(callee) => callee.callsite,
            None => self.insn_idx,
        }
    }

    /// Calls `f` for every register and spilled register of every frame
    /// (`bpf_for_each_reg_in_vstate`).
    pub fn for_each_reg(&mut self, mut f: impl FnMut(&mut RegState)) {
        for frame in &mut self.frames {
            let frame = Rc::make_mut(frame);
            frame.regs.iter_mut().for_each(&mut f);
            for slot in frame.stack.iter_mut().filter(|slot| slot.is_spilled()) {
                f(&mut slot.spilled);
            }
        }
    }
}
