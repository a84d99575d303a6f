//! What the traced processes do.

use std::io::BufRead;

core::arch::global_asm!(
    ".pushsection .text.stylet_probed,\"ax\",@progbits",
    // Adds its six arguments.
    ".balign 16",
    ".globl probed_sum",
    ".type probed_sum,@function",
    "probed_sum:",
    "lea rax, [rdi + rsi]",
    "add rax, rdx",
    "add rax, rcx",
    "add rax, r8",
    "add rax, r9",
    "ret",
    ".size probed_sum, . - probed_sum",
    // Factorial, recursive.
    ".balign 16",
    ".globl probed_fact",
    ".type probed_fact,@function",
    "probed_fact:",
    "push rbx",
    "mov rbx, rdi",
    "mov eax, 1",
    "cmp rdi, 1",
    "jbe 2f",
    "lea rdi, [rbx - 1]",
    "call probed_fact",
    "imul rax, rbx",
    "2:",
    "pop rbx",
    "ret",
    ".size probed_fact, . - probed_fact",
    ".popsection",
);

unsafe extern "C" {
    pub fn probed_sum(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64;
    pub fn probed_fact(n: u64) -> u64;
}

/// Runs a part until its input ends or says `quit`.
pub fn run(part: &str) {
    match part {
        "calls" => obey(calls),
        _ => panic!("unknown part {part}"),
    }
}

fn obey(mut act: impl FnMut(&str, u64) -> u64) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("reads");
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        if word == "quit" {
            return;
        }
        println!("{}", act(word, number.parse().expect("a number")));
    }
}

fn calls(word: &str, n: u64) -> u64 {
    // SAFETY: the functions above have these signatures.
    unsafe {
        match word {
            "addr_sum" => probed_sum as *const () as u64,
            "addr_fact" => probed_fact as *const () as u64,
            "sum" => (0..n).map(|i| probed_sum(i, 2, 3, 4, 5, 6)).sum(),
            "fact" => probed_fact(n),
            "ns" => per_call(n),
            _ => panic!("unknown command {word}"),
        }
    }
}

/// Picoseconds per call of `probed_sum`, of `n` calls.
fn per_call(n: u64) -> u64 {
    let start = std::time::Instant::now();
    for i in 0..n {
        // SAFETY: as above.
        std::hint::black_box(unsafe { probed_sum(i, 2, 3, 4, 5, 6) });
    }
    start.elapsed().as_nanos() as u64 * 1000 / n
}
