//! What ends a run without a result. Results are tested in `filetests/jit`.

use stylet_interp::{Error, Interp, Limits, NoHost};
use stylet_uapi::ProgType;
use stylet_verifier::VerifiedProg;

fn run(text: &str) -> Result<u64, Error> {
    let insns = stylet_insn::assemble(text).expect("valid assembly");
    let prog = VerifiedProg::new_unchecked_for_tests(ProgType::KPROBE, insns);
    Interp::run(&prog, &mut [0; 16], &mut NoHost, Limits { insns: 1000, frames: 4 })
}

#[test]
fn accesses_are_checked() {
    assert_eq!(run("r0 = *(u64 *)(r1 +8)\nexit"), Ok(0));
    assert!(matches!(run("r0 = *(u64 *)(r1 +9)\nexit"), Err(Error::NoMemory { size: 8, .. })));
    assert!(matches!(run("r0 = *(u8 *)(r1 -1)\nexit"), Err(Error::NoMemory { size: 1, .. })));
    assert!(matches!(run("*(u64 *)(r10 -520) = 1\nr0 = 0\nexit"), Err(Error::NoMemory { .. })));
    assert!(matches!(
        run("r1 = 0\nr0 = *(u8 *)(r1 +0)\nexit"),
        Err(Error::NoMemory { addr: 0, size: 1 })
    ));
}

#[test]
fn runs_are_limited() {
    assert_eq!(run("goto -1"), Err(Error::TooManyInsns { limit: 1000 }));
    assert_eq!(run("call pc+1\nexit\ncall pc-1\nexit"), Err(Error::TooManyFrames { limit: 4 }));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(run("call 5\nexit"), Err(Error::NoHelper { id: 5 }));
    assert_eq!(run("r0 = 0"), Err(Error::NoInsn { insn_idx: 1 }));
    let cast = Error::Unsupported { insn_idx: 0, what: "cast between address spaces (arena)" };
    assert_eq!(run("r1 = addr_space_cast(r1, 0, 1)\nexit"), Err(cast));
}
