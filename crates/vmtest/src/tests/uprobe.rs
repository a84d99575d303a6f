//! uprobes and uretprobes by each method: arguments, return values, cookies, processes, reference counters.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use stylet_kernel::Error;
use stylet_kernel::attach::{Method, UprobeOpts, UprobePlace, uprobe};
use stylet_symbols::{ElfImage, Maps};

use crate::guest::Guest;
use crate::probe::{Probes, our_events, refused};
use crate::target::{Caller, vmtest_add, vmtest_sub};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("tracefs", |guest| hits(guest, Method::Tracefs)),
    Test::new("perf_ioctl", |guest| hits(guest, Method::PerfIoctl)),
    // Linux 5.15: bpf_perf_link_attach, bpf_get_attach_cookie.
    Test::new("perf_link", |guest| hits(guest, Method::PerfLink)).since(5, 15),
    Test::new("auto", |guest| hits(guest, Method::Auto)),
    Test::new("cookie_link", |guest| cookies(guest, Method::PerfLink)).since(5, 15),
    Test::new("cookie_tracefs", |guest| cookies(guest, Method::Tracefs)).since(5, 15),
    Test::new("pid", one_process),
    Test::new("ref_ctr", ref_ctr),
    Test::new("places", places),
    Test::new("refusals", refusals),
];

/// The kernel counts here while a probe with this reference counter is there.
static COUNTER: AtomicU16 = AtomicU16::new(0);

fn opts(guest: &Guest, name: &str) -> UprobeOpts {
    UprobeOpts::function(guest.exe().to_string_lossy(), name)
}

fn hits(guest: &Guest, method: Method) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let mut child = Caller::start(|x| vmtest_add(x, 30))?;
    for (name, ret) in [("entry", false), ("ret", true)] {
        let opts = UprobeOpts { ret, method, ..opts(guest, "vmtest_add") };
        let link = uprobe(probes.kernel, probes.prog(name)?, &opts)?;
        if method == Method::Tracefs {
            assert_eq!(our_events().len(), 1);
        }
        probes.watch(child.pid(), false)?;
        for x in [10, 11, 12] {
            assert_eq!(child.call(x)?, x + 30);
        }
        let (entry, returned) = probes.seen()?;
        if ret {
            assert_eq!((entry.hits, returned.hits, returned.rc), (0, 3, 42));
        } else {
            assert_eq!((entry.hits, returned.hits, &entry.args[..2]), (3, 0, &[12, 30][..]));
        }
        link.detach()?;
        probes.watch(child.pid(), false)?;
        child.call(1)?;
        let (entry, returned) = probes.seen()?;
        assert_eq!((entry.hits, returned.hits), (0, 0), "after detach");
        assert_eq!(our_events(), [""; 0]);
    }
    Ok(())
}

fn cookies(guest: &Guest, method: Method) -> Outcome {
    let plain = Probes::load(guest, "probe")?;
    let opts = |ret, cookie| UprobeOpts { ret, cookie, method, ..opts(guest, "vmtest_add") };
    drop(uprobe(plain.kernel, plain.prog("entry")?, &opts(false, 1))?);
    let probes = Probes::load(guest, "cookie")?;
    let attach = |name, ret, cookie| {
        uprobe(probes.kernel, probes.prog(name)?, &opts(ret, cookie)).map_err(Failure::from)
    };
    let links =
        [attach("entry", false, 0x1001)?, attach("entry", false, 0x1002)?, attach("ret", true, 0x2003)?];
    probes.watch(0, false)?;
    Caller::start(|x| vmtest_add(x, 1))?.call(7)?;
    let (entry, returned) = probes.seen()?;
    assert_eq!((entry.by_cookie[1], entry.by_cookie[2]), (1, 1));
    assert_eq!((returned.hits, returned.rc, returned.cookie), (1, 8, 0x2003));
    drop(links);
    Ok(())
}

fn one_process(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let mut probed = Caller::start(|x| vmtest_add(x, 1))?;
    let mut other = Caller::start(|x| vmtest_add(x, 2))?;
    for method in [Method::Tracefs, Method::PerfIoctl] {
        let pid = probed.pid().cast_signed();
        let opts = UprobeOpts { pid, method, ..opts(guest, "vmtest_add") };
        let link = uprobe(probes.kernel, probes.prog("entry")?, &opts)?;
        probes.watch(0, false)?;
        probed.call(1)?;
        other.call(1)?;
        probed.call(2)?;
        assert_eq!(probes.seen()?.0.hits, 2, "{method:?}");
        drop(link);
        let own = UprobeOpts { pid: stylet_kernel::attach::THIS_PROCESS, ..opts };
        let link = uprobe(probes.kernel, probes.prog("entry")?, &own)?;
        probes.watch(0, false)?;
        probed.call(1)?;
        vmtest_add(5, 6);
        other.call(1)?;
        let (entry, _) = probes.seen()?;
        assert_eq!((entry.hits, &entry.args[..2]), (1, &[5, 6][..]), "{method:?}");
        drop(link);
    }
    Ok(())
}

/// File offset of something that this program has mapped.
pub fn own_offset(address: u64) -> Result<u64, Failure> {
    let maps = Maps::of(std::process::id().cast_signed())?;
    let map = maps.at(address).ok_or("not mapped").map_err(Failure::new)?;
    Ok(address - map.start + map.offset)
}

/// In how many places a child process has a probe at this offset of the program: two where the linker has put the end of one
/// segment and the start of the next into one page, as both mappings then have that page (`valid_vma` of the kernel).
pub fn breakpoints(child: &Caller, offset: u64) -> Result<u64, Failure> {
    let exe = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid()))?;
    let holds = |line: &&str| -> Option<bool> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (start, end) = words[0].split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end, from) = (hex(start)?, hex(end)?, hex(words[2])?);
        let is_ours = words.get(5).is_some_and(|path| Path::new(path) == exe);
        let may_hold = is_ours && words[1].ends_with('p') && !words[1].contains('w');
        Some(may_hold && (from..from + (end - start)).contains(&offset))
    };
    Ok(maps.lines().filter(|line| holds(line) == Some(true)).count() as u64)
}

fn ref_ctr(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let mut child = Caller::start(|x| vmtest_add(x, 0) + u64::from(COUNTER.load(Ordering::SeqCst)))?;
    // Written once, so that the page is the process's own, as a semaphore's is.
    assert_eq!(child.call(100)?, 100);
    let offset = own_offset(std::ptr::from_ref(&COUNTER) as u64)?;
    let once = breakpoints(&child, own_offset(vmtest_add as *const () as u64)?)?;
    assert!(once >= 1);
    for method in [Method::Tracefs, Method::PerfIoctl] {
        let opts = UprobeOpts { ref_ctr_offset: offset, method, ..opts(guest, "vmtest_add") };
        let attach = || uprobe(probes.kernel, probes.prog("entry")?, &opts).map_err(Failure::from);
        let links = [attach()?, attach()?];
        // However many probes share the place, the kernel counts once for each process.
        assert_eq!(child.call(100)?, 100 + once, "{method:?}");
        drop(links);
        assert_eq!(child.call(100)?, 100, "{method:?}");
    }
    Ok(())
}

/// By offset of the file, and in a file whose path holds a blank.
fn places(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let exe = guest.exe();
    let image = ElfImage::open(&exe, &exe)?;
    let func = image.func("vmtest_sub")?;
    let offset = image.offset_of(func.vaddr).ok_or("no offset").map_err(Failure::new)?;
    let copy = "/tmp/a program";
    std::fs::create_dir_all("/tmp")?;
    std::fs::copy(&exe, copy)?;
    for method in [Method::Tracefs, Method::PerfIoctl] {
        let opts = UprobeOpts { method, ..UprobeOpts::offset(exe.to_string_lossy(), offset) };
        let link = uprobe(probes.kernel, probes.prog("entry")?, &opts)?;
        probes.watch(std::process::id(), false)?;
        vmtest_sub(9, 4);
        let (entry, _) = probes.seen()?;
        assert_eq!((entry.hits, &entry.args[..2]), (1, &[9, 4][..]), "{method:?}");
        drop(link);
        let opts = UprobeOpts { path: copy.into(), ..opts };
        drop(uprobe(probes.kernel, probes.prog("entry")?, &opts)?);
    }
    std::fs::remove_file(copy)?;
    assert_eq!(our_events(), [""; 0]);
    Ok(())
}

fn refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let attach = |opts: &UprobeOpts| refused(uprobe(probes.kernel, probes.prog("entry")?, opts));
    match attach(&opts(guest, "vmtest_ad"))? {
        Error::Symbols(stylet_symbols::Error::NoSymbol { near, .. }) => {
            assert!(near.contains(&"vmtest_add".to_owned()), "{near:?}");
        }
        other => return Err(other.into()),
    }
    let error = attach(&UprobeOpts::function("/no/such", "f"))?;
    assert!(matches!(error, Error::Symbols(stylet_symbols::Error::NoFile { .. })), "{error}");
    for method in [Method::Tracefs, Method::PerfIoctl] {
        let error = attach(&UprobeOpts { pid: i32::MAX, method, ..opts(guest, "vmtest_add") })?;
        assert!(matches!(error, Error::NoProcess { .. }), "{error}");
        let path = guest.exe().to_string_lossy().into_owned();
        let error = attach(&UprobeOpts { method, ..UprobeOpts::offset(path, 1 << 40) })?;
        assert!(matches!(error, Error::Attach { .. }), "{error}");
    }
    let place = UprobePlace::Function { name: "vmtest_add".into(), offset: 1 };
    let error = attach(&UprobeOpts { place, ret: true, ..opts(guest, "vmtest_add") })?;
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    assert_eq!(our_events(), [""; 0]);
    Ok(())
}
