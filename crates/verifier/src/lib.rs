//! The Linux verifier, written afresh: [`verify`] turns instructions into a [`VerifiedProg`] or a
//! [`Rejection`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bounds;
mod input;
mod kind;
mod rejection;
mod tnum;
mod verified;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use stylet_catalog::Env;
use stylet_insn::opcode as op;
use stylet_uapi::ProgType;

pub use bounds::{AluOp, Bounds, is_branch_taken, refine};
pub use input::{FuncInfo, LineInfo, MapDef, ProgInput};
pub use rejection::{PathStep, Rejection, RejectionKind};
pub use tnum::Tnum;
pub use verified::{Facts, InsnFact, MemKind, Subprog, VerifiedProg};

/// Verifies a program by the rules of `env`.
///
/// # Errors
/// A [`Rejection`] with the errno and message that the kernel would give, or with
/// [`RejectionKind::NotSupportedYet`].
pub fn verify(env: &Env, input: &ProgInput<'_>) -> Result<VerifiedProg, Rejection> {
    let _ = env;
    let trivial = input.insns.len() == 2
        && input.insns[0].code == (op::ALU64 | op::MOV | op::K)
        && (input.insns[0].dst, input.insns[0].src, input.insns[0].off) == (0, 0, 0)
        && input.insns[1].code == (op::JMP | op::EXIT)
        && (input.insns[1].dst, input.insns[1].src, input.insns[1].off, input.insns[1].imm)
            == (0, 0, 0, 0)
        && input.prog_type == ProgType::KPROBE
        && input.expected_attach_type.0 == 0;
    if !trivial {
        let reject: Box<rejection::Reject> =
            rejection::Reject::unsupported("programs that do more than return a constant");
        let log = reject.kind.to_string();
        return Err(Rejection {
            errno: reject.errno,
            kind: reject.kind,
            insn_idx: 0,
            path: Vec::new(),
            log,
        });
    }
    let seen = InsnFact { seen: true, ..InsnFact::default() };
    Ok(VerifiedProg {
        prog_type: input.prog_type,
        expected_attach_type: input.expected_attach_type,
        insns: input.insns.to_vec(),
        subprogs: vec![Subprog {
            start: 0,
            end: 2,
            stack_depth: 0,
            is_cb: false,
            has_tail_call: false,
        }],
        facts: Facts { insns: vec![seen; 2], insn_processed: 2, ..Facts::default() },
    })
}
