//! fentry, fexit, fmod_ret, tp_btf, LSM hooks.

use stylet_kernel::attach::{self, TracingMethod, TracingOpts};
use stylet_kernel::read::{TestRun, test_run};
use stylet_kernel::{Error, Feature, Kernel, Link, LinkDetails, Loaded, Release};
use stylet_uapi::{AttachType, LinkType};

use super::raw_tp;
use crate::guest::Guest;
use crate::objects::{Object, global};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("fentry_fexit", fentry_fexit),
    Test::new("fentry_cookie", fentry_cookie).since(5, 19),
    Test::new("fmod_ret", fmod_ret),
    Test::new("fmod_ret_of_a_hook", fmod_ret_of_a_hook),
    Test::new("tp_btf", tp_btf),
    Test::new("tp_btf_by_link", tp_btf_by_link).since(5, 15),
    Test::new("lsm", lsm),
    Test::new("program_is_not_replaced", program_is_not_replaced),
];

fn run(kernel: &Kernel, loaded: &Loaded, prog: &str) -> Result<u32, Failure> {
    let prog = loaded.prog(prog).ok_or_else(|| Failure::new(prog))?;
    Ok(test_run(kernel, prog, &TestRun::default())?.retval)
}

/// `bpf_fentry_test3(4, 5, 6)` returns 15.
fn fentry_fexit(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "tracing")?.load(kernel, &["enter", "leave"])?;
    let links: Vec<Link> = loaded
        .progs
        .iter()
        .map(|prog| attach::tracing(kernel, prog, &TracingOpts::default()))
        .collect::<Result<_, _>>()?;
    let info = links[0].info()?;
    assert_eq!(info.link_type, LinkType::TRACING);
    let LinkDetails::Tracing { attach_type, .. } = info.details else { return Err(Failure::new(format!("{info:?}"))) };
    assert_eq!(attach_type, AttachType::TRACE_FENTRY);
    run(kernel, &loaded, "enter")?;
    assert_eq!((global(&loaded, "entry_hits")?, global(&loaded, "entry_args")?), (1, 40506));
    assert_eq!((global(&loaded, "exit_hits")?, global(&loaded, "exit_ret")?), (1, 15));
    Link::group(links).detach()?;
    run(kernel, &loaded, "enter")?;
    assert_eq!(global(&loaded, "entry_hits")?, 1);
    Ok(())
}

fn fentry_cookie(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::TracingCookie)?;
    let loaded = Object::open(guest, "tracing")?.load(kernel, &["enter_with_cookie"])?;
    let opts = TracingOpts { cookie: 0xc00c1e, ..TracingOpts::default() };
    let _link = attach::tracing(kernel, &loaded.progs[0], &opts)?;
    run(kernel, &loaded, "enter_with_cookie")?;
    assert_eq!(global(&loaded, "entry_cookie")?, 0xc00c1e);
    Ok(())
}

/// `bpf_modify_return_test(1, &b)` adds 1 to b and returns their sum: with the program, neither.
fn fmod_ret(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = match Object::open(guest, "tracing")?.load(kernel, &["modify"]) {
        // Old kernels let no function but hooks be modified unless they have CONFIG_FUNCTION_ERROR_INJECTION.
        Err(Failure::Failed(message)) if guest.release() <= Release::new(6, 1) => {
            assert!(message.contains("is not modifiable"), "{message}");
            return Ok(());
        }
        loaded => loaded?,
    };
    let without = run(kernel, &loaded, "modify")?;
    let link = attach::tracing(kernel, &loaded.progs[0], &TracingOpts::default())?;
    let with = run(kernel, &loaded, "modify")?;
    assert_eq!(global(&loaded, "mod_hits")?, 1);
    // The upper half counts side effects; the lower adds up what the functions returned.
    assert_eq!((without >> 16) - (with >> 16), 1, "{without:#x} {with:#x}");
    assert_eq!((with & 0xffff) + 4, (without & 0xffff) + 17, "{without:#x} {with:#x}");
    link.detach()?;
    assert_eq!(run(kernel, &loaded, "modify")?, without);
    Ok(())
}

fn tp_btf(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = raw_tp::object(guest)?.load(kernel, &["btf"])?;
    let opts = TracingOpts { method: TracingMethod::Open, ..TracingOpts::default() };
    raw_tp::counts(&loaded, "btf_hits", attach::tracing(kernel, &loaded.progs[0], &opts)?)?;
    raw_tp::counts(&loaded, "btf_hits", attach::tracing(kernel, &loaded.progs[0], &TracingOpts::default())?)
}

/// 5.15: `BPF_LINK_CREATE` takes all TRACING programs.
fn tp_btf_by_link(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::PerfLink)?;
    let loaded = raw_tp::object(guest)?.load(kernel, &["btf"])?;
    let opts = TracingOpts { method: TracingMethod::Link, ..TracingOpts::default() };
    raw_tp::counts(&loaded, "btf_hits", attach::tracing(kernel, &loaded.progs[0], &opts)?)
}

/// What /dev/null answers to an ioctl: ENOTTY, unless a program denies it.
fn null_ioctl(command: u64) -> Result<Option<i32>, Failure> {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open("/dev/null")?;
    // SAFETY: /dev/null has no ioctl that would look at the argument.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), command, 0) };
    Ok((ret < 0).then(|| std::io::Error::last_os_error().raw_os_error()).flatten())
}

fn fmod_ret_of_a_hook(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let object = Object::open(guest, "tracing")?.set("my_pid", std::process::id().into());
    let loaded = object.load(kernel, &["modify_ioctl"])?;
    let link = attach::auto(kernel, &loaded.progs[0], &attach::AutoOpts::default())?;
    assert_eq!(null_ioctl(0x5354)?, Some(libc::EPERM), "modified");
    assert_eq!(null_ioctl(0x5355)?, Some(libc::ENOTTY), "another one is not");
    assert_eq!(global(&loaded, "mod_hits")?, 1);
    link.detach()?;
    assert_eq!(null_ioctl(0x5354)?, Some(libc::ENOTTY), "detached");
    Ok(())
}

fn lsm(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let object = Object::open(guest, "tracing")?.set("my_pid", std::process::id().into());
    let loaded = object.load(kernel, &["ioctl"])?;
    assert_eq!(null_ioctl(0x5354)?, Some(libc::ENOTTY));
    let attached = attach::lsm(kernel, &loaded.progs[0], &TracingOpts::default());
    let active = std::fs::read_to_string("/sys/kernel/security/lsm")?;
    if !active.split(',').any(|name| name.trim() == "bpf") {
        // It would be attached and never run.
        let error = attached.err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains("security modules")), "{error:?}");
        return Ok(());
    }
    let link = attached?;
    assert_eq!(null_ioctl(0x5354)?, Some(libc::EPERM), "denied");
    assert_eq!(null_ioctl(0x5355)?, Some(libc::ENOTTY), "another one is not");
    assert_eq!((global(&loaded, "lsm_hits")?, global(&loaded, "lsm_denied")?), (2, 1));
    link.detach()?;
    assert_eq!(null_ioctl(0x5354)?, Some(libc::ENOTTY), "detached");
    Ok(())
}

fn program_is_not_replaced(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "tracing")?.load(kernel, &["enter"])?;
    let link = attach::tracing(kernel, &loaded.progs[0], &TracingOpts::default())?;
    match link.update(&loaded.progs[0], None) {
        Err(error @ Error::LinkOp { link_type: LinkType::TRACING, .. }) => {
            assert!(error.to_string().contains("detach it and attach the other"), "{error}");
            Ok(())
        }
        other => Err(Failure::new(format!("{other:?}"))),
    }
}
