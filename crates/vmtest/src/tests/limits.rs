//! Where something is in the way: rights, limits, file systems that are not mounted, taken names, functions that are not what
//! their names say.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_thread_res_uid};
use stylet_btf::{Kind, Type};
use stylet_kernel::attach::{
    self, KprobeOpts, Method, PerfMethod, RawTpOpts, TracepointOpts, UprobeOpts, kprobe, uprobe,
};
use stylet_kernel::{Error, Kernel, LoadOptions, Release, Unprobeable, load};
use stylet_object::Spec;

use super::raw_tp;
use crate::guest::Guest;
use crate::probe::{Probes, our_events, refused};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("attach_without_rights", attach_without_rights),
    Test::new("locked_memory", locked_memory),
    Test::new("tracefs_not_mounted", tracefs_not_mounted),
    Test::new("bpffs_not_mounted", bpffs_not_mounted),
    Test::new("taken_event_name", taken_event_name),
    Test::new("inlined_or_cloned", inlined_or_cloned),
];

/// Runs `body` as somebody else, without any capability.
fn as_nobody<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    let (root, nobody) = (Uid::ROOT, Uid::from_raw(65534));
    set_thread_res_uid(root, nobody, root)?;
    let result = body();
    set_thread_res_uid(root, root, root)?;
    Ok(result)
}

/// Makes the file systems' mounts those of this process alone.
fn own_mounts() -> Outcome {
    // SAFETY: plain system call; the process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

fn vfs_read(method: Method) -> KprobeOpts {
    KprobeOpts { method, ..KprobeOpts::function("vfs_read") }
}

/// Programs that root has loaded, attached by somebody else. (A raw tracepoint asks for no more rights than its program.)
fn attach_without_rights(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let probes = Probes::load(guest, "probe")?;
    let traced = raw_tp::object(guest)?.load(kernel, &["tp"])?;
    let (entry, tp) = (probes.prog("entry")?, &traced.progs[0]);
    let exe = guest.exe().to_string_lossy().into_owned();
    let errors = as_nobody(|| {
        [
            ("kprobe", kprobe(kernel, entry, &vfs_read(Method::PerfIoctl))),
            ("kprobe by tracefs", kprobe(kernel, entry, &vfs_read(Method::Tracefs))),
            ("uprobe", uprobe(kernel, entry, &UprobeOpts::function(&*exe, "vmtest_add"))),
            (
                "tracepoint",
                attach::tracepoint(
                    kernel,
                    tp,
                    &TracepointOpts { method: PerfMethod::Ioctl, ..TracepointOpts::default() },
                ),
            ),
        ]
    })?;
    for (what, result) in errors {
        match refused(result).map_err(|_| Failure::new(format!("{what} is attached")))? {
            Error::Denied { advice, .. } => assert!(advice.contains("needs root"), "{what}: {advice}"),
            Error::Tracefs { why, .. } => assert!(why.contains("root"), "{what}: {why}"),
            other => return Err(Failure::new(format!("{what}: {other:?}"))),
        }
    }
    assert_eq!(our_events(), [""; 0]);
    Ok(())
}

/// Up to 5.10 maps count as locked memory: the limit is raised as far as it may be, and named where that is not enough.
fn locked_memory(guest: &Guest) -> Outcome {
    let tiny = Some(4096);
    setrlimit(Resource::Memlock, Rlimit { current: tiny, maximum: tiny })?;
    let spec = Spec::parse(&guest.object("probe")?)?;
    // Who may raise limits has none.
    load(&Kernel::open()?, &spec, &LoadOptions::default())?;
    setrlimit(Resource::Memlock, Rlimit { current: tiny, maximum: tiny })?;
    let mut sets = capabilities(None)?;
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, sets)?;
    let loaded = load(&Kernel::open()?, &spec, &LoadOptions::default());
    if guest.release() >= Release::new(5, 11) {
        loaded?;
        return Ok(());
    }
    match loaded {
        Err(Error::Denied { advice, .. }) if advice.contains("ulimit -l") => Ok(()),
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

/// Mounted where it belongs by who may; who may not is told how.
fn tracefs_not_mounted(guest: &Guest) -> Outcome {
    let kernel = Kernel::open()?;
    let spec = Spec::parse(&guest.object("probe")?)?;
    let loaded = load(&kernel, &spec, &LoadOptions::default())?;
    let entry = loaded.prog("entry").ok_or_else(|| Failure::new("entry"))?;
    own_mounts()?;
    for place in ["/sys/kernel/debug", "/sys/kernel/tracing"] {
        while unmount(place, UnmountFlags::DETACH).is_ok() {}
    }
    assert!(!Path::new("/sys/kernel/tracing/events").exists());
    let opts = vfs_read(Method::Tracefs);
    match as_nobody(|| refused(kprobe(&kernel, entry, &opts)))?? {
        Error::Tracefs { why, .. } => {
            assert!(why.contains("mount -t tracefs tracefs /sys/kernel/tracing"), "{why}");
        }
        other => return Err(other.into()),
    }
    drop(kprobe(&kernel, entry, &opts)?);
    assert!(Path::new("/sys/kernel/tracing/events").exists());
    Ok(())
}

/// As with tracefs.
fn bpffs_not_mounted(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = raw_tp::object(guest)?.load(kernel, &["raw"])?;
    let mut link = attach::raw_tracepoint(kernel, &loaded.progs[0], &RawTpOpts::default())?;
    own_mounts()?;
    while unmount("/sys/fs/bpf", UnmountFlags::DETACH).is_ok() {}
    let pin = "/sys/fs/bpf/vmtest_private";
    let error = as_nobody(|| link.pin(pin))?.err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|e| e.contains("mount -t bpf")), "{error:?}");
    link.pin(pin)?;
    assert!(Path::new(pin).exists());
    link.detach()?;
    Ok(())
}

/// A name that somebody else has is left to them.
fn taken_event_name(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let attach = || kprobe(probes.kernel, probes.prog("entry")?, &vfs_read(Method::Tracefs)).map_err(Failure::from);
    let first = attach()?;
    let events = our_events();
    let name = events[0].split([':', ' ']).nth(1).unwrap_or_default();
    // `stylet/pPID_START_NAMESPACE_NUMBER_vfs_read`
    let parts: Vec<&str> = name.splitn(5, '_').collect();
    let number: u32 = parts[3].parse()?;
    let numbered = |n: u32| format!("{}_{}_{}_{n}_{}", parts[0], parts[1], parts[2], parts[4]);
    let mut list = OpenOptions::new().append(true).open("/sys/kernel/tracing/kprobe_events")?;
    let taken = numbered(number + 1);
    list.write_all(format!("p:{taken} vfs_write\n").as_bytes())?;
    let second = attach()?;
    let events = our_events();
    let others: Vec<&String> = events.iter().filter(|event| event.contains("vfs_write")).collect();
    assert_eq!(others, [&format!("p:{taken} vfs_write")]);
    assert!(events.iter().any(|event| event.contains(&numbered(number + 2))), "{events:?}");
    probes.watch(std::process::id(), false)?;
    let mut byte = [0];
    rustix::io::read(std::fs::File::open("/dev/zero")?, &mut byte)?;
    assert_eq!(probes.seen()?.0.hits, 2);
    drop(first);
    assert_eq!(our_events().len(), 2, "after the first is gone");
    drop(second);
    assert_eq!(our_events(), [format!("p:{taken} vfs_write")]);
    list.write_all(format!("-:{taken}\n").as_bytes())?;
    Ok(())
}

/// A name of the source that the compiler has put elsewhere is not called a typing error.
fn inlined_or_cloned(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let symbols = probes.kernel.symbols()?;
    let names: HashSet<&str> = symbols.iter().map(|symbol| symbol.name).collect();
    let why = |name: &str| -> Result<Unprobeable, Failure> {
        match refused(kprobe(probes.kernel, probes.prog("entry")?, &KprobeOpts::function(name)))? {
            Error::Unprobeable { function, why, .. } if function == name => Ok(why),
            other => Err(other.into()),
        }
    };
    let code = symbols.iter().filter(|symbol| symbol.is_code() && symbol.module.is_none());
    let cloned = code.filter_map(|symbol| symbol.name.split_once(".isra.").map(|(name, _)| (name, symbol.name)));
    let (name, clone) = cloned
        .filter(|(name, _)| !names.contains(name))
        .min()
        .ok_or_else(|| Failure::new("no function has a clone instead of itself"))?;
    match why(name)? {
        Unprobeable::Cloned { names } => assert!(names.iter().any(|n| n == clone), "{names:?}"),
        other => return Err(Failure::new(format!("{name}: {other:?}"))),
    }
    // Types tell of functions that the linker has dropped or the compiler has put into others.
    let btf = probes.kernel.require_vmlinux()?;
    let mut known = btf.types().filter(|(_, ty)| ty.kind() == Kind::Func).filter_map(|(_, ty)| match ty {
        Type::Func(func) => Some(btf.name(func.name_off)),
        _ => None,
    });
    let cloned: HashSet<&str> =
        names.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    if let Some(name) = known.find(|name| !names.contains(name) && !cloned.contains(name)) {
        assert_eq!(why(name)?, Unprobeable::Inlined, "{name}");
    }
    Ok(())
}
