//! The verifier's working data (`struct bpf_verifier_env`).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use stylet_catalog::Env;
use stylet_insn::Insn;

use crate::backtrack::{JmpHistEntry, LinkedRegs};
use crate::check::kfunc::KfuncDesc;
use crate::check::nullness::Known;
use crate::equal::IdMap;
use crate::fields::{MapBtf, Record};
use crate::input::{MapDef, ProgInput};
use crate::liveness::Liveness;
use crate::log::Log;
use crate::regs::RegState;
use crate::rejection::{PathStep, Res};
use crate::state::{FuncState, VerifierState};
use crate::states::Explorer;
use crate::verified::Facts;

/// What is known of one slot (`struct bpf_insn_aux_data`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InsnAux {
    /// A state may be kept here.
    pub prune_point: bool,
    /// A state must be kept here.
    pub force_checkpoint: bool,
    /// Reached by something else than the slot before.
    pub jmp_point: bool,
    /// Calls a helper that runs a callback at once.
    pub calls_callback: bool,
    pub is_may_goto: bool,
    /// Calls an iterator's `next`.
    pub is_iter_next: bool,
    /// Component of the control flow with a loop, 0 when in none.
    pub scc: u32,
    /// Registers that are read at or after this slot.
    pub live_regs: u16,
    /// Kind of memory that a load or store met here first, for `ptr_type_mismatch`.
    pub ptr_type: Option<crate::check::mem::PtrClass>,
    /// Map that a helper call met here on every path so far.
    pub call_map: CallMap,
}

/// The map argument of a helper call over all paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CallMap {
    /// Not called yet.
    #[default]
    Unseen,
    /// Always this map.
    One(u32),
    /// Different maps, or an inner map.
    Many,
}

/// One function (`struct bpf_subprog_info`).
#[derive(Clone, Debug, Default)]
pub(crate) struct SubprogInfo {
    pub start: u32,
    pub end: u32,
    pub stack_depth: u32,
    pub has_tail_call: bool,
    pub has_ld_abs: bool,
    pub is_cb: bool,
    /// Runs later, on its own (timers, work queues).
    pub is_async_cb: bool,
    pub is_global: bool,
    /// It or what it calls may sleep.
    pub might_sleep: bool,
    /// It or what it calls moves the packet.
    pub changes_pkt_data: bool,
    /// A global function that a verified function calls.
    pub called: bool,
    /// Argument kinds of a global function, when its BTF was understood.
    pub args: Option<Rc<crate::check::func_proto::GlobalProto>>,
}

/// A path that waits to be walked.
pub(crate) struct StackElem {
    pub state: VerifierState,
    pub insn_idx: u32,
    pub prev_insn_idx: u32,
    /// Length of the path when this branch was put aside.
    pub path_len: usize,
    /// The decision that leads onto this path.
    pub step: Option<PathStep>,
    pub log_pos: usize,
}

/// The verifier at work on one program.
pub(crate) struct Verifier<'a> {
    pub cat: &'a Env,
    pub input: &'a ProgInput<'a>,
    pub insns: &'a [Insn],
    /// The object's maps, then the templates of inner maps.
    pub maps: Vec<&'a MapDef>,
    /// BTF of each of them, as far as the kernel takes it.
    pub map_btf: Vec<MapBtf>,
    /// Fields of the program's own types, by BTF id.
    pub objects: BTreeMap<u32, Record>,
    pub aux: Vec<InsnAux>,
    pub subprogs: Vec<SubprogInfo>,
    /// Slots of each function in an order in which successors come first.
    pub postorder: Vec<u32>,
    pub cur: VerifierState,
    pub explorer: Explorer,
    pub idmap: IdMap,
    /// Kernel functions that the program calls, by BTF id.
    pub kfuncs: BTreeMap<u32, KfuncDesc<'a>>,
    pub branch_stack: Vec<StackElem>,
    pub liveness: Liveness,
    pub insn_idx: u32,
    pub prev_insn_idx: u32,
    pub insn_processed: u64,
    pub jmps_processed: u64,
    pub prev_insn_processed: u64,
    pub prev_jmps_processed: u64,
    /// The current instruction has its entry in the history.
    pub hist_is_current: bool,
    pub id_gen: u32,
    pub path: Vec<PathStep>,
    pub log: Log,
    pub facts: Facts,
    /// Branches that are always taken or never, by slot: bit 0 not taken, bit 1 taken.
    pub branches_seen: Vec<u8>,
    /// Function that runs after `bpf_throw`.
    pub exception_cb: Option<usize>,
    /// What a program of the BTF kinds attaches to.
    pub attached: Option<crate::attach::Attached<'a>>,
}

/// Steps of the path that are kept.
const MAX_PATH: usize = 4096;

impl<'a> Verifier<'a> {
    pub fn new(cat: &'a Env, input: &'a ProgInput<'a>) -> Verifier<'a> {
        let n = input.insns.len();
        let mut maps: Vec<&MapDef> = input.maps.iter().collect();
        maps.extend(input.maps.iter().filter_map(|m| m.inner.as_deref()));
        Verifier {
            cat,
            input,
            insns: input.insns,
            map_btf: vec![MapBtf::default(); maps.len()],
            objects: BTreeMap::new(),
            maps,
            aux: vec![InsnAux::default(); n],
            subprogs: Vec::new(),
            postorder: Vec::new(),
            cur: Verifier::empty_state(),
            explorer: Explorer::default(),
            idmap: IdMap::default(),
            kfuncs: BTreeMap::new(),
            branch_stack: Vec::new(),
            liveness: Liveness::default(),
            insn_idx: 0,
            prev_insn_idx: u32::MAX,
            insn_processed: 0,
            jmps_processed: 0,
            prev_insn_processed: 0,
            prev_jmps_processed: 0,
            hist_is_current: false,
            id_gen: 0,
            path: Vec::new(),
            log: Log::new(input.log_level),
            facts: Facts { insns: vec![Default::default(); n], ..Facts::default() },
            branches_seen: vec![0; n],
            exception_cb: None,
            attached: None,
        }
    }

    fn empty_state() -> VerifierState {
        VerifierState {
            frames: vec![Rc::new(FuncState::new(u32::MAX, 0, 0))],
            refs: Vec::new(),
            parent: None,
            branches: 1,
            insn_idx: 0,
            last_insn_idx: u32::MAX,
            first_insn_idx: 0,
            history: Vec::new(),
            callback_unroll_depth: 0,
            may_goto_depth: 0,
            cleaned: false,
            in_sleepable: false,
            sections: Default::default(),
        }
    }

    /// The state at the start of a function that is verified on its own.
    pub fn start_state(&self, subprog: u32) -> VerifierState {
        let mut st = Verifier::empty_state();
        st.frames = vec![Rc::new(FuncState::new(u32::MAX, 0, subprog))];
        st.in_sleepable = self.input.sleepable;
        let start = self.subprogs[subprog as usize].start;
        (st.insn_idx, st.first_insn_idx) = (start, start);
        st
    }

    /// What comparisons with NULL ask about.
    pub fn known(&self) -> Known<'_> {
        Known { input: self.input, maps: &self.map_btf, objects: &self.objects }
    }

    pub fn new_id(&mut self) -> u32 {
        self.id_gen += 1;
        self.id_gen
    }

    pub fn reg(&self, regno: usize) -> &RegState {
        self.cur.reg(regno)
    }

    pub fn reg_mut(&mut self, regno: usize) -> &mut RegState {
        self.cur.reg_mut(regno)
    }

    /// Function that starts at a slot (`find_subprog`).
    pub fn find_subprog(&self, start: u32) -> Option<usize> {
        self.subprogs.binary_search_by_key(&start, |s| s.start).ok()
    }

    /// Notes a step for backtracking (`push_jmp_history`).
    pub fn push_jmp_history(&mut self, stack: Option<(u8, u8)>, linked: LinkedRegs) {
        if self.hist_is_current
            && let Some(entry) = self.cur.history.last_mut()
        {
            entry.stack = stack.or(entry.stack);
            if linked.count != 0 {
                entry.linked = linked;
            }
            return;
        }
        self.cur.history.push(JmpHistEntry {
            idx: self.insn_idx,
            prev_idx: self.prev_insn_idx,
            stack,
            linked,
            stack_ptrs: [false; 2],
        });
        self.hist_is_current = true;
    }

    /// Notes that operands of a conditional jump are stack pointers, which are never precise.
    pub fn note_stack_operands(&mut self, stack_ptrs: [bool; 2]) {
        if stack_ptrs == [false; 2] {
            return;
        }
        self.push_jmp_history(None, LinkedRegs::default());
        if let Some(entry) = self.cur.history.last_mut() {
            entry.stack_ptrs = stack_ptrs;
        }
    }

    /// Puts a path aside (`push_stack`).
    pub fn push_stack(
        &mut self,
        state: VerifierState,
        insn_idx: u32,
        prev_insn_idx: u32,
    ) -> Res<()> {
        if self.branch_stack.len() as u32 >= self.cat.limits.complexity_limit_jmp_seq {
            return Err(crate::rejection::Reject::new(
                match self.cat.has(stylet_catalog::Features::JMP_SEQ_E2BIG) {
                    true => stylet_uapi::errno::E2BIG,
                    false => stylet_uapi::errno::EFAULT,
                },
                crate::kind::RejectionKind::TooManyJumps {
                    count: self.branch_stack.len() as u32 + 1,
                },
            ));
        }
        if let Some(parent) = state.parent {
            self.explorer.arena[parent].branches += 1;
        }
        let (path_len, log_pos) = (self.path.len(), self.log.pos());
        self.branch_stack.push(StackElem {
            state,
            insn_idx,
            prev_insn_idx,
            path_len,
            step: None,
            log_pos,
        });
        Ok(())
    }

    /// Names the decision that leads onto the path that was put aside last.
    pub fn note_pushed(&mut self, step: PathStep) {
        if let Some(elem) = self.branch_stack.last_mut() {
            elem.step = Some(step);
        }
    }

    /// Takes the path that was put aside last; `false` when there is none (`pop_stack`).
    pub fn pop_stack(&mut self) -> bool {
        let Some(elem) = self.branch_stack.pop() else { return false };
        self.cur = elem.state;
        self.insn_idx = elem.insn_idx;
        self.prev_insn_idx = elem.prev_insn_idx;
        self.path.truncate(elem.path_len);
        if let Some(step) = elem.step {
            self.note_step(step);
        }
        self.log.pop(elem.log_pos);
        true
    }

    pub fn note_step(&mut self, step: PathStep) {
        if self.path.len() < MAX_PATH {
            self.path.push(step);
        }
    }
}

/// Boxes a closure's result; keeps signatures short.
pub(crate) type Step = Result<Flow, Box<crate::rejection::Reject>>;

/// What the walk does after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The next slot.
    Next,
    /// `insn_idx` was set.
    Jumped,
    /// The path is done.
    Exit,
}
