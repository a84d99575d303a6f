//! The proof: a program that passed, with what the walk found out about it.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use stylet_insn::Insn;
use stylet_uapi::{AttachType, ProgType};

/// A function of the program; the first is the main program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subprog {
    /// First slot.
    pub start: u32,
    /// One past the last slot.
    pub end: u32,
    /// Bytes of stack used below R10, not rounded.
    pub stack_depth: u32,
    /// Called back from a helper or kfunc (`bpf_loop`, `for_each_map_elem`), not by `call`.
    pub is_cb: bool,
    /// Contains a tail call.
    pub has_tail_call: bool,
}

/// What a load, store or atomic addresses, the same on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MemKind {
    /// Not a memory access, or never reached.
    #[default]
    None,
    /// The frame of this or a calling function.
    Stack,
    /// The context.
    Ctx,
    /// A map value or other checked memory: needs no run-time check.
    Checked,
    /// A pointer whose target may be gone or invalid (`PROBE_MEM`): a load that faults gives 0.
    Probe,
    /// Arena memory (`PROBE_MEM32`).
    Arena,
}

/// Facts about one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsnFact {
    /// Some path reaches it. Unreached slots are dead code and may be left out.
    pub seen: bool,
    /// What a memory instruction addresses.
    pub mem: MemKind,
    /// For a helper call with a map argument that is the same map on every path: its index.
    pub map: Option<u32>,
    /// For a conditional jump: `Some(taken)` when every path goes the same way.
    pub branch: Option<bool>,
}

/// What the walk cost, under the names of the kernel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions processed.
    pub insn_processed: u64,
    /// States kept in all.
    pub total_states: u32,
    /// Most states held at once.
    pub peak_states: u32,
    /// Most states that were compared with at one instruction.
    pub max_states_per_insn: u32,
}

/// Results of verification that code generation and trampolines use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// One entry a slot.
    pub insns: Vec<InsnFact>,
    /// Bit n: the eight bytes at context offset 8n are read by a load.
    pub ctx_read: u64,
    /// Bit n: the eight bytes at context offset 8n are written by a store.
    pub ctx_written: u64,
    /// The context pointer is passed to a helper, kfunc or callback: all of it must be there.
    pub ctx_escapes: bool,
    /// Helper numbers called on some path.
    pub helpers: BTreeSet<u32>,
    /// BTF ids (in the target's BTF) of kfuncs called on some path.
    pub kfuncs: BTreeSet<u32>,
    /// Instructions processed by the walk (`insn_processed`).
    pub insn_processed: u64,
    /// Most states held at once, and in all (`peak_states`, `total_states`).
    pub peak_states: u32,
    /// See `peak_states`.
    pub total_states: u32,
    /// See [`Stats::max_states_per_insn`].
    pub max_states_per_insn: u32,
    /// Bytes of stack of the deepest call chain.
    pub max_stack: u32,
}

/// A program that passed the verifier. Only this crate can make one.
#[derive(Clone, Debug)]
pub struct VerifiedProg {
    pub(crate) prog_type: ProgType,
    pub(crate) expected_attach_type: AttachType,
    pub(crate) insns: Vec<Insn>,
    pub(crate) subprogs: Vec<Subprog>,
    pub(crate) facts: Facts,
    pub(crate) log: String,
}

impl VerifiedProg {
    /// A program that nobody has checked, for tests of what takes verified programs. Functions are found by their calls;
    /// all slots count as seen, all memory as checked, every function as using 512 bytes of stack.
    #[cfg(feature = "unchecked-for-tests")]
    #[doc(hidden)]
    pub fn new_unchecked_for_tests(prog_type: ProgType, insns: Vec<Insn>) -> VerifiedProg {
        let target =
            |i: usize, imm: i32| u32::try_from(i as i64 + 1 + i64::from(imm)).unwrap_or(u32::MAX);
        let mut starts = BTreeSet::from([0]);
        let mut callbacks = BTreeSet::new();
        for (i, insn) in insns.iter().enumerate() {
            if insn.is_pseudo_call() {
                starts.insert(target(i, insn.imm));
            } else if insn.is_lddw() && insn.src == stylet_insn::opcode::PSEUDO_FUNC {
                starts.insert(target(i, insn.imm));
                callbacks.insert(target(i, insn.imm));
            }
        }
        let len = insns.len() as u32;
        let starts: Vec<u32> = starts.into_iter().filter(|&s| s < len).collect();
        let ends = starts.iter().skip(1).copied().chain([len]);
        let subprogs = starts.iter().zip(ends).map(|(&start, end)| Subprog {
            start,
            end,
            stack_depth: 512,
            is_cb: callbacks.contains(&start),
            has_tail_call: false,
        });
        let checked = InsnFact { seen: true, mem: MemKind::Checked, ..InsnFact::default() };
        let facts = Facts { insns: alloc::vec![checked; insns.len()], ..Facts::default() };
        VerifiedProg {
            prog_type,
            expected_attach_type: AttachType::default(),
            subprogs: subprogs.collect(),
            insns,
            facts,
            log: alloc::string::String::new(),
        }
    }

    /// Its facts, to change for a test.
    #[cfg(feature = "unchecked-for-tests")]
    #[doc(hidden)]
    pub fn facts_for_tests(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Program type it was verified as.
    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    /// Expected attach type it was verified with.
    pub fn expected_attach_type(&self) -> AttachType {
        self.expected_attach_type
    }

    /// All slots, as they were given.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// Functions, ascending by first slot.
    pub fn subprogs(&self) -> &[Subprog] {
        &self.subprogs
    }

    /// The walk as text of the kernel's shape; empty unless `ProgInput::log_level` asked for it.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What the walk cost.
    pub fn stats(&self) -> Stats {
        Stats {
            insn_processed: self.facts.insn_processed,
            total_states: self.facts.total_states,
            peak_states: self.facts.peak_states,
            max_states_per_insn: self.facts.max_states_per_insn,
        }
    }

    /// What the walk found out.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}
