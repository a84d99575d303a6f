//! The path and facts that a verdict carries.

use stylet_catalog::{Env, Release};
use stylet_insn::assemble;
use stylet_uapi::ProgType;
use stylet_verifier::{MemKind, PathStep, ProgInput, RejectionKind, verify};

fn input(insns: &[stylet_insn::Insn]) -> ProgInput<'_> {
    ProgInput { prog_type: ProgType::KPROBE, license: "GPL", insns, ..ProgInput::default() }
}

#[test]
fn rejection_names_the_branch_taken() {
    let text =
        "r2 = *(u64 *)(r1 +0)\nif r2 == 0 goto bad\nr0 = 0\nexit\nbad:\nr0 = *(u64 *)(r2 +0)\nexit";
    let insns = assemble(text).expect("assembles");
    let env = Env::kernel(Release::V6_18);
    let rejection = verify(&env, &input(&insns)).expect_err("a number is dereferenced");
    assert!(matches!(rejection.kind, RejectionKind::InvalidMemAccess { reg: 2, .. }));
    assert_eq!((rejection.insn_idx, rejection.errno), (4, 13));
    assert_eq!(rejection.path, [PathStep::Branch { insn_idx: 1, taken: true }]);
    assert_eq!(rejection.message(), "R2 invalid mem access 'scalar'");
    assert!(rejection.log.starts_with("R2 invalid mem access 'scalar'\n"));
}

#[test]
fn facts_of_an_accepted_program() {
    let text = "r2 = *(u64 *)(r1 +112)\n*(u64 *)(r10 -8) = r2\nr3 = 1\nif r3 == 1 goto out\nr2 = 0\nout:\nr0 = 0\nexit";
    let insns = assemble(text).expect("assembles");
    let env = Env::kernel(Release::V6_18);
    let proof = verify(&env, &input(&insns)).expect("accepted");
    let facts = proof.facts();
    assert_eq!((facts.ctx_read, facts.ctx_written, facts.ctx_escapes), (1 << 14, 0, false));
    assert_eq!((facts.insns[0].mem, facts.insns[1].mem), (MemKind::Ctx, MemKind::Stack));
    assert_eq!(facts.insns[3].branch, Some(true));
    assert!(!facts.insns[4].seen && facts.insns[5].seen);
    assert_eq!((facts.max_stack, proof.subprogs()[0].stack_depth), (16, 8));
    assert!(proof.log().is_empty());
}
