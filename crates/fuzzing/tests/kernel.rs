//! Structured programs against this machine's kernel. A program that we accept and the kernel refuses fails the test;
//! what differs otherwise is counted and shown. Skipped without the rights to load programs, and on a kernel of another
//! release than the rules that we follow.
//!
//! `STYLET_PROGRAMS=N` sets their number, `STYLET_SEED=N` where they begin, `STYLET_SHOW=N` how many findings of each kind
//! are made small and shown (when not told: one that is unsound or incomplete).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use arbitrary::Unstructured;
use stylet_btf::Btf;
use stylet_catalog::{Env, Release};
use stylet_fuzzing::structured::{self, Kfuncs, Program};
use stylet_insn::{Insn, disasm, opcode as op};
use stylet_kernel::sys::{self, MapCreate, MapFd, ProgAttr};
use stylet_verifier::{MapDef, Rejection, RejectionKind, verify};

/// Programs of one run, when not told otherwise.
const CASES: u64 = 2_000;
/// Bytes that one program is made from.
const SEED_BYTES: usize = 3072;
/// Bytes of the kernel's log that are kept.
const LOG_BYTES: usize = 1 << 22;

/// How the two verdicts lie to each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    BothAccept,
    BothRefuse,
    /// Both refuse, with different errnos.
    OtherErrno,
    /// We do not know what the program does.
    NotSupported,
    /// We refuse what the kernel accepts.
    Incomplete,
    /// We accept what the kernel ends in a failed check of its own (EFAULT, "verifier bug").
    KernelBug,
    /// We accept what the kernel refuses.
    Unsound,
}

/// The maps in the kernel.
fn make(maps: &[MapDef]) -> Result<Vec<MapFd>, String> {
    let made = maps.iter().map(|map| {
        let create = MapCreate {
            map_type: map.map_type,
            name: &map.name,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            ..MapCreate::default()
        };
        MapFd::create(&create).map_err(|e| format!("BPF_MAP_CREATE: {e}"))
    });
    made.collect()
}

struct Both {
    env: Env,
    kfuncs: Kfuncs,
    maps: Vec<MapDef>,
    /// Maps of each program type: a program array belongs to the type that names it first.
    fds: BTreeMap<u32, Vec<MapFd>>,
    /// By what the program's functions are: many programs have the same.
    btfs: BTreeMap<Vec<u8>, OwnedFd>,
}

impl Both {
    fn new() -> Result<Both, String> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if !release.starts_with("6.18.") {
            return Err(format!("we follow Linux 6.18, this is {}", release.trim()));
        }
        let raw = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| e.to_string())?;
        let btf = Btf::parse(&raw).map_err(|e| e.to_string())?;
        let maps = structured::maps();
        make(&maps)?;
        let kfuncs = Kfuncs::of(&btf);
        let env = Env::kernel(Release::V6_18).with_btf(btf);
        Ok(Both { env, kfuncs, maps, fds: BTreeMap::new(), btfs: BTreeMap::new() })
    }

    /// The program of a number.
    fn program(&self, seed: u64) -> Program {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(SEED_BYTES);
        while bytes.len() < SEED_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        structured::program(&mut Unstructured::new(&bytes), &self.kfuncs).expect("bytes enough")
    }

    fn ours(&self, program: &Program) -> Result<(), Rejection> {
        let (raw, func_info) = program.btf();
        let btf = Btf::parse(&raw).expect("our own BTF");
        verify(&self.env, &structured::input(program, &self.maps, &btf, &func_info)).map(drop)
    }

    fn kernels(&mut self, program: &Program, log: &mut [u8]) -> Result<(), i32> {
        let (raw, func_info) = program.btf();
        let btf = self
            .btfs
            .entry(raw)
            .or_insert_with_key(|raw| sys::btf_load(raw, None).expect("our own BTF"));
        let maps = self
            .fds
            .entry(program.prog_type.0)
            .or_insert_with(|| make(&self.maps).expect("maps, as at the start"));
        let with_fd = |insn: &Insn| {
            let mut insn = *insn;
            if insn.is_lddw() && insn.src == op::PSEUDO_MAP_IDX {
                let fd = maps.get(insn.imm as usize).map_or(-1, |m| m.as_fd().as_raw_fd());
                (insn.src, insn.imm) = (op::PSEUDO_MAP_FD, fd);
            }
            insn.to_bytes()
        };
        let slots: Vec<[u8; 8]> = program.insns.iter().map(with_fd).collect();
        let license: &CStr = c"GPL";
        let func_info: Vec<stylet_object::FuncInfo> = func_info
            .iter()
            .map(|f| stylet_object::FuncInfo { insn_idx: f.insn_idx, type_id: f.type_id })
            .collect();
        let attr = ProgAttr {
            prog_type: program.prog_type,
            name: "main",
            insns: &slots,
            license,
            btf: Some(btf.as_fd()),
            func_info: &func_info,
            log_level: if log.is_empty() { 0 } else { 2 },
            ..ProgAttr::default()
        };
        sys::prog_load(&attr, log).map(drop).map_err(|e| e.0)
    }

    fn outcome(&mut self, program: &Program) -> Outcome {
        match (self.ours(program), self.kernels(program, &mut [])) {
            (Ok(()), Ok(())) => Outcome::BothAccept,
            (Ok(()), Err(libc::EFAULT)) => Outcome::KernelBug,
            (Ok(()), Err(_)) => Outcome::Unsound,
            (Err(r), _) if matches!(r.kind, RejectionKind::NotSupportedYet { .. }) => {
                Outcome::NotSupported
            }
            (Err(_), Ok(())) => Outcome::Incomplete,
            (Err(r), Err(errno)) if r.errno == errno => Outcome::BothRefuse,
            (Err(_), Err(_)) => Outcome::OtherErrno,
        }
    }

    /// Prints the smallest program of the same outcome.
    fn show(&mut self, seed: u64, outcome: Outcome) {
        let small = self.program(seed).minimised(|p| self.outcome(p) == outcome);
        let mut log = vec![0; LOG_BYTES];
        let kernels = self.kernels(&small, &mut log);
        let text = String::from_utf8_lossy(&log);
        let last: Vec<&str> = text.trim_end_matches('\0').lines().rev().take(12).collect();
        println!("{outcome:?}: seed {seed}, {}", small.prog_type);
        print_program(&small.insns);
        println!("  kernel {kernels:?}");
        last.iter().rev().for_each(|line| println!("    {line}"));
        if let Err(r) = self.ours(&small) {
            println!("  ours   errno {}, insn {}: {}", r.errno, r.insn_idx, r.message());
        }
    }
}

/// What does something, by slot.
fn print_program(insns: &[Insn]) {
    let mut slot = 0;
    while slot < insns.len() {
        let line = disasm(&insns[slot], insns.get(slot + 1));
        if insns[slot] != Insn::ja(0) {
            println!("  {slot}: {line}");
        }
        slot += line.slots().max(1);
    }
}

#[test]
fn no_program_is_accepted_that_the_kernel_refuses() {
    let mut both = match Both::new() {
        Ok(both) => both,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let (cases, first) =
        (number("STYLET_PROGRAMS").unwrap_or(CASES), number("STYLET_SEED").unwrap_or(1));
    let shown = number("STYLET_SHOW");
    let mut found: BTreeMap<Outcome, Vec<u64>> = BTreeMap::new();
    for seed in first..first + cases {
        let program = both.program(seed);
        found.entry(both.outcome(&program)).or_default().push(seed);
    }
    for (outcome, seeds) in &found {
        println!("{outcome:?}: {}, first {:?}", seeds.len(), &seeds[..seeds.len().min(10)]);
        let least = match outcome {
            Outcome::BothAccept | Outcome::BothRefuse => continue,
            Outcome::Unsound | Outcome::Incomplete => 1,
            _ => 0,
        };
        let shown = shown.unwrap_or(least) as usize;
        seeds.iter().take(shown).for_each(|seed| both.show(*seed, *outcome));
    }
    assert!(!found.contains_key(&Outcome::Unsound), "see above");
    assert!(found.contains_key(&Outcome::BothAccept), "the generator makes nothing sound");
}
