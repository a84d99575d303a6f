//! Loops, size, structure, references.

use super::{Case, Rule};
use stylet_catalog::Features;

pub(super) const RULES: &[Rule] = &[
    (&["infinite loop detected"], endless),
    (&["back-edge"], back_edge),
    (&["program is too large. Processed"], too_large),
    (&["jumps is too complex"], too_large),
    (&["too many states"], too_large),
    (&["unreachable insn"], unreachable),
    (&["last insn is not an exit or jmp"], no_exit),
    (&["jump out of range"], jump_range),
    (&["call stack of", "too deep"], deep),
    (&["recursive call"], recursion),
    (&["Unreleased reference"], unreleased),
    (&["BPF_EXIT instruction", "would lead to reference leak"], leak_kind),
    (&["lock", "is missing unlock"], unlock),
    (&["while holding a lock"], holding_lock),
    (&["initialized dynptr"], dynptr),
    (&["uninitialized dynptr"], dynptr),
    (&["unknown opcode"], opcode),
    (&["not supported yet"], unsupported),
    (&["verifier bug"], bug),
];

/// How to write a loop on the target.
fn loops(case: &Case<'_>) -> &'static str {
    if case.env.has(Features::ITERATORS) {
        "bpf_for() or bpf_loop()"
    } else if case.env.has(Features::BPF_LOOP) {
        "bpf_loop()"
    } else {
        "a loop with a constant number of iterations, unrolled (`#pragma unroll`) if need be"
    }
}

fn endless(case: &Case<'_>) -> Option<String> {
    let loops = loops(case);
    Some(format!(
        "an iteration ends in the state in which it began, so the loop may never end: let the loop's condition test a counter that each iteration changes, or use {loops}"
    ))
}

fn back_edge(case: &Case<'_>) -> Option<String> {
    let since = Features::BOUNDED_LOOPS.since()?;
    let loops = loops(case);
    Some(format!(
        "loops are known since Linux {since}, and only to loaders with CAP_BPF; use {loops}"
    ))
}

fn too_large(case: &Case<'_>) -> Option<String> {
    let limit = case.env.limits.complexity_limit_insns;
    let loops = loops(case);
    Some(format!(
        "the verifier walks at most {limit} instructions over all paths: put the body of long loops into {loops}, move independent parts into functions that are not `static` (each is verified once), or split the program by tail calls"
    ))
}

fn unreachable(_: &Case<'_>) -> Option<String> {
    Some("no path leads to this instruction: remove the code; compilers leave it behind after a function that never returns".into())
}

fn no_exit(_: &Case<'_>) -> Option<String> {
    Some("control would run past the end of the function: end it with a return; a compiler leaves the end open after undefined behaviour (a missing return, a division by 0)".into())
}

fn jump_range(_: &Case<'_>) -> Option<String> {
    Some("the jump leaves its function".into())
}

fn deep(case: &Case<'_>) -> Option<String> {
    let frames = case.env.limits.max_call_frames;
    Some(format!(
        "calls nest at most {frames} deep: let the compiler inline some functions (`static __always_inline`)"
    ))
}

fn recursion(_: &Case<'_>) -> Option<String> {
    Some(
        "functions may not call themselves: write it as a loop with a stack of its own in a map"
            .into(),
    )
}

fn unreleased(case: &Case<'_>) -> Option<String> {
    let insn_idx = u32::try_from(case.number("alloc_insn=")?).ok()?;
    let place = case.place(insn_idx);
    let release = case.input.insns.get(insn_idx as usize).filter(|i| i.is_helper_call());
    let how = match release.map(|i| i.imm as u32) {
        Some(131) => "call bpf_ringbuf_submit() or bpf_ringbuf_discard()",
        Some(198) => {
            "call bpf_ringbuf_submit_dynptr() or bpf_ringbuf_discard_dynptr(), also when the reservation failed"
        }
        _ => "release it",
    };
    Some(format!("what {place} acquired is still held when this path ends: {how} on every path"))
}

fn leak_kind(_: &Case<'_>) -> Option<String> {
    Some("something that was acquired is still held when this path ends: release it on every path before the return".into())
}

fn unlock(_: &Case<'_>) -> Option<String> {
    Some(
        "the lock is still held when this path ends: unlock it on every path before the return"
            .into(),
    )
}

fn holding_lock(_: &Case<'_>) -> Option<String> {
    Some("between lock and unlock only loads, stores and the few functions that locks allow are permitted: move the call out of the locked part".into())
}

fn dynptr(_: &Case<'_>) -> Option<String> {
    Some("a dynptr is a local variable that is written by its constructor once, passed by address, and not touched otherwise".into())
}

fn opcode(_: &Case<'_>) -> Option<String> {
    Some("the target does not know this instruction: compile for an older instruction set (`-mcpu=v3`)".into())
}

fn unsupported(_: &Case<'_>) -> Option<String> {
    Some("this is a limit of Stylet's verifier, not of the kernel's: the kernel itself may accept the program".into())
}

fn bug(_: &Case<'_>) -> Option<String> {
    Some("the verifier contradicts itself; please report the program".into())
}
