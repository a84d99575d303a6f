//! kprobe.multi and uprobe.multi: several places, cookies, returns, patterns, a thousand places in one call.

use std::collections::HashMap;

use stylet_kernel::attach::{
    Functions, KprobeMultiOpts, Places, UprobeMultiOpts, kprobe_multi, uprobe_multi,
};
use stylet_kernel::symbols::matching_functions;
use stylet_kernel::{Error, Feature, Unprobeable};
use stylet_symbols::ElfImage;

use super::uprobe::{breakpoints, own_offset};
use crate::guest::Guest;
use crate::probe::{Probes, refused};
use crate::target::{Caller, MANY, call_many, semaphore, semaphore_address, vmtest_add, vmtest_six, vmtest_sub};
use crate::test::{Failure, Outcome, Test};

/// kprobe.multi is in 5.18, but wants fprobe, which Debian's kernels have since 6.12.
const FPROBE: &str = "CONFIG_FPROBE";

pub const TESTS: &[Test] = &[
    Test::new("kprobe_names", kprobe_names).since(5, 18).config(FPROBE),
    Test::new("kprobe_addresses", kprobe_addresses).since(5, 18).config(FPROBE),
    Test::new("kprobe_pattern", kprobe_pattern).since(5, 18).config(FPROBE).limit(120),
    Test::new("kprobe_thousand", kprobe_thousand).since(5, 18).config(FPROBE).limit(120),
    Test::new("kprobe_refusals", kprobe_refusals).since(5, 18).config(FPROBE),
    Test::new("uprobe_functions", uprobe_functions).since(6, 6),
    Test::new("uprobe_pattern", uprobe_pattern).since(6, 6),
    Test::new("uprobe_counters", uprobe_counters).since(6, 6),
    Test::new("uprobe_thousand", uprobe_thousand).since(6, 6).limit(120),
    Test::new("uprobe_refusals", uprobe_refusals).since(6, 6),
];

/// Functions that only the test calls.
const NAMES: [&str; 3] = ["__x64_sys_getppid", "__x64_sys_getuid", "__x64_sys_getgid"];

/// Calls them once, twice, three times.
fn call_them() {
    for (number, times) in [(libc::SYS_getppid, 1), (libc::SYS_getuid, 2), (libc::SYS_getgid, 3)] {
        for _ in 0..times {
            // SAFETY: takes nothing.
            unsafe { libc::syscall(number) };
        }
    }
}

fn names() -> Functions {
    Functions::Names(NAMES.map(str::to_owned).to_vec())
}

fn kprobe_names(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "kmulti")?;
    for (name, ret) in [("entry", false), ("ret", true)] {
        let opts = KprobeMultiOpts { ret, cookies: vec![0x11, 0x12, 0x13], ..KprobeMultiOpts::new(names()) };
        let link = kprobe_multi(probes.kernel, probes.prog(name)?, &opts)?;
        probes.watch(std::process::id(), false)?;
        call_them();
        let (entry, returned) = probes.seen()?;
        let (side, other) = if ret { (returned, entry) } else { (entry, returned) };
        assert_eq!((side.hits, &side.by_cookie[..4], other.hits), (6, &[0, 1, 2, 3][..], 0));
        if ret {
            assert_eq!(side.rc, 0, "getgid of root");
        }
        link.detach()?;
        call_them();
        let (entry, returned) = probes.seen()?;
        assert_eq!(entry.hits + returned.hits, 6, "after detach");
    }
    Ok(())
}

fn kprobe_addresses(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "kmulti")?;
    let symbols = probes.kernel.symbols()?;
    let named = symbols.iter().filter(|symbol| NAMES.contains(&symbol.name));
    let addresses: HashMap<&str, u64> = named.map(|symbol| (symbol.name, symbol.addr)).collect();
    let functions = Functions::Addresses(NAMES.iter().map(|name| addresses[name]).collect());
    let opts = KprobeMultiOpts { cookies: vec![1, 2, 3], ..KprobeMultiOpts::new(functions) };
    let _link = kprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    probes.watch(std::process::id(), false)?;
    call_them();
    assert_eq!(probes.seen()?.0.by_cookie[..4], [0, 1, 2, 3]);
    Ok(())
}

/// A pattern of hundreds of functions: all system calls.
fn kprobe_pattern(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "kmulti")?;
    let pattern = "__x64_sys_*";
    let opts = KprobeMultiOpts::new(Functions::Pattern(pattern.into()));
    let link = kprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    let count = matching_functions(probes.kernel, pattern)?.len();
    assert!(count >= 300, "{count} functions");
    probes.watch(std::process::id(), false)?;
    // A system call without arguments has several names, and the list another one than this.
    let call = || {
        for _ in 0..3 {
            let _ = rustix::process::getpgid(None);
        }
    };
    call();
    let hits = probes.seen()?.0.hits;
    // Besides the three, only the one that reads the count.
    assert!((3..=4).contains(&hits), "{hits} hits");
    drop(link);
    probes.watch(std::process::id(), false)?;
    call();
    assert_eq!(probes.seen()?.0.hits, 0);
    let nothing = KprobeMultiOpts::new(Functions::Pattern("no_such_*_function".into()));
    let error = refused(kprobe_multi(probes.kernel, probes.prog("entry")?, &nothing))?;
    assert!(matches!(error, Error::NoFunction { .. }), "{error}");
    Ok(())
}

fn kprobe_thousand(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "kmulti")?;
    let all = matching_functions(probes.kernel, "*_show")?;
    let functions: Vec<u64> = all.iter().map(|function| function.addr).take(1000).collect();
    assert_eq!(functions.len(), 1000);
    let opts = KprobeMultiOpts::new(Functions::Addresses(functions));
    let _link = kprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    Ok(())
}

fn kprobe_refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "kmulti")?;
    probes.kernel.require(Feature::KprobeMulti)?;
    let attach = |opts: &KprobeMultiOpts| {
        refused(kprobe_multi(probes.kernel, probes.prog("entry")?, opts))
    };
    let named = |names: &[&str]| {
        KprobeMultiOpts::new(Functions::Names(names.iter().map(ToString::to_string).collect()))
    };
    match attach(&named(&["vfs_write", "vfs_raed"]))? {
        Error::NoFunction { name, near } => {
            assert_eq!(name, "vfs_raed");
            assert!(near.contains(&"vfs_read".to_owned()), "{near:?}");
        }
        Error::Missing { .. } => return Err(Failure::new("missing, though it loads")),
        other => return Err(other.into()),
    }
    match attach(&named(&["vfs_write", "copy_page"]))? {
        Error::Unprobeable { function, why: Unprobeable::NoTrace, .. } => assert_eq!(function, "copy_page"),
        other => return Err(other.into()),
    }
    let error = attach(&KprobeMultiOpts { cookies: vec![1], ..named(&["vfs_read", "vfs_write"]) })?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    let error = attach(&KprobeMultiOpts::new(Functions::Addresses(vec![8])))?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    let error = attach(&named(&[]))?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    Ok(())
}

fn on(guest: &Guest, places: Places) -> UprobeMultiOpts {
    UprobeMultiOpts::new(guest.exe().to_string_lossy(), places)
}

/// Calls `vmtest_add` once, `vmtest_sub` twice, `vmtest_six` three times.
fn call_functions(x: u64) -> u64 {
    vmtest_sub(vmtest_sub(vmtest_add(x, 1), 1), 1);
    (0..3).map(|i| vmtest_six(i, 0, 0, 0, 0, 7)).sum()
}

fn uprobe_functions(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "umulti")?;
    let functions = ["vmtest_add", "vmtest_sub", "vmtest_six"].map(str::to_owned).to_vec();
    let mut probed = Caller::start(call_functions)?;
    let mut other = Caller::start(call_functions)?;
    for (name, ret) in [("entry", false), ("ret", true)] {
        let opts = UprobeMultiOpts {
            ret,
            pid: probed.pid().cast_signed(),
            cookies: vec![0x21, 0x22, 0x23],
            ..on(guest, Places::Functions(functions.clone()))
        };
        let link = uprobe_multi(probes.kernel, probes.prog(name)?, &opts)?;
        probes.watch(0, false)?;
        probed.call(5)?;
        other.call(5)?;
        let (entry, returned) = probes.seen()?;
        let (side, other) = if ret { (returned, entry) } else { (entry, returned) };
        assert_eq!((side.hits, &side.by_cookie[..4], other.hits), (6, &[0, 1, 2, 3][..], 0));
        if ret {
            assert_eq!(side.rc, 2 + 6 * 7);
        } else {
            assert_eq!(side.args[0], 2);
        }
        link.detach()?;
        probed.call(5)?;
        let (entry, returned) = probes.seen()?;
        assert_eq!(entry.hits + returned.hits, 6, "after detach");
    }
    Ok(())
}

fn uprobe_pattern(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "umulti")?;
    let opts = on(guest, Places::Pattern("vmtest_many_4?2".into()));
    let _link = uprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    probes.watch(std::process::id(), false)?;
    call_many();
    assert_eq!(probes.seen()?.0.hits, 10);
    Ok(())
}

/// Each place its own counter: here one has, the other has not.
fn uprobe_counters(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "umulti")?;
    let exe = guest.exe();
    let image = ElfImage::open(&exe, &exe)?;
    let offset = |name: &str| -> Result<u64, Failure> {
        image.offset_of(image.func(name)?.vaddr).ok_or_else(|| Failure::new(name))
    };
    let offsets = vec![offset("vmtest_add")?, offset("vmtest_sub")?];
    let counter = own_offset(semaphore_address())?;
    let mut child = Caller::start(|_| semaphore())?;
    assert_eq!(child.call(0)?, 0);
    let opts = UprobeMultiOpts { ref_ctr_offsets: vec![counter, 0], ..on(guest, Places::Offsets(offsets.clone())) };
    let link = uprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    assert_eq!(child.call(0)?, breakpoints(&child, offsets[0])?);
    drop(link);
    assert_eq!(child.call(0)?, 0);
    Ok(())
}

fn uprobe_thousand(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "umulti")?;
    let opts = on(guest, Places::Pattern("vmtest_many_*".into()));
    let link = uprobe_multi(probes.kernel, probes.prog("entry")?, &opts)?;
    probes.watch(std::process::id(), false)?;
    assert_eq!(call_many(), (0..MANY).sum::<u64>());
    assert_eq!(probes.seen()?.0.hits, MANY);
    drop(link);
    call_many();
    assert_eq!(probes.seen()?.0.hits, MANY);
    Ok(())
}

fn uprobe_refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "umulti")?;
    probes.kernel.require(Feature::UprobeMulti)?;
    let attach = |opts: &UprobeMultiOpts| {
        refused(uprobe_multi(probes.kernel, probes.prog("entry")?, opts))
    };
    let add = || Places::Functions(vec!["vmtest_add".into()]);
    let error = attach(&UprobeMultiOpts { pid: i32::MAX, ..on(guest, add()) })?;
    assert!(matches!(error, Error::NoProcess { .. }), "{error}");
    let error = attach(&on(guest, Places::Pattern("vmtest_none_*".into())))?;
    assert!(matches!(error, Error::Symbols(stylet_symbols::Error::NoSymbol { .. })), "{error}");
    let error = attach(&on(guest, Places::Offsets(vec![1 << 40])))?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    let error = attach(&UprobeMultiOpts { cookies: vec![1, 2], ..on(guest, add()) })?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    Ok(())
}
