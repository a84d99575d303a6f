//! One program, run by the interpreter and as machine code, with the same helpers and maps around it.
#![allow(dead_code)]

pub mod generate;
mod native;
mod reference;

use std::rc::Rc;
use stylet_insn::Insn;
use stylet_jit::CpuFeatures;
use stylet_uapi::ProgType;
use stylet_verifier::VerifiedProg;

/// `f(r1..r5)` of [`mix`].
pub const HELPER_MIX: u32 = 5;
/// `bpf_loop(n, callback, ctx, flags)`: calls `callback(i, ctx)` until it returns other than 0; gives the calls made.
pub const HELPER_LOOP: u32 = 181;
/// Carried out in place: u64 [`COOKIE`] from the run context.
pub const HELPER_COOKIE: u32 = 174;
/// Carried out in place: u32 [`SLOT`] from the run context.
pub const HELPER_SLOT: u32 = 8;
/// Carried out in place on map 0: array of [`ARRAY_ENTRIES`] values of [`ARRAY_ELEM`] bytes.
pub const HELPER_LOOKUP: u32 = 1;
/// `bpf_tail_call` on map 1.
pub const HELPER_TAIL_CALL: u32 = 12;
/// BTF id of a kfunc that is [`mix`] too.
pub const KFUNC_MIX: u32 = 4711;

pub const COOKIE: u64 = 0x1234_5678_9abc_def0;
pub const SLOT: u32 = 0x8765_4321;
pub const ARRAY_ENTRIES: u32 = 5;
pub const ARRAY_ELEM: u32 = 24;
/// Entries of the prog array; entry 3 stays empty.
pub const PROGS: usize = 4;

/// What the test helpers compute.
pub fn mix(a: [u64; 5]) -> u64 {
    let mut h = 0x9e37_79b9_7f4a_7c15u64;
    for v in a {
        h = (h ^ v).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    }
    h
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub r0: u64,
    pub ctx: Vec<u8>,
    /// Contents of the array map.
    pub array: Vec<u8>,
}

/// A program and those it may tail-call.
pub struct Case {
    pub main: Rc<VerifiedProg>,
    pub targets: Vec<Rc<VerifiedProg>>,
    pub ctx: Vec<u8>,
    /// Instructions that the interpreter may take.
    pub limit: u64,
}

impl Case {
    pub fn new(insns: Vec<Insn>, ctx: Vec<u8>) -> Case {
        Case { main: Rc::new(unchecked(insns)), targets: Vec::new(), ctx, limit: 1_000_000 }
    }

    pub fn interp(&self) -> Result<Outcome, String> {
        reference::run(self)
    }

    pub fn jit(&self, cpu: CpuFeatures) -> Result<Outcome, String> {
        native::run(self, cpu)
    }
}

pub fn unchecked(insns: Vec<Insn>) -> VerifiedProg {
    VerifiedProg::new_unchecked_for_tests(ProgType::KPROBE, insns)
}

/// Which instruction sets to try: none, and what this machine has.
pub fn cpus() -> Vec<CpuFeatures> {
    let mut cpus = vec![CpuFeatures::default()];
    if CpuFeatures::detect() != cpus[0] {
        cpus.push(CpuFeatures::detect());
    }
    cpus
}

/// The program as text, for messages.
pub fn listing(prog: &VerifiedProg) -> String {
    stylet_insn::listing(prog.insns(), &())
}
