//! What the compiler refuses, and limits.

mod common;

use stylet_insn::{Insn, assemble, opcode as op};
use stylet_jit::{CpuFeatures, Error, HelperImpl, Options, compile};
use stylet_verifier::MemKind;

fn error(insns: Vec<Insn>) -> Error {
    let opts = Options { helper: &|_, _| HelperImpl::Call, cpu: CpuFeatures::default() };
    compile(&common::unchecked(insns), &opts).expect_err("to be refused")
}

fn text(text: &str) -> Vec<Insn> {
    assemble(text).expect("valid assembly")
}

#[test]
fn what_is_not_supported_says_so() {
    let arena = "cast between address spaces (arena)";
    assert_eq!(
        error(text("r1 = addr_space_cast(r1, 0, 1)\nexit")),
        Error::Unsupported { insn_idx: 0, what: arena }
    );
    assert_eq!(
        error(text("r0 = *(u8 *)skb[12]\nexit")),
        Error::Unsupported { insn_idx: 0, what: "load from a packet" }
    );
    let insns = text("r0 = 0\nr0 = *(u64 *)(r1 +0)\nexit");
    let mut prog = common::unchecked(insns);
    prog.facts_for_tests().insns[1].mem = MemKind::Arena;
    let opts = Options { helper: &|_, _| HelperImpl::Call, cpu: CpuFeatures::default() };
    let refused = compile(&prog, &opts).expect_err("to be refused");
    assert_eq!(refused, Error::Unsupported { insn_idx: 1, what: "arena memory" });
}

#[test]
fn what_is_no_program_is_refused() {
    assert_eq!(error(text("r0 = 0\ngoto +5\nexit")), Error::BadTarget { insn_idx: 1, target: 7 });
    assert_eq!(error(text("r0 = 0")), Error::FallsOffEnd { insn_idx: 0 });
    let exit = Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0);
    let r12 = Insn::new(op::ALU64 | op::MOV | op::K, 12, 0, 0, 0);
    assert_eq!(error(vec![r12, exit]), Error::InvalidInsn { insn_idx: 0, code: r12.code });
    let writes_fp = Insn::mov64_imm(10, 0);
    assert_eq!(
        error(vec![writes_fp, exit]),
        Error::InvalidInsn { insn_idx: 0, code: writes_fp.code }
    );
    let half = Insn::new(op::LDDW, 0, 0, 0, 0);
    assert_eq!(error(vec![exit, half]), Error::InvalidInsn { insn_idx: 1, code: half.code });
}

/// Random slots never make the compiler panic.
#[test]
fn any_slots_compile_or_are_refused() {
    arbtest::arbtest(|u| {
        let opts = Options {
            helper: &|id, _| if id == 12 { TAIL_CALL } else { HelperImpl::Call },
            cpu: CpuFeatures::detect(),
        };
        let len = u.int_in_range(0..=20)?;
        let mut insns = Vec::new();
        for _ in 0..len {
            let mut insn = Insn::from_bytes(u.arbitrary()?);
            if u.ratio(3, 4)? {
                insn.dst %= 11;
                insn.src %= 11;
                insn.off %= 16;
                insn.imm %= 16;
            }
            insns.push(insn);
        }
        insns.push(Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0));
        let _ = compile(&common::unchecked(insns), &opts);
        Ok(())
    })
    .budget_ms(1_000);
}

const TAIL_CALL: HelperImpl =
    HelperImpl::TailCall { values_off: 64, max_entries_off: 0, count_off: 0 };

/// Only the machine code: the interpreter would take seconds.
#[test]
fn may_goto_ends_after_8_mi_iterations() {
    let insns = text("r0 = 0\nagain: may_goto +2\nr0 += 1\ngoto again\nexit");
    let case = common::Case::new(insns, Vec::new());
    let got = case.jit(CpuFeatures::default()).expect("a result");
    assert_eq!(got.r0, 8 * 1024 * 1024);
}

/// A load that may fault is in the table, and its way on zeroes the destination.
#[test]
fn probe_loads_have_fixups() {
    let mut prog = common::unchecked(text("r0 = 5\nr6 = *(u32 *)(r1 +8)\nr0 += r6\nexit"));
    prog.facts_for_tests().insns[1].mem = MemKind::Probe;
    let opts = Options { helper: &|_, _| HelperImpl::Call, cpu: CpuFeatures::default() };
    let code = compile(&prog, &opts).expect("code");
    let [(at, to)] = code.fixups[..] else { panic!("one fixup, not {:?}", code.fixups) };
    let at = at as usize;
    // mov ebx, [rdi + 8]
    assert_eq!(code.text[at..at + 3], [0x8b, 0x5f, 0x08]);
    // xor ebx, ebx; jmp back behind the load
    let to = to as usize;
    assert_eq!(code.text[to..to + 3], [0x31, 0xdb, 0xeb]);
    let back = to as i64 + 4 + i64::from(code.text[to + 3] as i8);
    assert_eq!(back, at as i64 + 3);
}

/// Code that no path reaches is left out, and branches that always go one way are no branches.
#[test]
fn facts_remove_code() {
    let insns = text("r0 = 1\nif r1 == 0 goto +1\nexit\nr0 = 2\nexit");
    let opts = Options { helper: &|_, _| HelperImpl::Call, cpu: CpuFeatures::default() };
    let mut prog = common::unchecked(insns);
    let all = compile(&prog, &opts).expect("code").text.len();
    let facts = &mut prog.facts_for_tests().insns;
    facts[1].branch = Some(false);
    facts[3].seen = false;
    facts[4].seen = false;
    let code = compile(&prog, &opts).expect("code");
    // mov eax, 1; ret
    assert_eq!(code.text, [0xb8, 1, 0, 0, 0, 0xc3], "{all} bytes with everything");
    assert_eq!(code.insn_offsets, [0, 0, 0, 6, 6]);
}
