//! Raw instructions, into this machine's kernel. Without the rights for it, tests say so and pass.

mod common;

use common::kernel;
use stylet_insn::Insn;
use stylet_kernel::{Error, Feature, Prog, ProgLoad};
use stylet_uapi::ProgType;

#[test]
fn a_program_loads_under_its_name() {
    let Some(kernel) = kernel() else { return };
    let insns = [Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
    let load = ProgLoad {
        name: "fifteen_bytes_and_more",
        prog_type: ProgType::KPROBE,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let prog = Prog::load(&kernel, &load).unwrap();
    let info = stylet_kernel::sys::prog_info(std::os::fd::AsFd::as_fd(&prog)).unwrap();
    assert_eq!(&info.name, b"fifteen_bytes_a\0");
    assert_eq!(info.prog_type, ProgType::KPROBE.0);
}

#[test]
fn a_rejection_carries_the_whole_log() {
    let Some(kernel) = kernel() else { return };
    // 3,000 branches, a line or more each at level 2; then a read of a register that was never written.
    let mut insns = vec![Insn::new(0xb7, 0, 0, 0, 0)];
    insns.extend([Insn::new(0x07, 0, 0, 0, 1)].repeat(3000));
    insns.extend([Insn::new(0xbf, 0, 7, 0, 0), Insn::new(0x95, 0, 0, 0, 0)]);
    let load = ProgLoad {
        name: "r7",
        prog_type: ProgType::KPROBE,
        insns: &insns,
        license: "GPL",
        log_level: 2,
        ..ProgLoad::default()
    };
    let Err(Error::Rejected { errno, log, .. }) = Prog::load(&kernel, &load) else {
        panic!("not rejected")
    };
    assert_eq!(errno.name(), Some("EACCES"));
    assert!(log.len() > 1 << 16, "{}", log.len());
    assert!(log.contains("0: R1=ctx() R10=fp0"), "{}", &log[..200]);
    assert!(log.contains("R7 !read_ok"), "the end is there");
}

#[test]
fn a_map_type_that_no_kernel_has_is_missing() {
    let Some(kernel) = kernel() else { return };
    let feature = Feature::MapType(stylet_uapi::MapType(9999));
    assert!(!kernel.has(feature));
    let error = kernel.require(feature).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}
