//! A kfunc is what the target's BTF says it is: `bpf_session_is_return` takes nothing up to 6.18, the context from 7.x on.

use stylet_btf::builder::{BtfBuilder, IntEncoding};
use stylet_btf::{Btf, FuncLinkage, Kind};
use stylet_catalog::{Env, Release};
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{AttachType, ProgType};
use stylet_verifier::{ProgInput, RejectionKind, verify};

const MOV_R1_0: Insn = Insn::new(op::ALU64 | op::MOV, 1, 0, 0, 0);
const MOV_R0_0: Insn = Insn::new(op::ALU64 | op::MOV, 0, 0, 0, 0);
const EXIT: Insn = Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0);

fn target(takes_ctx: bool) -> Btf {
    let mut out = BtfBuilder::new();
    let bool_id = out.int("_Bool", 1, IntEncoding::Bool);
    let void = out.ptr(0);
    let params = if takes_ctx { vec![("ctx", void)] } else { Vec::new() };
    let proto = out.func_proto(bool_id, &params);
    out.func("bpf_session_is_return", FuncLinkage::Static, proto);
    out.build().expect("a small BTF")
}

fn load(env: &Env, btf: Option<&Btf>, clobber: bool) -> Result<Vec<u32>, RejectionKind> {
    let id =
        btf.and_then(|b| b.find_by_name_kind("bpf_session_is_return", Kind::Func)).unwrap_or(1);
    let call = Insn::call_kfunc(id as i32, 0);
    let mut insns = vec![call, MOV_R0_0, EXIT];
    if clobber {
        insns.insert(0, MOV_R1_0);
    }
    let input = ProgInput {
        prog_type: ProgType::KPROBE,
        expected_attach_type: AttachType::TRACE_UPROBE_SESSION,
        license: "GPL",
        insns: &insns,
        ..ProgInput::default()
    };
    let proof = verify(env, &input).map_err(|r| r.kind)?;
    Ok(proof.facts().kfuncs.iter().copied().collect())
}

#[test]
fn without_arguments_anything_may_be_in_r1() {
    let btf = target(false);
    let env = Env::kernel(Release::V6_18).with_btf(btf.clone());
    let id = btf.find_by_name_kind("bpf_session_is_return", Kind::Func).expect("declared");
    assert_eq!(load(&env, Some(&btf), true), Ok(vec![id]));
}

#[test]
fn with_an_argument_it_is_the_context() {
    let btf = target(true);
    let env = Env::kernel(Release::V7_3).with_btf(btf.clone());
    assert!(load(&env, Some(&btf), false).is_ok());
    assert!(load(&env, Some(&btf), true).is_err());
}

#[test]
fn a_target_without_btf_has_no_kfuncs_that_are_known() {
    let refused = load(&Env::kernel(Release::V6_18), None, false);
    assert!(matches!(refused, Err(RejectionKind::NotSupportedYet { .. })), "{refused:?}");
}

#[test]
fn the_user_backend_has_those_that_its_own_btf_declares() {
    let btf = target(false);
    assert!(load(&Env::user(&[], &[]).with_btf(btf.clone()), Some(&btf), false).is_ok());
    let empty = BtfBuilder::new().build().expect("an empty BTF");
    let refused = load(&Env::user(&[], &[]).with_btf(empty), None, false);
    assert!(matches!(refused, Err(RejectionKind::NotAFunction { .. })), "{refused:?}");
}
