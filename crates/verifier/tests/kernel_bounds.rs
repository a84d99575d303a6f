//! Bounds against this machine's kernel: random arithmetic and branches on three scalars, each
//! state of the kernel's log (level 2) compared with ours. Skips without CAP_BPF or on a kernel
//! older than the rules that `Bounds` follows.

mod bpf;

use std::collections::BTreeMap;
use stylet_insn::{Insn, opcode as o};
use stylet_verifier::{AluOp, Bounds, is_branch_taken, refine};

/// First and last register in play.
const REGS: std::ops::RangeInclusive<u8> = 6..=8;

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

    fn reg(&mut self) -> u8 {
        6 + self.below(3) as u8
    }

    /// An immediate that is often close to where something wraps.
    fn imm(&mut self) -> i32 {
        let near = [0, 1 << 3, 1 << 8, 1 << 16, i32::MIN, i32::MAX, 0x7fff, -256];
        match self.below(4) {
            0 => self.next() as i32,
            1 => self.next() as i16 as i32,
            2 => self.below(40) as i32 - 8,
            _ => self.pick(&near).wrapping_add(self.below(5) as i32 - 2),
        }
    }
}

const ALU_OPS: [u8; 12] = [
    o::ADD,
    o::SUB,
    o::MUL,
    o::OR,
    o::AND,
    o::AND,
    o::XOR,
    o::LSH,
    o::RSH,
    o::ARSH,
    o::NEG,
    o::DIV,
];
const JUMPS: [u8; 11] =
    [o::JEQ, o::JNE, o::JSET, o::JGT, o::JGE, o::JLT, o::JLE, o::JSGT, o::JSGE, o::JSLT, o::JSLE];

/// An instruction, and for a jump whether the walk goes on where it is taken.
#[derive(Clone, Copy, Debug)]
enum Step {
    Alu(Insn),
    Extend { insn: Insn, size: u32 },
    Swap { insn: Insn, size: u32 },
    Jump { insn: Insn, taken: bool },
}

fn step(rng: &mut Rng) -> Step {
    let (dst, src) = (rng.reg(), rng.reg());
    let wide = rng.below(2) == 0;
    let by_reg = rng.below(3) == 0;
    match rng.below(6) {
        5 => {
            let (code, size) = (rng.pick(&[0xd4, 0xdc, 0xd7]), rng.pick(&[2u32, 4, 8]));
            Step::Swap { insn: Insn::new(code, dst, 0, 0, size as i32 * 8), size }
        }
        0 => {
            let size = rng.pick(&[1u32, 2, 4]);
            // A 32-bit move of four bytes is a plain zero extension.
            let off = if !wide && size == 4 { 0 } else { size as i16 * 8 };
            let class = if wide { o::ALU64 } else { o::ALU };
            Step::Extend { insn: Insn::new(class | o::MOV | o::X, dst, dst, off, 0), size }
        }
        1 | 2 => {
            let op = rng.pick(&ALU_OPS);
            let class = if wide { o::ALU64 } else { o::ALU };
            let shifts = matches!(op, o::LSH | o::RSH | o::ARSH);
            let insn = if op == o::NEG {
                Insn::new(class | op, dst, 0, 0, 0)
            } else if by_reg && src != dst {
                Insn::new(class | op | o::X, dst, src, 0, 0)
            } else if shifts {
                Insn::new(class | op, dst, 0, 0, rng.below(if wide { 64 } else { 32 }) as i32)
            } else {
                let imm = rng.imm();
                Insn::new(class | op, dst, 0, 0, if op == o::DIV { imm | 1 } else { imm })
            };
            Step::Alu(insn)
        }
        _ => {
            let class = if wide { o::JMP } else { o::JMP32 };
            let op = rng.pick(&JUMPS);
            let insn = if by_reg && src != dst {
                Insn::new(class | op | o::X, dst, src, 0, 0)
            } else {
                Insn::new(class | op, dst, 0, 0, rng.imm())
            };
            Step::Jump { insn, taken: rng.below(2) == 0 }
        }
    }
}

/// A program and what we expect of registers 6 to 8 when the walk first reaches an instruction.
struct Case {
    insns: Vec<Insn>,
    expect: BTreeMap<usize, [Bounds; 3]>,
}

fn case(rng: &mut Rng) -> Case {
    let mut insns = Vec::new();
    for reg in REGS {
        insns.push(Insn::new(o::JMP | o::CALL, 0, 0, 0, 7));
        insns.push(Insn::new(o::ALU64 | o::MOV | o::X, reg, 0, 0, 0));
    }
    // `r6 = r0` gives both an identity: cut it, so that r6 alone is narrowed.
    insns.push(Insn::new(o::ALU64 | o::MOV, 0, 0, 0, 0));
    let mut state = [Bounds::unknown(); 3];
    let mut expect = BTreeMap::new();
    expect.insert(insns.len(), state);
    let mut exits = Vec::new();
    for _ in 0..3 + rng.below(12) {
        if !apply(step(rng), &mut insns, &mut state, &mut exits) {
            break;
        }
        expect.insert(insns.len(), state);
    }
    for reg in REGS {
        insns.push(Insn::new(o::ALU64 | o::ADD | o::X, 0, reg, 0, 0));
    }
    let end = insns.len();
    insns.push(Insn::new(o::ALU64 | o::MOV, 0, 0, 0, 0));
    insns.push(Insn::new(o::JMP | o::EXIT, 0, 0, 0, 0));
    for at in exits {
        insns[at].off = (end - at - 1) as i16;
    }
    Case { insns, expect }
}

/// Appends a step; `false` when the walk goes to the exit from here.
fn apply(
    step: Step,
    insns: &mut Vec<Insn>,
    state: &mut [Bounds; 3],
    exits: &mut Vec<usize>,
) -> bool {
    let at = |reg: u8| (reg - 6) as usize;
    match step {
        Step::Alu(insn) => {
            let op = AluOp::from_opcode(insn.op()).expect("an arithmetic operation");
            let dst = state[at(insn.dst)];
            let src = if insn.is_src_reg() {
                state[at(insn.src)]
            } else {
                Bounds::known(insn.imm as i64 as u64)
            };
            let wide = insn.class() == o::ALU64;
            let dst = match dst.fork_minus_one_or_zero() {
                Some((now, _)) if matches!(op, AluOp::And | AluOp::Or) && src.is_const() => now,
                _ => dst,
            };
            state[at(insn.dst)] = if wide { dst.alu64(op, &src) } else { dst.alu32(op, &src) };
            insns.push(insn);
        }
        Step::Extend { insn, size } => {
            let reg = &mut state[at(insn.dst)];
            match (insn.class() == o::ALU64, size) {
                (true, _) => reg.sext(size),
                (false, 4) => reg.zext32(),
                (false, _) => reg.sext32(size),
            }
            insns.push(insn);
        }
        Step::Swap { insn, size } => {
            let reg = &mut state[at(insn.dst)];
            // To little endian only cuts on this machine.
            if insn.code == 0xd4 {
                reg.coerce_to_size(size)
            } else {
                reg.byte_swap(size)
            }
            insns.push(insn);
        }
        Step::Jump { insn, taken } => return jump(insn, taken, insns, state, exits),
    }
    true
}

fn jump(
    insn: Insn,
    taken: bool,
    insns: &mut Vec<Insn>,
    state: &mut [Bounds; 3],
    exits: &mut Vec<usize>,
) -> bool {
    let dst = (insn.dst - 6) as usize;
    let imm = Bounds::known(insn.imm as i64 as u64);
    let is_jmp32 = insn.class() == o::JMP32;
    let mut a = state[dst];
    let mut b = if insn.is_src_reg() { state[(insn.src - 6) as usize] } else { imm };
    let predicted = is_branch_taken(insn.op(), is_jmp32, &a, &b);
    if predicted.is_none() {
        refine(insn.op(), is_jmp32, taken, &mut a, &mut b);
        state[dst] = a;
        if insn.is_src_reg() {
            state[(insn.src - 6) as usize] = b;
        }
    }
    if taken {
        // if cond goto +1; goto exit;
        insns.push(Insn { off: 1, ..insn });
        exits.push(insns.len());
        insns.push(Insn::new(o::JMP | o::JA, 0, 0, 0, 0));
    } else {
        exits.push(insns.len());
        insns.push(insn);
    }
    predicted.is_none_or(|p| p == taken)
}

/// Registers 6 to 8 in a state's text, without identity and precision marks.
fn registers(text: &str) -> BTreeMap<u8, String> {
    let mut found = BTreeMap::new();
    for reg in REGS {
        let Some(at) = text.find(&format!(" R{reg}")) else { continue };
        let rest = &text[at + 3..];
        let Some((mark, value)) = rest.split_once('=') else { continue };
        if mark.len() > 2 {
            continue;
        }
        let value = value.trim_start_matches('P');
        let value = match value.strip_prefix("scalar(") {
            Some(inner) => {
                let end = matching_paren(inner);
                without_id(&inner[..end])
            }
            None => value.split_whitespace().next().unwrap_or("").to_string(),
        };
        found.insert(reg, value);
    }
    found
}

fn matching_paren(text: &str) -> usize {
    let mut depth = 1;
    for (n, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n;
        }
    }
    text.len()
}

fn without_id(inner: &str) -> String {
    let Some(rest) = inner.strip_prefix("id=") else { return inner.to_string() };
    rest.split_once(',').map_or(String::new(), |(_, rest)| rest.to_string())
}

/// What the log says of each instruction's state *after* it, at the first visit, with the index of
/// the next instruction.
fn observed(log: &str) -> Vec<(usize, BTreeMap<u8, String>)> {
    let mut all = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("from ") {
            let Some((head, state)) = rest.split_once(": ") else { continue };
            let to = head.split(" to ").nth(1).and_then(|t| t.split(' ').next());
            if let Some(to) = to.and_then(|t| t.parse().ok()) {
                all.push((to, registers(&format!(" {state}"))));
            }
        } else if let Some((idx, rest)) = line.split_once(": (") {
            let (Ok(idx), Some((_, state))) = (idx.parse::<usize>(), rest.split_once(';')) else {
                continue;
            };
            all.push((idx + 1, registers(state)));
        }
    }
    all
}

/// Differences between our states and the log's, as text.
fn compare(case: &Case, log: &str) -> Vec<String> {
    let mut seen = BTreeMap::new();
    for (idx, regs) in observed(log) {
        for (reg, text) in regs {
            seen.entry((idx, reg)).or_insert(text);
        }
    }
    let mut wrong = Vec::new();
    for (idx, state) in &case.expect {
        for reg in REGS {
            let ours = state[(reg - 6) as usize].to_string();
            if let Some(kernel) = seen.get(&(*idx, reg))
                && *kernel != ours
            {
                wrong.push(format!("at {idx}, R{reg}: kernel {kernel}\n              ours {ours}"));
            }
        }
        if !wrong.is_empty() {
            break;
        }
    }
    wrong
}

#[test]
fn bounds_equal_the_kernel() {
    if let Err(why) = bpf::available((6, 18)) {
        println!("skipped: {why}");
        return;
    }
    let cases = std::env::var("STYLET_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut failures = 0;
    let mut compared = 0;
    for n in 0..cases {
        let case = case(&mut rng);
        let (result, log) = bpf::load(bpf::PROG_TYPE_KPROBE, 0, &case.insns, 2);
        if let Err(errno) = result {
            panic!("case {n}: the kernel refused it with errno {errno}:\n{log}");
        }
        compared += case.expect.len();
        let wrong = compare(&case, &log);
        if !wrong.is_empty() {
            failures += 1;
            println!("case {n}:\n{}\n{}", wrong.join("\n"), excerpt(&log, &wrong[0]));
        }
        if failures >= 5 {
            break;
        }
    }
    println!("{compared} states of {cases} programs compared");
    assert_eq!(failures, 0, "see the cases above");
}

/// The log's lines just before the first difference.
fn excerpt(log: &str, wrong: &str) -> String {
    let idx: usize =
        wrong["at ".len()..].split(',').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let keep = |l: &&str| {
        let head = l.split(':').next().unwrap_or("");
        head.parse::<usize>().is_ok_and(|n| n + 4 >= idx && n <= idx)
            || head.ends_with(&format!(" {idx}"))
    };
    log.lines().filter(keep).take(8).collect::<Vec<_>>().join("\n")
}
