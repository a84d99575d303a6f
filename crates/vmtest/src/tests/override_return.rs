//! `bpf_override_return`: a kernel function does not run and returns what the program says. Distributions' kernels have it not;
//! see `cargo xtask vm --build-override-kernel`.

use stylet_insn::Insn;
use stylet_kernel::attach::{Functions, KprobeMultiOpts, KprobeOpts, Method, kprobe, kprobe_multi};
use stylet_kernel::{Error, Feature, Prog, ProgLoad};
use stylet_uapi::{AttachType, HelperId, ProgType};

use crate::guest::Guest;
use crate::test::{Failure, Outcome, Test};

const OPTION: &str = "CONFIG_BPF_KPROBE_OVERRIDE";

pub const TESTS: &[Test] = &[
    Test::new("tracefs", |guest| by_method(guest, Method::Tracefs)).config(OPTION),
    Test::new("perf_ioctl", |guest| by_method(guest, Method::PerfIoctl)).config(OPTION),
    Test::new("perf_link", |guest| by_method(guest, Method::PerfLink)).config(OPTION),
    Test::new("multi", multi).config(OPTION),
    Test::new("not_injectable", not_injectable).config(OPTION),
];

/// A system call without an argument or an effect, and its function.
const FUNCTION: &str = "__x64_sys_getppid";

/// What the function returns instead.
const INSTEAD: i32 = 4242;

fn program(guest: &Guest, attach_type: AttachType) -> Result<Prog, Error> {
    guest.kernel().require(Feature::Helper(HelperId::OVERRIDE_RETURN, ProgType::KPROBE))?;
    let insns = [
        Insn::new(0xb7, 2, 0, 0, INSTEAD), // r2 = INSTEAD
        Insn::new(0x85, 0, 0, 0, 58),      // call override_return
        Insn::new(0xb7, 0, 0, 0, 0),       // r0 = 0
        Insn::new(0x95, 0, 0, 0, 0),       // exit
    ];
    let load = ProgLoad {
        name: "override",
        prog_type: ProgType::KPROBE,
        attach_type,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    Prog::load(guest.kernel(), &load)
}

fn getppid() -> i64 {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) }
}

fn by_method(guest: &Guest, method: Method) -> Outcome {
    let prog = program(guest, AttachType(0))?;
    let parent = getppid();
    let link = kprobe(guest.kernel(), &prog, &KprobeOpts { method, ..KprobeOpts::function(FUNCTION) })?;
    assert_eq!(getppid(), i64::from(INSTEAD));
    drop(link);
    assert_eq!(getppid(), parent);
    Ok(())
}

fn multi(guest: &Guest) -> Outcome {
    let prog = program(guest, AttachType::TRACE_KPROBE_MULTI)?;
    let parent = getppid();
    let functions = Functions::Names(vec![FUNCTION.into(), "__x64_sys_getpgid".into()]);
    let link = kprobe_multi(guest.kernel(), &prog, &KprobeMultiOpts::new(functions))?;
    assert_eq!(getppid(), i64::from(INSTEAD));
    // SAFETY: takes a number.
    assert_eq!(unsafe { libc::syscall(libc::SYS_getpgid, 0) }, i64::from(INSTEAD));
    drop(link);
    assert_eq!(getppid(), parent);
    Ok(())
}

/// A function that is not declared injectable is refused, whatever the method.
fn not_injectable(guest: &Guest) -> Outcome {
    let prog = program(guest, AttachType(0))?;
    for method in [Method::Tracefs, Method::PerfIoctl, Method::PerfLink] {
        let opts = KprobeOpts { method, ..KprobeOpts::function("vfs_read") };
        refused(kprobe(guest.kernel(), &prog, &opts).err())?;
    }
    let prog = program(guest, AttachType::TRACE_KPROBE_MULTI)?;
    let opts = KprobeMultiOpts::new(Functions::Names(vec!["vfs_read".into()]));
    refused(kprobe_multi(guest.kernel(), &prog, &opts).err())
}

/// Whether the error is EINVAL and names the list of injectable functions.
fn refused(error: Option<Error>) -> Outcome {
    match error {
        Some(error) if error.errno().is_some_and(|e| e.0 == libc::EINVAL) => {
            let text = error.to_string();
            assert!(text.contains("error_injection/list"), "{text}");
            Ok(())
        }
        Some(error) => Err(error.into()),
        None => Err(Failure::new("attached to a function that may not be overridden")),
    }
}
