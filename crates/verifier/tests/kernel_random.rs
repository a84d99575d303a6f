//! Random programs against this machine's kernel: the verdict, the errno, the message, the
//! instruction to blame and, for what both accept, the number of instructions that the walk
//! processed. Skips without CAP_BPF or on a kernel older than the rules that we follow.
//!
//! `STYLET_CASES=N` sets their number, `STYLET_SEED=N` where they begin.

mod bpf;

use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, listing, opcode as o};
use stylet_uapi::{MapType, ProgType};
use stylet_verifier::{MapDef, ProgInput, verify};

const VALUE_SIZE: u32 = 64;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn scalar(&mut self) -> u8 {
        7 + self.below(3) as u8
    }

    fn imm(&mut self) -> i32 {
        match self.below(4) {
            0 => self.next() as i32,
            1 => self.below(130) as i32 - 2,
            _ => self.pick(&[0, 1, 7, 15, 31, 32, 63, 64, 65, 127, -1, -64]),
        }
    }
}

/// A program under construction; jumps to the end are resolved last.
struct Gen {
    rng: Rng,
    insns: Vec<Insn>,
    to_end: Vec<usize>,
}

impl Gen {
    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.insns.push(Insn::new(code, dst, src, off, imm));
    }

    /// r6 = a value of map 0, r7 to r9 = unknown numbers.
    fn prologue(&mut self) {
        self.push(o::ST | o::MEM | o::W, 10, 0, -4, 0);
        self.push(o::ALU64 | o::MOV | o::X, 2, 10, 0, 0);
        self.push(o::ALU64 | o::ADD, 2, 0, 0, -4);
        self.push(o::LDDW, 1, o::PSEUDO_MAP_IDX, 0, 0);
        self.push(0, 0, 0, 0, 0);
        self.push(o::JMP | o::CALL, 0, 0, 0, 1);
        self.exit_if(o::JMP | o::JEQ, 0, 0);
        self.push(o::ALU64 | o::MOV | o::X, 6, 0, 0, 0);
        for reg in 7..=9 {
            self.push(o::JMP | o::CALL, 0, 0, 0, 7);
            self.push(o::ALU64 | o::MOV | o::X, reg, 0, 0, 0);
        }
        self.push(o::ALU64 | o::MOV, 0, 0, 0, 0);
    }

    fn exit_if(&mut self, code: u8, reg: u8, imm: i32) {
        self.to_end.push(self.insns.len());
        self.push(code, reg, 0, 0, imm);
    }

    fn block(&mut self, depth: u32) {
        for _ in 0..1 + self.rng.below(4) {
            match self.rng.below(12) {
                0..=3 => self.alu(),
                4 => self.spill(),
                5 => self.fill(),
                6 => self.access(),
                7 => self.guard(),
                8 | 9 if depth < 3 => self.branch(depth),
                10 if depth < 2 => self.counted_loop(depth),
                11 => {
                    let (dst, src) = (self.rng.scalar(), self.rng.scalar());
                    let class = self.rng.pick(&[o::ALU64, o::ALU64, o::ALU]);
                    self.push(class | o::MOV | o::X, dst, src, 0, 0);
                }
                _ => self.alu(),
            }
        }
    }

    fn alu(&mut self) {
        let ops = [
            o::ADD,
            o::ADD,
            o::SUB,
            o::AND,
            o::AND,
            o::OR,
            o::XOR,
            o::MUL,
            o::LSH,
            o::RSH,
            o::ARSH,
        ];
        let (op, class) = (self.rng.pick(&ops), self.rng.pick(&[o::ALU64, o::ALU64, o::ALU]));
        let (dst, src) = (self.rng.scalar(), self.rng.scalar());
        if matches!(op, o::LSH | o::RSH | o::ARSH) {
            let imm = self.rng.below(if class == o::ALU64 { 64 } else { 32 }) as i32;
            self.push(class | op, dst, 0, 0, imm);
        } else if self.rng.below(4) == 0 {
            self.push(class | op | o::X, dst, src, 0, 0);
        } else {
            let imm = self.rng.imm();
            self.push(class | op, dst, 0, 0, imm);
        }
    }

    fn slot(&mut self, size: u8) -> i16 {
        let bytes = match size {
            o::DW => 8,
            o::W => 4,
            o::H => 2,
            _ => 1,
        };
        let slot = 16 + 8 * self.rng.below(3) as i16;
        let within = bytes * self.rng.below(8 / bytes as u64) as i16;
        if self.rng.below(3) == 0 { within - slot } else { -slot }
    }

    fn spill(&mut self) {
        let size = self.rng.pick(&[o::DW, o::DW, o::DW, o::W, o::H, o::B]);
        let (reg, off) = (self.rng.scalar(), self.slot(size));
        if self.rng.below(4) == 0 {
            let imm = self.rng.imm();
            self.push(o::ST | o::MEM | size, 10, 0, off, imm);
        } else {
            self.push(o::STX | o::MEM | size, 10, reg, off, 0);
        }
    }

    fn fill(&mut self) {
        let size = self.rng.pick(&[o::DW, o::DW, o::DW, o::W, o::H, o::B]);
        let (reg, off) = (self.rng.scalar(), self.slot(size));
        let mode = if size != o::DW && self.rng.below(4) == 0 { o::MEMSX } else { o::MEM };
        self.push(o::LDX | mode | size, reg, 10, off, 0);
    }

    /// Reads the map's value at a number that is most often bounded right before.
    fn access(&mut self) {
        let reg = self.rng.scalar();
        match self.rng.below(5) {
            0 => self.exit_if(o::JMP | o::JGT, reg, 63),
            1 | 2 => self.push(o::ALU64 | o::AND, reg, 0, 0, 63),
            3 => {
                self.exit_if(o::JMP | o::JSGT, reg, 60);
                self.exit_if(o::JMP | o::JSLT, reg, 0);
            }
            _ => {}
        }
        self.push(o::ALU64 | o::MOV | o::X, 1, 6, 0, 0);
        self.push(o::ALU64 | o::ADD | o::X, 1, reg, 0, 0);
        let dst = self.rng.pick(&[0, 7, 8, 9]);
        let off = self.rng.pick(&[0, 0, 0, 1, -1]);
        self.push(o::LDX | o::MEM | o::B, dst, 1, off, 0);
    }

    fn compare(&mut self) -> Insn {
        let ops = [
            o::JEQ,
            o::JNE,
            o::JSET,
            o::JGT,
            o::JGE,
            o::JLT,
            o::JLE,
            o::JSGT,
            o::JSGE,
            o::JSLT,
            o::JSLE,
        ];
        let (op, class) = (self.rng.pick(&ops), self.rng.pick(&[o::JMP, o::JMP, o::JMP32]));
        let (dst, src) = (self.rng.scalar(), self.rng.scalar());
        if self.rng.below(4) == 0 && src != dst {
            Insn::new(class | op | o::X, dst, src, 0, 0)
        } else {
            Insn::new(class | op, dst, 0, 0, self.rng.imm())
        }
    }

    fn guard(&mut self) {
        let insn = self.compare();
        self.to_end.push(self.insns.len());
        self.insns.push(insn);
    }

    /// `if (…) { … } else { … }`, and what follows joins the two.
    fn branch(&mut self, depth: u32) {
        let insn = self.compare();
        let at = self.insns.len();
        self.insns.push(insn);
        self.block(depth + 1);
        if self.rng.below(2) == 0 {
            let skip = self.insns.len();
            self.push(o::JMP | o::JA, 0, 0, 0, 0);
            self.insns[at].off = (self.insns.len() - at - 1) as i16;
            self.block(depth + 1);
            self.insns[skip].off = (self.insns.len() - skip - 1) as i16;
        } else {
            self.insns[at].off = (self.insns.len() - at - 1) as i16;
        }
    }

    /// Counts a stack slot of its own up to a constant.
    fn counted_loop(&mut self, depth: u32) {
        let counter = -(64 + 8 * depth as i16);
        self.push(o::ST | o::MEM | o::DW, 10, 0, counter, 0);
        let start = self.insns.len();
        self.block(depth + 1);
        self.push(o::LDX | o::MEM | o::DW, 1, 10, counter, 0);
        self.push(o::ALU64 | o::ADD, 1, 0, 0, 1);
        self.push(o::STX | o::MEM | o::DW, 10, 1, counter, 0);
        let (back, times) = (self.insns.len(), 1 + self.rng.below(6) as i32);
        self.push(o::JMP | o::JLT, 1, 0, (start as i64 - back as i64 - 1) as i16, times);
    }

    fn program(seed: u64) -> Vec<Insn> {
        let mut made = Gen { rng: Rng(seed), insns: Vec::new(), to_end: Vec::new() };
        made.prologue();
        for _ in 0..2 + made.rng.below(4) {
            made.block(0);
        }
        let end = made.insns.len();
        made.push(o::ALU64 | o::MOV, 0, 0, 0, 0);
        made.push(o::JMP | o::EXIT, 0, 0, 0, 0);
        for at in made.to_end {
            made.insns[at].off = (end - at - 1) as i16;
        }
        made.insns
    }
}

/// What one of the two says.
#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    Accept { processed: u64 },
    Reject { errno: i32, insn_idx: u32, message: String },
}

fn ours(insns: &[Insn]) -> Verdict {
    let map = MapDef {
        name: "m".into(),
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: VALUE_SIZE,
        max_entries: 1,
        ..MapDef::default()
    };
    let maps = [map];
    let input = ProgInput {
        name: "prog",
        prog_type: ProgType::KPROBE,
        license: "GPL",
        insns,
        maps: &maps,
        ..ProgInput::default()
    };
    match verify(&Env::kernel(Release::V6_18), &input) {
        Ok(prog) => Verdict::Accept { processed: prog.facts().insn_processed },
        Err(r) => Verdict::Reject { errno: r.errno, insn_idx: r.insn_idx, message: r.message() },
    }
}

fn kernels(insns: &[Insn], map: &bpf::Fd) -> (Verdict, String) {
    let mut insns = insns.to_vec();
    for insn in &mut insns {
        if insn.is_lddw() && insn.src == o::PSEUDO_MAP_IDX {
            (insn.src, insn.imm) = (o::PSEUDO_MAP_FD, map.0);
        }
    }
    // Statistics alone first: the whole log of a large program may not fit.
    let (result, log) = bpf::load(bpf::PROG_TYPE_KPROBE, 0, &insns, 4);
    let verdict = match result {
        Ok(()) => Verdict::Accept { processed: processed(&log) },
        Err(errno) => {
            let (_, log) = bpf::load(bpf::PROG_TYPE_KPROBE, 0, &insns, 1);
            let (insn_idx, message) = refusal(&log);
            Verdict::Reject { errno, insn_idx, message }
        }
    };
    let verbose = std::env::var_os("STYLET_VERBOSE").is_some();
    (verdict, if verbose { bpf::load(bpf::PROG_TYPE_KPROBE, 0, &insns, 2).1 } else { log })
}

fn processed(log: &str) -> u64 {
    let line = log.lines().rev().find_map(|l| l.strip_prefix("processed ")).unwrap_or("");
    line.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The last instruction of the log and the lines after it.
fn refusal(log: &str) -> (u32, String) {
    let (mut idx, mut message) = (0, Vec::new());
    for line in log.lines() {
        match line.split_once(": ") {
            Some((n, rest)) if rest.starts_with('(') && n.parse::<u32>().is_ok() => {
                idx = n.parse().unwrap_or(0);
                message.clear();
            }
            _ if line.starts_with("processed ") || line.starts_with("mark_precise") => {}
            _ => message.push(line),
        }
    }
    (idx, message.join("\n"))
}

#[test]
fn verdicts_equal_the_kernels() {
    if let Err(why) = bpf::available((6, 18)) {
        println!("skipped: {why}");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let (cases, first) =
        (number("STYLET_CASES").unwrap_or(100), number("STYLET_SEED").unwrap_or(1));
    let map = bpf::map_create(bpf::MAP_TYPE_ARRAY, 4, VALUE_SIZE, 1).expect("a map");
    let (mut accepted, mut wrong) = (0, 0);
    for n in first..first + cases {
        let insns = Gen::program(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (kernel, log) = kernels(&insns, &map);
        let ours = ours(&insns);
        accepted += u64::from(matches!(kernel, Verdict::Accept { .. }));
        if kernel != ours {
            wrong += 1;
            println!("seed {n}:\n  kernel {kernel:?}\n  ours   {ours:?}");
            if std::env::var_os("STYLET_VERBOSE").is_some() {
                println!("{}\n{log}", listing(&insns, &()));
            }
        }
    }
    println!("{cases} programs, {accepted} accepted, {wrong} differ");
    assert_eq!(wrong, 0, "see above");
}
