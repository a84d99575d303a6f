//! Generated programs: this verifier's verdict against the kernel's. Needs root and BPF: skipped with
//! a reason otherwise. `STYLET_DIFF=SEED,COUNT` chooses which programs.
//!
//! A program that we accept and the kernel refuses fails the test; the other way round is only counted,
//! as the kernel may know more.

mod common;

use common::Case;
use common::kernel::{load, message, obstacle, processed};
use stylet_btf::Btf;
use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{MapType, ProgType};
use stylet_verifier::{MapDef, RejectionKind, verify};

/// A small generator of numbers (xorshift64*).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn imm(&mut self) -> i32 {
        match self.below(6) {
            0 => self.pick(&[0, 1, -1, 2, 7, 8, 15, 16, 31, 63, 64, 255, i32::MAX, i32::MIN]),
            1 => self.next() as i32,
            _ => self.below(40) as i32 - 8,
        }
    }
}

/// A program under construction.
struct Gen {
    rng: Rng,
    out: Vec<Insn>,
    /// Where the body must end up: slots of jumps to the end.
    exits: Vec<usize>,
    /// Slots of calls of the function after the program.
    calls: Vec<usize>,
}

const ALU: &[u8] = &[
    op::ADD,
    op::SUB,
    op::MUL,
    op::DIV,
    op::OR,
    op::AND,
    op::LSH,
    op::RSH,
    op::MOD,
    op::XOR,
    op::ARSH,
    op::ADD,
    op::AND,
];
const JMP: &[u8] = &[
    op::JEQ,
    op::JGT,
    op::JGE,
    op::JSET,
    op::JNE,
    op::JSGT,
    op::JSGE,
    op::JLT,
    op::JLE,
    op::JSLT,
    op::JSLE,
];
const SIZES: &[u8] = &[op::B, op::H, op::W, op::DW];
/// Map value.
const VALUE: u8 = 6;
/// Registers with numbers.
const NUMBERS: &[u8] = &[0, 7, 8, 9, 1, 2, 3];

impl Gen {
    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.out.push(Insn::new(code, dst, src, off, imm));
    }

    fn lookup(&mut self) {
        self.push(op::ST | op::MEM | op::W, 10, 0, -4, 0);
        self.push(op::ALU64 | op::MOV | op::X, 2, 10, 0, 0);
        self.push(op::ALU64 | op::ADD | op::K, 2, 0, 0, -4);
        self.push(op::LDDW, 1, op::PSEUDO_MAP_IDX, 0, 0);
        self.push(0, 0, 0, 0, 0);
        self.push(op::JMP | op::CALL, 0, 0, 0, 1);
        self.exits.push(self.out.len());
        self.push(op::JMP | op::JEQ | op::K, 0, 0, 0, 0);
        self.push(op::ALU64 | op::MOV | op::X, VALUE, 0, 0, 0);
    }

    fn numbers(&mut self) {
        for (i, reg) in [7u8, 8, 9, 0, 1, 2, 3].into_iter().enumerate() {
            match self.rng.below(3) {
                0 => {
                    let imm = self.rng.imm();
                    self.push(op::ALU64 | op::MOV | op::K, reg, 0, 0, imm);
                }
                _ => {
                    let size = self.rng.pick(SIZES);
                    self.push(op::LDX | op::MEM | size, reg, VALUE, i as i16 * 8, 0);
                }
            }
        }
    }

    fn alu(&mut self) {
        let class = if self.rng.below(3) == 0 { op::ALU } else { op::ALU64 };
        let code = self.rng.pick(ALU);
        let dst = self.rng.pick(NUMBERS);
        let bits = if class == op::ALU { 32 } else { 64 };
        match self.rng.below(5) {
            0 => {
                let src = self.rng.pick(NUMBERS);
                self.push(class | code | op::X, dst, src, 0, 0);
            }
            1 => {
                let src = self.rng.pick(NUMBERS);
                let off = self.rng.pick(&[0i16, 0, 0, 0, 8, 16]);
                self.push(class | op::MOV | op::X, dst, src, off, 0);
            }
            2 if self.rng.below(4) == 0 => self.push(class | op::NEG, dst, 0, 0, 0),
            _ => {
                let mut imm = self.rng.imm();
                if matches!(code, op::LSH | op::RSH | op::ARSH) {
                    imm = self.rng.below(bits) as i32;
                } else if matches!(code, op::DIV | op::MOD) && imm == 0 {
                    imm = 3;
                }
                self.push(class | code | op::K, dst, 0, 0, imm);
            }
        }
    }

    fn jump(&mut self, ahead: u64) {
        let class = if self.rng.below(3) == 0 { op::JMP32 } else { op::JMP };
        let code = self.rng.pick(JMP);
        let dst = self.rng.pick(NUMBERS);
        let off = 1 + self.rng.below(ahead) as i16;
        if self.rng.below(3) == 0 {
            let src = self.rng.pick(NUMBERS);
            self.push(class | code | op::X, dst, src, off, 0);
        } else {
            let imm = self.rng.imm();
            self.push(class | code | op::K, dst, 0, off, imm);
        }
    }

    fn stack(&mut self) {
        let size = self.rng.pick(&[op::DW, op::DW, op::W, op::W, op::H, op::B]);
        let bytes = Insn::new(size, 0, 0, 0, 0).access_size() as i16;
        let off = -(bytes * (1 + self.rng.below(32 / bytes as u64) as i16)) - 8;
        let reg = self.rng.pick(&[0u8, 7, 8, 9, 1, 2, 3, VALUE]);
        match self.rng.below(3) {
            0 => self.push(op::STX | op::MEM | size, 10, reg, off, 0),
            1 => {
                let dst = self.rng.pick(NUMBERS);
                self.push(op::LDX | op::MEM | size, dst, 10, off, 0);
            }
            _ => {
                let imm = self.rng.imm();
                self.push(op::ST | op::MEM | size, 10, 0, off, imm);
            }
        }
    }

    /// `r4 = pointer + number`, then an access.
    fn access(&mut self) {
        let base = self.rng.pick(&[VALUE, 10]);
        let number = self.rng.pick(NUMBERS);
        self.push(op::ALU64 | op::MOV | op::X, 4, base, 0, 0);
        if base == 10 {
            self.push(op::ALU64 | op::ADD | op::K, 4, 0, 0, -40);
        }
        if self.rng.below(2) == 0 {
            let mask = self.rng.pick(&[7, 15, 24, 31, 32, 63]);
            self.push(op::ALU64 | op::AND | op::K, number, 0, 0, mask);
        }
        self.push(op::ALU64 | op::ADD | op::X, 4, number, 0, 0);
        let size = self.rng.pick(&[op::B, op::B, op::B, op::DW]);
        if self.rng.below(2) == 0 {
            self.push(op::STX | op::MEM | size, 4, 7, 0, 0);
        } else {
            let dst = self.rng.pick(NUMBERS);
            self.push(op::LDX | op::MEM | size, dst, 4, 0, 0);
        }
    }

    /// A call of the function after the program, with a number and a place on the stack.
    fn call(&mut self) {
        let number = self.rng.pick(&[0u8, 7, 8, 9]);
        self.push(op::STX | op::MEM | op::DW, 10, 5, -72, 0);
        self.push(op::ALU64 | op::MOV | op::X, 1, number, 0, 0);
        self.push(op::ALU64 | op::MOV | op::X, 2, 10, 0, 0);
        self.push(op::ALU64 | op::ADD | op::K, 2, 0, 0, -24);
        let third = self.rng_number();
        self.push(op::ALU64 | op::MOV | op::X, 3, third, 0, 0);
        self.calls.push(self.out.len());
        self.push(op::JMP | op::CALL, 0, op::PSEUDO_CALL, 0, 0);
        for reg in [1, 2, 3] {
            let from = self.rng.pick(&[0u8, 7, 8, 9]);
            self.push(op::ALU64 | op::MOV | op::X, reg, from, 0, 0);
        }
        self.push(op::LDX | op::MEM | op::DW, 5, 10, -72, 0);
    }

    fn rng_number(&mut self) -> u8 {
        self.rng.pick(&[0u8, 7, 8, 9])
    }

    /// The function: looks at its arguments, may write through the pointer.
    fn function(&mut self) {
        let start = self.out.len();
        self.push(op::ALU64 | op::MOV | op::X, 0, 1, 0, 0);
        for _ in 0..2 + self.rng.below(5) {
            match self.rng.below(5) {
                0 => self.push(op::STX | op::MEM | op::DW, 2, 1, 0, 0),
                1 => self.push(op::LDX | op::MEM | op::DW, 0, 2, 0, 0),
                2 => {
                    let (code, imm) = (self.rng.pick(ALU), 1 + self.rng.below(20) as i32);
                    self.push(op::ALU64 | code | op::K, self.rng.0 as u8 & 1, 0, 0, imm);
                }
                3 => {
                    let (code, imm) = (self.rng.pick(JMP), self.rng.imm());
                    self.push(op::JMP | code | op::K, 1, 0, 1, imm);
                    self.push(op::ALU64 | op::MOV | op::K, 0, 0, 0, imm);
                }
                _ => self.push(op::STX | op::MEM | op::DW, 10, 3, -8, 0),
            }
        }
        self.push(op::JMP | op::EXIT, 0, 0, 0, 0);
        for at in core::mem::take(&mut self.calls) {
            self.out[at].imm = (start - at - 1) as i32;
        }
    }

    /// A loop around part of the body.
    fn wrap_loop(&mut self, start: usize) {
        let back = start as i64 - self.out.len() as i64 - 2;
        self.push(op::ALU64 | op::ADD | op::K, 5, 0, 0, 1);
        let limit = self.rng.below(12) as i32;
        self.push(op::JMP | op::JLT | op::K, 5, 0, back as i16, limit);
    }

    fn program(seed: u64) -> Vec<Insn> {
        let mut g = Gen {
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            out: Vec::new(),
            exits: Vec::new(),
            calls: Vec::new(),
        };
        g.rng.next();
        g.lookup();
        g.numbers();
        g.push(op::ALU64 | op::MOV | op::K, 5, 0, 0, 0);
        let steps = 4 + g.rng.below(24);
        let loop_at = (g.rng.below(3) == 0).then_some(g.out.len());
        for _ in 0..steps {
            match g.rng.below(10) {
                0..=3 => g.alu(),
                4 | 5 => g.jump(3),
                6 => g.stack(),
                7 if seed % 2 == 1 => g.call(),
                7 => g.stack(),
                _ => g.access(),
            }
        }
        if let Some(start) = loop_at {
            // jumps of the body must not leave the loop's end behind
            for _ in 0..3 {
                g.push(op::ALU64 | op::MOV | op::X, 4, 10, 0, 0);
            }
            g.wrap_loop(start);
        }
        for _ in 0..3 {
            g.push(op::ALU64 | op::MOV | op::K, 0, 0, 0, 0);
        }
        let end = g.out.len();
        g.push(op::ALU64 | op::MOV | op::K, 0, 0, 0, 0);
        g.push(op::JMP | op::EXIT, 0, 0, 0, 0);
        if !g.calls.is_empty() {
            g.function();
        }
        for at in g.exits {
            g.out[at].off = (end - at - 1) as i16;
        }
        g.out
    }
}

fn case(insns: Vec<Insn>) -> Case {
    let map = MapDef {
        name: "m".into(),
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 64,
        max_entries: 1,
        ..MapDef::default()
    };
    Case {
        prog_type: ProgType::KPROBE,
        license: "GPL".into(),
        maps: vec![map],
        inner_of: vec![None],
        insns,
        ..Case::default()
    }
}

fn listing(insns: &[Insn]) -> String {
    stylet_insn::listing(insns, &())
}

fn main() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let choice = std::env::var("STYLET_DIFF").unwrap_or_else(|_| "1,500".into());
    let (seed, count) = choice.split_once(',').expect("SEED,COUNT");
    let (seed, count): (u64, u64) =
        (seed.parse().expect("a seed"), count.parse().expect("a count"));
    let env = Env::kernel(Release::V6_18);
    let (mut accepted, mut same_text, mut stricter, mut unsound) = (0, 0, 0, 0);
    let mut walked = (0, 0);
    for seed in seed..seed + count {
        let case = case(Gen::program(seed));
        let none: Option<&Btf> = None;
        let ours = verify(&env, &case.input(none));
        let (verdict, log) = load(&case).expect("the kernel answers");
        let text = message(&log).0;
        match (&ours, verdict) {
            (Ok(proof), Ok(())) => {
                accepted += 1;
                let (we, kernel) = (proof.facts().insn_processed, processed(&log).unwrap_or(0));
                walked.0 += we;
                walked.1 += kernel;
                if we != kernel && std::env::var_os("STYLET_DIFF_COUNTS").is_some() {
                    println!("seed {seed}: {we} instructions processed, the kernel {kernel}");
                }
            }
            (Ok(proof), Err(e)) => {
                unsound += 1;
                let processed = proof.facts().insn_processed;
                println!(
                    "seed {seed}: accepted after {processed}, but the kernel says {e} {text}\n{}\n{log}",
                    listing(&case.insns)
                );
            }
            (Err(r), Ok(())) => {
                stricter += 1;
                println!("seed {seed}: refused ({r}), but the kernel accepts");
            }
            (Err(r), Err(_)) if r.message() == text => same_text += 1,
            (Err(r), Err(_)) if matches!(r.kind, RejectionKind::NotSupportedYet { .. }) => {}
            (Err(r), Err(_)) => println!("seed {seed}: other text: {} / {text}", r.message()),
        }
    }
    println!(
        "{count} programs: {accepted} accepted, {same_text} refused with the same text, {stricter} refused by us alone, {unsound} accepted by us alone"
    );
    println!("instructions processed: {} by us, {} by the kernel", walked.0, walked.1);
    assert_eq!(unsound, 0, "programs that the kernel refuses were accepted");
}
