//! Functions to probe, with known instructions.

use core::arch::global_asm;

global_asm!(
    ".pushsection .text.stylet_probed,\"ax\",@progbits",
    ".macro probed_fn name",
    ".balign 16",
    ".globl \\name",
    ".type \\name,@function",
    "\\name:",
    ".endm",
    ".macro probed_end name",
    ".size \\name, . - \\name",
    ".endm",
    // Adds its six arguments.
    "probed_fn probed_sum",
    "lea rax, [rdi + rsi]",
    "add rax, rdx",
    "add rax, rcx",
    "add rax, r8",
    "add rax, r9",
    "ret",
    "probed_end probed_sum",
    // Factorial, recursive.
    "probed_fn probed_fact",
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
    "probed_end probed_fact",
    // Tail call of probed_sum.
    "probed_fn probed_tail",
    "endbr64",
    "mov esi, 1",
    "mov edx, 1",
    "mov ecx, 1",
    "mov r8d, 1",
    "mov r9d, 1",
    "jmp probed_sum",
    "probed_end probed_tail",
    // Mutual tail calls: 1 if even.
    "probed_fn probed_even",
    "mov eax, 1",
    "test rdi, rdi",
    "jz 2f",
    "dec rdi",
    "jmp probed_odd",
    "2:",
    "ret",
    "probed_end probed_even",
    "probed_fn probed_odd",
    "mov eax, 0",
    "test rdi, rdi",
    "jz 2f",
    "dec rdi",
    "jmp probed_even",
    "2:",
    "ret",
    "probed_end probed_odd",
    // Changes nothing.
    "probed_fn probed_still",
    "nop dword ptr [rax + rax*1]",
    "ret",
    "probed_end probed_still",
    // Keeps flags and the red zone over the instruction at +16.
    "probed_fn probed_inside",
    "mov [rsp - 8], rax",
    "mov [rsp - 128], rcx",
    "lea rax, [rip + 3f]",
    "3:",
    "mov rax, [rsp - 8]",
    "mov rcx, [rsp - 128]",
    "ret",
    "probed_end probed_inside",
    // RIP-relative load, short branch, and a call among the first bytes.
    "probed_fn probed_moved",
    "mov rax, [rip + 4f]",
    "ret",
    ".balign 8",
    "4: .quad 77",
    "probed_end probed_moved",
    "probed_fn probed_branch",
    "test rdi, rdi",
    "jz 2f",
    "mov eax, 5",
    "ret",
    "2: mov eax, 6",
    "ret",
    "probed_end probed_branch",
    "probed_fn probed_call",
    "call probed_where",
    "ret",
    "probed_end probed_call",
    // The return address it is given, as an offset from probed_call.
    "probed_fn probed_where",
    "mov rax, [rsp]",
    "lea rcx, [rip + probed_call]",
    "sub rax, rcx",
    "ret",
    "probed_end probed_where",
    // Not to be patched: a branch into the first bytes; too short.
    "probed_fn probed_loop",
    "xor eax, eax",
    "2: inc eax",
    "cmp eax, 10",
    "jb 2b",
    "ret",
    "probed_end probed_loop",
    "probed_fn probed_short",
    "ret",
    "probed_end probed_short",
    ".globl probed_next",
    ".type probed_next,@function",
    "probed_next:",
    "mov eax, 3",
    "ret",
    "probed_end probed_next",
    // One byte, but padding follows.
    "probed_fn probed_padded",
    "ret",
    "probed_end probed_padded",
    // Leaves its caller's frame as longjmp does.
    "probed_fn probed_leave",
    "mov rsp, rdi",
    "mov eax, 1",
    "jmp rsi",
    "probed_end probed_leave",
    "probed_fn call_leaver",
    "push rbp",
    "mov rbp, rsp",
    "mov rdi, rsp",
    "lea rsi, [rip + 2f]",
    "call probed_leave",
    "ud2",
    "2:",
    "pop rbp",
    "ret",
    "probed_end call_leaver",
    // Many functions that return their argument plus one, 32 bytes apart.
    ".balign 32",
    ".globl probed_many",
    "probed_many:",
    ".rept {many}",
    "lea rax, [rdi + 1]",
    "nop dword ptr [rax + rax*1]",
    "ret",
    ".balign 32",
    ".endr",
    // (in, out, function): calls with all registers from `in`, stores them to `out`.
    "probed_fn call_with_state",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rsi",
    "push rdx",
    "sub rsp, 8",
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovdqu ymm\\i, [rdi + 128 + 32*\\i]",
    ".endr",
    "push qword ptr [rdi + 120]",
    "popfq",
    "mov rax, [rdi]",
    "mov rcx, [rdi + 8]",
    "mov rdx, [rdi + 16]",
    "mov rbx, [rdi + 24]",
    "mov rbp, [rdi + 32]",
    "mov rsi, [rdi + 40]",
    ".irp i,8,9,10,11,12,13,14,15",
    "mov r\\i, [rdi + 48 + 8*(\\i - 8)]",
    ".endr",
    "mov rdi, [rdi + 112]",
    "call [rsp + 8]",
    "push rax",
    "mov rax, [rsp + 24]",
    "mov [rax + 112], rdi",
    "pushfq",
    "pop [rax + 120]",
    "mov [rax + 8], rcx",
    "pop rcx",
    "mov [rax], rcx",
    "mov [rax + 16], rdx",
    "mov [rax + 24], rbx",
    "mov [rax + 32], rbp",
    "mov [rax + 40], rsi",
    ".irp i,8,9,10,11,12,13,14,15",
    "mov [rax + 48 + 8*(\\i - 8)], r\\i",
    ".endr",
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vmovdqu [rax + 128 + 32*\\i], ymm\\i",
    ".endr",
    "vzeroupper",
    "add rsp, 24",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    "probed_end call_with_state",
    ".popsection",
    many = const MANY,
);

/// Number of copies at `probed_many`.
pub const MANY: u64 = 64;

unsafe extern "C" {
    pub fn probed_sum(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64;
    pub fn probed_fact(n: u64) -> u64;
    pub fn probed_tail(a: u64) -> u64;
    pub fn probed_even(n: u64) -> u64;
    pub fn probed_odd(n: u64) -> u64;
    pub fn probed_still();
    pub fn probed_inside();
    pub fn probed_moved() -> u64;
    pub fn probed_branch(n: u64) -> u64;
    pub fn probed_call() -> u64;
    pub fn probed_loop() -> u64;
    pub fn probed_short();
    pub fn probed_padded();
    pub fn probed_leave();
    pub fn probed_many(n: u64) -> u64;
    pub fn call_leaver() -> u64;
    fn call_with_state(from: *const CpuState, to: *mut CpuState, f: unsafe extern "C" fn());
}

/// A function's name and address.
pub type Site = (&'static str, fn() -> u64);

/// What `addr N` gives the address of.
pub const SITES: &[Site] = &[
    ("sum", || probed_sum as *const () as u64),
    ("fact", || probed_fact as *const () as u64),
    ("tail", || probed_tail as *const () as u64),
    ("even", || probed_even as *const () as u64),
    ("odd", || probed_odd as *const () as u64),
    ("still", || probed_still as *const () as u64),
    ("inside", || probed_inside as *const () as u64),
    ("moved", || probed_moved as *const () as u64),
    ("branch", || probed_branch as *const () as u64),
    ("call", || probed_call as *const () as u64),
    ("loop", || probed_loop as *const () as u64),
    ("short", || probed_short as *const () as u64),
    ("padded", || probed_padded as *const () as u64),
    ("leave", || probed_leave as *const () as u64),
    ("many", || probed_many as *const () as u64),
];

#[repr(C)]
#[derive(Clone, PartialEq)]
struct CpuState {
    gpr: [u64; 15],
    flags: u64,
    ymm: [[u64; 4]; 16],
}

/// Calls a function that changes nothing (0: `still`, 1: `inside`) with all registers set; the number of changed ones.
pub fn state_errors(which: u64) -> u64 {
    if !std::is_x86_feature_detected!("avx") {
        return 0;
    }
    let mut word = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        word = word.wrapping_mul(6364136223846793005).wrapping_add(1);
        word
    };
    // CF PF AF ZF SF OF, with the bit that is always set and the interrupt flag.
    let flags = 0x8d5 & next() | 0x202;
    let before = CpuState {
        gpr: [0; 15].map(|_: u64| next()),
        flags,
        ymm: [[0; 4]; 16].map(|y| y.map(|_: u64| next())),
    };
    let mut after = CpuState { gpr: [0; 15], flags: 0, ymm: [[0; 4]; 16] };
    let f = if which == 0 { probed_still } else { probed_inside };
    // SAFETY: both functions change no register that the compiler relies on.
    unsafe { call_with_state(&before, &mut after, f) };
    let gpr = before.gpr.iter().zip(&after.gpr).filter(|(a, b)| a != b).count();
    let ymm = before.ymm.iter().zip(&after.ymm).filter(|(a, b)| a != b).count();
    // A function's entry and return leave flags open.
    let flags = which == 1 && before.flags != after.flags;
    (gpr + ymm) as u64 + u64::from(flags)
}

/// Wrong results of the small functions.
pub fn wrong_results() -> u64 {
    // SAFETY: these functions have the declared signatures.
    let right = unsafe {
        [
            probed_sum(1, 2, 3, 4, 5, 6) == 21,
            probed_fact(12) == 479001600,
            probed_tail(5) == 10,
            probed_even(5) == 0,
            probed_odd(7) == 1,
            probed_moved() == 77,
            probed_branch(0) == 6,
            probed_branch(1) == 5,
            probed_call() == 5,
            probed_loop() == 10,
            call_leaver() == 1,
            state_errors(0) == 0,
            state_errors(1) == 0,
        ]
    };
    right.iter().enumerate().filter(|(_, ok)| !**ok).map(|(i, _)| 1 << i).sum()
}

/// Whether all copies at `probed_many` work.
pub fn many_wrong() -> u64 {
    let first = probed_many as *const () as u64;
    let wrong = |i: &u64| {
        // SAFETY: the copies are 32 bytes apart.
        let f: unsafe extern "C" fn(u64) -> u64 =
            unsafe { std::mem::transmute((first + 32 * i) as *const ()) };
        // SAFETY: each has this signature.
        unsafe { f(*i) != i + 1 }
    };
    (0..MANY).filter(wrong).count() as u64
}
