//! The guests are what the other tests take them for.

use std::path::Path;

use stylet_kernel::Release;

use crate::guest::Guest;
use crate::leftover;
use crate::target::{self, Caller};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("marker", marker),
    Test::new("files", files),
    Test::new("mounts", mounts),
    Test::new("config", config),
    Test::new("btf", btf),
    Test::new("pmus", pmus),
    Test::new("nbd_module", nbd_module),
    Test::new("caller", caller),
    Test::new("leftovers", leftovers),
];

/// The runner's own check: a test that passes.
fn marker(_: &Guest) -> Outcome {
    Ok(())
}

fn files(guest: &Guest) -> Outcome {
    assert_eq!(guest.exe(), Path::new("/init"));
    assert!(Path::new(&format!("/boot/config-{}", guest.kernel().running())).exists());
    assert!(guest.object("no_such_object").is_err());
    Ok(())
}

fn mounts(guest: &Guest) -> Outcome {
    for path in [
        "/proc/self/exe",
        "/dev/null",
        "/sys/kernel/tracing/kprobe_events",
        "/sys/kernel/tracing/uprobe_events",
        "/sys/kernel/tracing/available_filter_functions",
        "/sys/kernel/debug/kprobes/blacklist",
        "/sys/fs/bpf",
        "/sys/kernel/security/lsm",
    ] {
        if !Path::new(path).exists() {
            return Err(Failure::new(format!("{path} is not there")));
        }
    }
    let lsm = std::fs::read_to_string("/sys/kernel/security/lsm")?;
    // Debian's 5.10 has it compiled in but not in its list.
    let active = lsm.split(',').any(|name| name.trim() == "bpf");
    assert_eq!(active, guest.release() >= Release::new(6, 1), "{lsm}");
    if let Ok(lockdown) = std::fs::read_to_string("/sys/kernel/security/lockdown") {
        assert!(lockdown.contains("[none]"), "{lockdown}");
    }
    Ok(())
}

fn config(guest: &Guest) -> Outcome {
    for option in [
        "CONFIG_BPF_SYSCALL",
        "CONFIG_BPF_JIT",
        "CONFIG_BPF_LSM",
        "CONFIG_KPROBES",
        "CONFIG_UPROBES",
        "CONFIG_FUNCTION_TRACER",
        "CONFIG_DEBUG_INFO_BTF",
        "CONFIG_FTRACE_SYSCALLS",
    ] {
        assert_eq!(guest.config(option), Some("y"), "{option}");
    }
    assert_eq!(guest.config("CONFIG_BLK_DEV_NBD"), Some("m"));
    // What kprobe.multi needs; Debian has it off in the releases before.
    assert_eq!(guest.config("CONFIG_FPROBE").is_some(), guest.release() >= Release::new(6, 12));
    Ok(())
}

fn btf(_: &Guest) -> Outcome {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux")?;
    assert_eq!(btf[..2], 0xeb9f_u16.to_le_bytes());
    Ok(())
}

fn pmus(_: &Guest) -> Outcome {
    for pmu in ["kprobe", "uprobe"] {
        let directory = Path::new("/sys/bus/event_source/devices").join(pmu);
        let number = std::fs::read_to_string(directory.join("type"))?;
        assert!(number.trim().parse::<u32>().is_ok(), "{pmu}: {number}");
        let retprobe = std::fs::read_to_string(directory.join("format/retprobe"))?;
        assert!(retprobe.starts_with("config:"), "{pmu}: {retprobe}");
    }
    Ok(())
}

fn nbd_module(guest: &Guest) -> Outcome {
    guest.insmod("nbd", "nbds_max=1")?;
    assert!(Path::new("/sys/module/nbd").exists());
    assert!(Path::new("/dev/nbd0").exists());
    assert!(Path::new("/sys/kernel/tracing/events/nbd/nbd_send_request").exists());
    Ok(())
}

fn caller(_: &Guest) -> Outcome {
    let mut caller = Caller::start(|n| target::vmtest_add(n, 2))?;
    assert_eq!(caller.call(40)?, 42);
    assert!(Path::new(&format!("/proc/{}", caller.pid())).exists());
    assert_eq!(target::vmtest_sub(1, 2), u64::MAX);
    assert_eq!(target::vmtest_six(1, 2, 3, 4, 5, 6), 91);
    // SAFETY: the pointer and length of an array.
    assert_eq!(unsafe { target::vmtest_buffer([1, 2, 3].as_ptr(), 3) }, 6);
    Ok(())
}

/// The check that follows each test sees events and pins.
fn leftovers(_: &Guest) -> Outcome {
    let before = leftover::all();
    std::fs::write("/sys/kernel/tracing/kprobe_events", "p:vmtest/left do_nanosleep")?;
    std::fs::create_dir("/sys/fs/bpf/left")?;
    let left = leftover::since(&before);
    assert_eq!(left, ["event p:vmtest/left do_nanosleep", "pin /sys/fs/bpf/left"]);
    leftover::remove(&before);
    assert_eq!(leftover::since(&before), [""; 0]);
    Ok(())
}
