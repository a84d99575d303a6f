//! Links that concern nobody but this process: iterators and sampling of itself. Without the rights for it, tests say so and
//! pass.

mod helpers;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use helpers::{kernel, load_object};
use stylet_kernel::attach::{self, IterOpts, IterTarget, PerfEventOpts, PerfMethod, Sampling};
use stylet_kernel::link::pinned_object;
use stylet_kernel::{Error, Fault, Link, LinkDetails, sys};
use stylet_uapi::LinkType;

/// A name in the BPF file system, or `None` without one.
fn pin_path(name: &str) -> Option<PathBuf> {
    match stylet_kernel::link::ensure_bpffs() {
        Ok(()) => Some(
            Path::new("/sys/fs/bpf").join(format!("stylet_test_{}_{name}", std::process::id())),
        ),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn iterators_are_read_and_replaced() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "iter", &[], &["tasks", "tasks_marked", "elements"]);
    let prog = |name| loaded.prog(name).unwrap();
    let link = attach::iter(&kernel, prog("tasks"), &IterOpts::default()).unwrap();
    let me = std::process::id();
    let text = String::from_utf8(link.read_iter().unwrap()).unwrap();
    assert!(text.lines().any(|line| line == format!("{me} {me}")), "{text}");
    let info = link.info().unwrap();
    let id = |name| sys::prog_info(prog(name).as_fd()).unwrap().id;
    assert_eq!((info.link_type, info.prog_id), (LinkType::ITER, id("tasks")));
    let LinkDetails::Iter { target_name, .. } = &info.details else { panic!("{info:?}") };
    assert_eq!(target_name, "task");
    // Another program in the same place, but only if the expected one is there.
    let error = link.update(prog("tasks_marked"), Some(prog("tasks_marked"))).unwrap_err();
    assert_eq!(error.errno().and_then(sys::Errno::name), Some("EPERM"), "{error}");
    link.update(prog("tasks_marked"), Some(prog("tasks"))).unwrap();
    assert_eq!(link.read_iter().unwrap(), b"end\n");
    assert_eq!(link.info().unwrap().prog_id, id("tasks_marked"));
    let error = link.update(prog("elements"), None).unwrap_err();
    assert!(matches!(error, Error::LinkOp { .. }), "{error}");
    link.detach().unwrap();
}

#[test]
fn iterators_over_one_process_or_map() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "iter", &[], &["tasks", "elements"]);
    let me = std::process::id();
    let tasks = loaded.prog("tasks").unwrap();
    let opts = IterOpts { target: IterTarget::Thread(me) };
    match attach::iter(&kernel, tasks, &opts) {
        Ok(link) => {
            assert_eq!(link.read_iter().unwrap(), format!("{me} {me}\n").into_bytes());
            let details = link.info().unwrap().details;
            assert!(matches!(details, LinkDetails::Iter { tid, .. } if tid == me), "{details:?}");
        }
        Err(error) => assert!(matches!(error, Error::Missing { .. }), "{error}"),
    }
    let map = loaded.map("squares").unwrap();
    for n in 0..4_u32 {
        map.update(&n.to_ne_bytes(), &u64::from(n * n).to_ne_bytes(), 0).unwrap();
    }
    let elements = loaded.prog("elements").unwrap();
    let link = attach::iter(&kernel, elements, &IterOpts { target: IterTarget::Map(map) }).unwrap();
    assert_eq!(String::from_utf8(link.read_iter().unwrap()).unwrap(), "0=0\n1=1\n2=4\n3=9\n");
    let id = sys::map_info(map.as_fd()).unwrap().id;
    let details = link.info().unwrap().details;
    assert!(matches!(details, LinkDetails::Iter { map_id, .. } if map_id == id), "{details:?}");
    let error = attach::iter(&kernel, elements, &IterOpts::default()).unwrap_err();
    assert!(matches!(error, Error::Attach { .. }), "{error}");
}

#[test]
fn a_pin_keeps_a_link() {
    let Some(kernel) = kernel() else { return };
    let Some(path) = pin_path("keep") else { return };
    let loaded = load_object(&kernel, "iter", &[], &["tasks"]);
    let tasks = loaded.prog("tasks").unwrap();
    let mut link = attach::iter(&kernel, tasks, &IterOpts::default()).unwrap();
    link.pin(&path).unwrap();
    assert!(link.pin(path.with_extension("")).is_err(), "once is enough");
    let mut other = attach::iter(&kernel, tasks, &IterOpts::default()).unwrap();
    let error = other.pin(&path).unwrap_err();
    assert_eq!(
        (error.errno().and_then(sys::Errno::name), error.fault()),
        (Some("EEXIST"), Fault::Input),
        "{error}"
    );
    let id = link.info().unwrap().id;
    drop(link);
    let link = Link::open_pinned(&path).unwrap();
    assert_eq!(link.info().unwrap().id, id);
    assert!(!link.read_iter().unwrap().is_empty());
    link.detach().unwrap();
    assert!(!path.exists());
    assert!(matches!(Link::open_pinned(&path), Err(Error::Pin { .. })));
    assert!(matches!(other.unpin(), Err(Error::LinkOp { .. })));
}

#[test]
fn pins_that_are_no_links() {
    let Some(kernel) = kernel() else { return };
    let Some(path) = pin_path("map") else { return };
    let loaded = load_object(&kernel, "iter", &[], &["tasks"]);
    let c_path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    sys::pin(loaded.map("squares").unwrap().as_fd(), &c_path).unwrap();
    let error = Link::open_pinned(&path).unwrap_err();
    let kind = pinned_object(&path).map(|(_, kind)| kind);
    std::fs::remove_file(&path).unwrap();
    assert!(error.to_string().contains("a map is pinned there"), "{error}");
    assert_eq!(kind.unwrap(), "map");
    let mut link =
        attach::iter(&kernel, loaded.prog("tasks").unwrap(), &IterOpts::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        (folder.path().join("link"), "is in no BPF file system"),
        (PathBuf::from("/sys/fs/bpf/stylet.dots"), "no dots"),
        (PathBuf::from("/sys/fs/bpf/stylet_no_such_folder/link"), "no such directory"),
        (PathBuf::from("/sys/fs/bpf/a\0b"), "NUL"),
    ] {
        let error = link.pin(&path).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(link.pinned(), None);
    }
}

#[test]
fn sampling_this_thread() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "sampling", &[], &["sample", "sample_with_cookie"]);
    for method in [PerfMethod::Link, PerfMethod::Ioctl, PerfMethod::Auto] {
        let before = helpers::global(&loaded, "samples");
        let opts = PerfEventOpts {
            pid: Some(0),
            method,
            ..PerfEventOpts::cpu_clock(Sampling::Period(100_000))
        };
        let link = match attach::perf_event(&kernel, loaded.prog("sample").unwrap(), &opts) {
            Ok(link) => link,
            Err(error @ (Error::Denied { .. } | Error::Missing { .. })) => {
                return eprintln!("skipped: {error}");
            }
            Err(error) => panic!("{error}"),
        };
        helpers::spin_until(|| helpers::global(&loaded, "samples") > before + 3);
        assert_eq!(helpers::global(&loaded, "period"), 100_000);
        if method == PerfMethod::Link {
            let info = link.info().unwrap();
            assert_eq!(info.link_type, LinkType::PERF_EVENT);
            assert!(
                matches!(info.details, LinkDetails::Event { event_config: 0, cookie: 0, .. }),
                "{info:?}"
            );
        } else if method == PerfMethod::Ioctl {
            assert!(!link.is_kernel_link());
            let mut link = link;
            assert!(matches!(link.pin("/sys/fs/bpf/stylet_event"), Err(Error::LinkOp { .. })));
        }
    }
    let opts = PerfEventOpts {
        pid: Some(0),
        cookie: 0xfeed_beef,
        ..PerfEventOpts::cpu_clock(Sampling::Frequency(1000))
    };
    let link =
        attach::perf_event(&kernel, loaded.prog("sample_with_cookie").unwrap(), &opts).unwrap();
    helpers::spin_until(|| helpers::global(&loaded, "cookie") == 0xfeed_beef);
    // Sampling obeys.
    link.disable().unwrap();
    let stopped = helpers::global(&loaded, "samples");
    helpers::spin_for_a_while();
    assert_eq!(helpers::global(&loaded, "samples"), stopped);
    link.enable().unwrap();
    helpers::spin_until(|| helpers::global(&loaded, "samples") > stopped);
    let details = link.info().unwrap().details;
    assert!(matches!(details, LinkDetails::Event { cookie: 0xfeed_beef, .. }), "{details:?}");
}

#[test]
fn programs_of_another_kind_are_refused() {
    let Some(kernel) = kernel() else { return };
    let loaded = load_object(&kernel, "iter", &[], &["tasks"]);
    let tasks = loaded.prog("tasks").unwrap();
    for error in [
        attach::raw_tracepoint(&kernel, tasks, &Default::default()).unwrap_err(),
        attach::tracepoint(&kernel, tasks, &Default::default()).unwrap_err(),
        attach::tracing(&kernel, tasks, &Default::default()).unwrap_err(),
        attach::lsm(&kernel, tasks, &Default::default()).unwrap_err(),
        attach::perf_event(&kernel, tasks, &PerfEventOpts::cpu_clock(Sampling::Period(1)))
            .unwrap_err(),
    ] {
        assert!(matches!(error, Error::Attach { errno: None, .. }), "{error}");
        assert_eq!(error.fault(), Fault::Input);
    }
}
