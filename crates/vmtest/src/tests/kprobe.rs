//! kprobes and kretprobes by each method, with arguments, return values and cookies; what cannot be probed, and why.

use std::time::{Duration, Instant};

use stylet_kernel::attach::tracefs::leftovers;
use stylet_kernel::attach::{KprobeOpts, KprobePlace, Method, kprobe};
use stylet_kernel::symbols::not_traceable;
use stylet_kernel::{Error, Unprobeable};

use crate::guest::Guest;
use crate::probe::{Probes, our_events, refused};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("tracefs", |guest| hits(guest, Method::Tracefs)),
    Test::new("perf_ioctl", |guest| hits(guest, Method::PerfIoctl)),
    // Linux 5.15: bpf_perf_link_attach, bpf_get_attach_cookie.
    Test::new("perf_link", |guest| hits(guest, Method::PerfLink)).since(5, 15),
    Test::new("auto", |guest| hits(guest, Method::Auto)),
    Test::new("cookie_link", |guest| cookies(guest, Method::PerfLink)).since(5, 15),
    Test::new("cookie_tracefs", |guest| cookies(guest, Method::Tracefs)).since(5, 15),
    Test::new("cookie_auto", |guest| cookies(guest, Method::Auto)).since(5, 15),
    Test::new("places", places),
    Test::new("module", module),
    Test::new("refusals", refusals),
    Test::new("switched_off", switched_off),
    Test::new("leftovers", leftovers_of_the_dead),
];

/// `count` of the reads that are probed: nothing else reads so many bytes.
const COUNT: usize = 4242;

/// Reads from /dev/zero, so that `vfs_read` has COUNT as its third argument and as its result.
fn read(times: usize) -> Result<(), Failure> {
    let zero = std::fs::File::open("/dev/zero")?;
    let mut buffer = [0; COUNT];
    for _ in 0..times {
        rustix::io::read(&zero, &mut buffer)?;
    }
    Ok(())
}

fn vfs_read(ret: bool, method: Method) -> KprobeOpts {
    KprobeOpts { ret, method, ..KprobeOpts::function("vfs_read") }
}

fn hits(guest: &Guest, method: Method) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    for (name, ret) in [("entry", false), ("ret", true)] {
        let link = kprobe(probes.kernel, probes.prog(name)?, &vfs_read(ret, method))?;
        if method == Method::Tracefs {
            assert_eq!(our_events().len(), 1);
        }
        probes.watch(std::process::id(), false)?;
        read(3)?;
        let (entry, returned) = probes.seen()?;
        if ret {
            assert_eq!((entry.hits, returned.hits, returned.rc), (0, 3, COUNT as u64));
        } else {
            assert_eq!((entry.hits, returned.hits, entry.args[2]), (3, 0, COUNT as u64));
        }
        link.detach()?;
        probes.watch(std::process::id(), false)?;
        read(1)?;
        let (entry, returned) = probes.seen()?;
        assert_eq!((entry.hits, returned.hits), (0, 0), "after detach");
        assert_eq!(our_events(), [""; 0]);
    }
    Ok(())
}

fn cookies(guest: &Guest, method: Method) -> Outcome {
    // Before 5.15 no program that asks for its cookie loads: the attach must say so first.
    let plain = Probes::load(guest, "probe")?;
    let opts = |ret, cookie| KprobeOpts { cookie, ..vfs_read(ret, method) };
    drop(kprobe(plain.kernel, plain.prog("entry")?, &opts(false, 1))?);
    let probes = Probes::load(guest, "cookie")?;
    let attach = |name, ret, cookie| {
        kprobe(probes.kernel, probes.prog(name)?, &opts(ret, cookie)).map_err(Failure::from)
    };
    // Two probes on one function, told apart by their cookies.
    let links =
        [attach("entry", false, 0x1001)?, attach("entry", false, 0x1002)?, attach("ret", true, 0x2003)?];
    probes.watch(std::process::id(), false)?;
    read(2)?;
    let (entry, returned) = probes.seen()?;
    assert_eq!((entry.hits, returned.hits, returned.cookie), (4, 2, 0x2003));
    assert_eq!((entry.by_cookie[1], entry.by_cookie[2]), (2, 2));
    drop(links);
    assert_eq!(our_events(), [""; 0]);
    let ioctl = KprobeOpts { cookie: 1, ..vfs_read(false, Method::PerfIoctl) };
    let error = refused(kprobe(probes.kernel, probes.prog("entry")?, &ioctl))?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    Ok(())
}

/// By address, and behind the function's first instructions.
fn places(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let symbols = probes.kernel.symbols()?;
    let address = symbols.iter().find(|symbol| symbol.name == "vfs_read").map_or(0, |s| s.addr);
    for method in [Method::Tracefs, Method::PerfIoctl] {
        // The call of ftrace takes 5 bytes; before it, `endbr64` takes 4 where the kernel has it.
        let inside = [5, 9].map(|offset| KprobePlace::Function { name: "vfs_read".into(), offset });
        let mut attached = 0;
        for place in inside.into_iter().chain([KprobePlace::Address(address)]) {
            let opts = KprobeOpts { place: place.clone(), ..vfs_read(false, method) };
            let link = match kprobe(probes.kernel, probes.prog("entry")?, &opts) {
                Err(Error::Unprobeable { why: Unprobeable::NotInstruction { .. }, .. }) => continue,
                other => other?,
            };
            attached += 1;
            probes.watch(std::process::id(), false)?;
            read(2)?;
            let (entry, _) = probes.seen()?;
            assert_eq!((entry.hits, entry.args[2]), (2, COUNT as u64), "{place} by {method:?}");
            drop(link);
        }
        assert!(attached >= 2, "{attached} places by {method:?}");
    }
    Ok(())
}

fn module(guest: &Guest) -> Outcome {
    guest.insmod("nbd", "nbds_max=1")?;
    let probes = Probes::load(guest, "probe")?;
    for method in [Method::Tracefs, Method::PerfIoctl] {
        for name in ["nbd_open", "nbd:nbd_open"] {
            let opts = KprobeOpts { method, ..KprobeOpts::function(name) };
            let link = kprobe(probes.kernel, probes.prog("entry")?, &opts)?;
            probes.watch(0, false)?;
            // Fails or not: the function is entered.
            let _ = std::fs::File::open("/dev/nbd0");
            assert!(probes.seen()?.0.hits >= 1, "{name} by {method:?}");
            drop(link);
        }
        let opts = KprobeOpts { method, ..KprobeOpts::function("nbd:vfs_read") };
        let error = refused(kprobe(probes.kernel, probes.prog("entry")?, &opts))?;
        assert!(matches!(error, Error::NoFunction { .. }), "{error}");
    }
    Ok(())
}

fn refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let prog = probes.prog("entry")?;
    let blacklist = std::fs::read_to_string("/sys/kernel/debug/kprobes/blacklist")?;
    let listed: Vec<&str> = blacklist.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    let mut counts = std::collections::HashMap::<&str, u32>::new();
    let symbols = probes.kernel.symbols()?;
    symbols.iter().for_each(|symbol| *counts.entry(symbol.name).or_default() += 1);
    let unique = |name: &&str| counts.get(*name) == Some(&1);
    let blacklisted = listed.iter().copied().find(unique).ok_or("no blacklisted function").map_err(Failure::new)?;
    // Assembler functions: ftrace has no call in them.
    let candidates = ["copy_page", "csum_partial_copy_generic", "copy_mc_fragile", "rep_movs_alternative"];
    let mut plain: Vec<&str> =
        candidates.into_iter().filter(unique).filter(|name| !listed.contains(name)).collect();
    plain = not_traceable(probes.kernel, &plain);
    assert!(!plain.is_empty());
    for method in [Method::Tracefs, Method::PerfIoctl] {
        let attach = |place: KprobePlace| {
            let what = format!("{method:?} at {place:?}: was attached");
            let opts = KprobeOpts { place, ..vfs_read(false, method) };
            refused(kprobe(probes.kernel, prog, &opts)).map_err(|_| Failure::new(what))
        };
        let function = |name: &str, offset| KprobePlace::Function { name: name.into(), offset };
        match attach(function("vfs_raed", 0))? {
            Error::NoFunction { near, .. } => assert!(near.contains(&"vfs_read".to_owned()), "{near:?}"),
            other => return Err(other.into()),
        }
        for (place, wanted) in [
            (function(blacklisted, 0), Unprobeable::Blacklisted),
            (function(plain[0], 0), Unprobeable::NoTrace),
            (function("vfs_read", 1), Unprobeable::NotInstruction { offset: 1 }),
        ] {
            match attach(place)? {
                Error::Unprobeable { why, .. } => assert_eq!(why, wanted),
                other => return Err(other.into()),
            }
        }
        // tracefs takes an address where nothing is for one of a module that is still to come.
        if method == Method::PerfIoctl {
            let error = attach(KprobePlace::Address(8))?;
            assert!(matches!(error, Error::Attach { .. }), "{error}");
        }
    }
    let error = refused(kprobe(
        probes.kernel,
        prog,
        &KprobeOpts {
            place: KprobePlace::Function { name: "vfs_read".into(), offset: 8 },
            ..vfs_read(true, Method::Auto)
        },
    ))?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    assert_eq!(our_events(), [""; 0]);
    Ok(())
}

fn switched_off(guest: &Guest) -> Outcome {
    let switch = "/sys/kernel/debug/kprobes/enabled";
    let probes = Probes::load(guest, "probe")?;
    std::fs::write(switch, "0")?;
    let error = refused(kprobe(probes.kernel, probes.prog("entry")?, &vfs_read(false, Method::Auto)));
    std::fs::write(switch, "1")?;
    assert!(matches!(error?, Error::KprobesDisabled { .. }));
    Ok(())
}

/// A process that is killed leaves its tracefs event; who comes next removes it, and no event of the living.
fn leftovers_of_the_dead(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let living = kprobe(probes.kernel, probes.prog("entry")?, &vfs_read(false, Method::Tracefs))?;
    // SAFETY: a test's process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let link = probes
            .prog("ret")
            .and_then(|prog| kprobe(probes.kernel, prog, &vfs_read(true, Method::Tracefs)).map_err(Failure::from));
        // SAFETY: waits for the signal that kills it, or ends without exit handlers.
        unsafe {
            if link.is_ok() {
                libc::pause();
            }
            libc::_exit(1)
        }
    }
    let pid = rustix::process::Pid::from_raw(child).ok_or("fork").map_err(Failure::new)?;
    let patience = Instant::now() + Duration::from_secs(30);
    while our_events().len() < 2 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(leftovers(probes.kernel)?, 0, "both live");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    assert_eq!(our_events().len(), 2, "{:?}", our_events());
    assert_eq!(leftovers(probes.kernel)?, 1);
    assert_eq!(our_events().len(), 1);
    drop(living);
    assert_eq!(our_events(), [""; 0]);
    Ok(())
}
