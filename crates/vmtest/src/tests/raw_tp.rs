//! Raw tracepoints and tracepoints, by every method.

use stylet_insn::Insn;
use stylet_kernel::attach::{self, PerfMethod, RawTpMethod, RawTpOpts, TracepointOpts};
use stylet_kernel::{Error, Feature, Link, LinkDetails, Loaded, Prog, ProgLoad};
use stylet_uapi::{LinkType, ProgType};

use crate::guest::Guest;
use crate::objects::{Object, global, system_call};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("open", open),
    Test::new("open_cookie", open_cookie).since(6, 10),
    Test::new("link_is_refused", link_is_refused),
    Test::new("missing", missing),
    Test::new("of_a_module", of_a_module),
    Test::new("too_many_arguments", too_many_arguments),
    Test::new("tracepoint_ioctl", |guest| tracepoint(guest, PerfMethod::Ioctl)),
    Test::new("tracepoint_link", |guest| tracepoint(guest, PerfMethod::Link)).since(5, 15),
    Test::new("tracepoint_auto", |guest| tracepoint(guest, PerfMethod::Auto)),
    Test::new("tracepoint_cookie", tracepoint_cookie).since(5, 15),
    Test::new("tracepoint_missing", tracepoint_missing),
];

/// The object, counting this process's calls of getppid.
pub(super) fn object(guest: &Guest) -> Result<Object, Failure> {
    Ok(Object::open(guest, "raw_tp")?.set("my_pid", std::process::id().into()).set("my_nr", libc::SYS_getppid as u64))
}

/// `counter` counts system calls while `link` lives, and no longer.
pub(super) fn counts(loaded: &Loaded, counter: &str, link: Link) -> Outcome {
    let before = global(loaded, counter)?;
    for _ in 0..5 {
        system_call();
    }
    assert_eq!(global(loaded, counter)?, before + 5, "{counter}");
    link.detach()?;
    system_call();
    assert_eq!(global(loaded, counter)?, before + 5, "{counter} after detach");
    Ok(())
}

fn open(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = object(guest)?.load(kernel, &["raw"])?;
    let prog = &loaded.progs[0];
    for method in [RawTpMethod::Auto, RawTpMethod::Open] {
        let link = attach::raw_tracepoint(kernel, prog, &RawTpOpts { method, ..RawTpOpts::default() })?;
        let info = link.info()?;
        assert_eq!(info.link_type, LinkType::RAW_TRACEPOINT);
        assert!(matches!(&info.details, LinkDetails::RawTracepoint { tp_name, .. } if tp_name == "sys_enter"), "{info:?}");
        counts(&loaded, "raw_hits", link)?;
    }
    assert_eq!(global(&loaded, "raw_nr")?, libc::SYS_getppid as u64);
    Ok(())
}

fn open_cookie(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::RawTpCookie)?;
    let loaded = object(guest)?.load(kernel, &["raw_with_cookie"])?;
    let cookie = 0x1234_5678_9abc_def0;
    let link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts { cookie, ..RawTpOpts::default() })?;
    counts(&loaded, "raw_hits", link)?;
    assert_eq!(global(&loaded, "raw_cookie")?, cookie);
    Ok(())
}

fn link_is_refused(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = object(guest)?.load(kernel, &["raw"])?;
    let opts = RawTpOpts { method: RawTpMethod::Link, ..RawTpOpts::default() };
    refused(attach::raw_tracepoint(kernel, &loaded.progs[0], &opts), libc::EINVAL, "BPF_RAW_TRACEPOINT_OPEN")
}

/// The error of attaching: its errno, and words of its explanation.
pub(super) fn refused(result: Result<Link, Error>, errno: i32, words: &str) -> Outcome {
    match result {
        Ok(_) => Err(Failure::new("it was attached")),
        Err(error @ Error::Attach { .. }) => {
            assert_eq!(error.errno().map(|errno| errno.0), Some(errno), "{error}");
            assert!(error.to_string().contains(words), "{error}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn missing(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = object(guest)?.load(kernel, &["raw"])?;
    let opts = RawTpOpts { name: Some("no_such_tracepoint"), ..RawTpOpts::default() };
    refused(attach::raw_tracepoint(kernel, &loaded.progs[0], &opts), libc::ENOENT, "module")
}

fn of_a_module(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "nbd")?.load(kernel, &["count"])?;
    if !std::path::Path::new("/sys/module/nbd").exists() {
        refused(attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default()), libc::ENOENT, "module")?;
    }
    guest.insmod("nbd", "nbds_max=1")?;
    let link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    assert_eq!(attach::tracepoint_args(kernel, "nbd_send_request"), Some(3));
    link.detach()?;
    Ok(())
}

/// `sys_enter` has two arguments.
fn too_many_arguments(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let insns = [Insn::new(0x79, 0, 1, 16, 0), Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
    let load = ProgLoad {
        name: "third",
        prog_type: ProgType::RAW_TRACEPOINT,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let prog = Prog::load(kernel, &load)?;
    let opts = RawTpOpts { name: Some("sys_enter"), ..RawTpOpts::default() };
    refused(attach::raw_tracepoint(kernel, &prog, &opts), libc::EINVAL, "the tracepoint's 2 arguments")
}

fn tracepoint(guest: &Guest, method: PerfMethod) -> Outcome {
    let kernel = guest.kernel();
    let loaded = object(guest)?.load(kernel, &["tp"])?;
    let link = attach::tracepoint(kernel, &loaded.progs[0], &TracepointOpts { method, ..TracepointOpts::default() })?;
    assert_eq!(link.is_kernel_link(), method == PerfMethod::Link || kernel.has(Feature::PerfLink) && method == PerfMethod::Auto);
    let info = link.info()?;
    // A link's name is told since 6.6, an event's always.
    match &info.details {
        LinkDetails::Tracepoint { tracepoint, .. } => assert_eq!(tracepoint, "sys_enter"),
        other => assert!(link.is_kernel_link() && guest.release() < stylet_kernel::Release::new(6, 6), "{other:?}"),
    }
    counts(&loaded, "tp_hits", link)
}

fn tracepoint_cookie(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::PerfLink)?;
    let loaded = object(guest)?.load(kernel, &["tp_with_cookie"])?;
    let opts = TracepointOpts { cookie: 77, ..TracepointOpts::default() };
    let link = attach::tracepoint(kernel, &loaded.progs[0], &opts)?;
    if guest.release() >= stylet_kernel::Release::new(6, 8) {
        assert_eq!(link.info()?.details, LinkDetails::Tracepoint { tracepoint: "sys_enter".into(), cookie: 77 });
    }
    counts(&loaded, "tp_hits", link)?;
    assert_eq!(global(&loaded, "tp_cookie")?, 77);
    let by_ioctl = TracepointOpts { method: PerfMethod::Ioctl, ..opts };
    assert!(matches!(attach::tracepoint(kernel, &loaded.progs[0], &by_ioctl), Err(Error::Attach { errno: None, .. })));
    Ok(())
}

fn tracepoint_missing(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = object(guest)?.load(kernel, &["tp"])?;
    for (event, words) in [
        (("sched", "sched_swich"), "'sched_switch'"),
        (("no_such_category", "x"), "category"),
        (("..", "x"), "expected a category"),
    ] {
        let opts = TracepointOpts { event: Some(event), ..TracepointOpts::default() };
        match attach::tracepoint(kernel, &loaded.progs[0], &opts) {
            Err(error @ Error::Attach { .. }) => assert!(error.to_string().contains(words), "{error}"),
            other => return Err(Failure::new(format!("{other:?}"))),
        }
    }
    Ok(())
}
