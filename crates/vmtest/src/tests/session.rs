//! Sessions: entry and return of a call are one pair, told by the session cookie; an entry can suppress its return.

use stylet_kernel::attach::{
    Functions, KprobeMultiOpts, Places, UprobeMultiOpts, kprobe_multi, uprobe_multi,
};

use crate::guest::Guest;
use crate::probe::{Probes, Side};
use crate::target::{Caller, vmtest_add};
use crate::test::{Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("kprobe", kprobe).since(6, 10).config("CONFIG_FPROBE"),
    Test::new("uprobe", uprobe).since(6, 13),
];

/// The program's session cookie for its third call.
const THIRD: u64 = 0x5e5_5103;

fn check((entry, returned): &(Side, Side), suppress: bool, rc: u64) {
    assert_eq!(entry.hits, 3);
    if suppress {
        assert_eq!(returned.hits, 0, "returns are suppressed");
    } else {
        assert_eq!((returned.hits, returned.cookie, returned.rc), (3, THIRD, rc));
    }
}

fn kprobe(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "ksession")?;
    let opts = KprobeMultiOpts::new(Functions::Names(vec!["__x64_sys_getppid".into()]));
    let _link = kprobe_multi(probes.kernel, probes.prog("session")?, &opts)?;
    for suppress in [false, true] {
        probes.watch(std::process::id(), suppress)?;
        let mut parent = 0;
        for _ in 0..3 {
            // SAFETY: takes nothing.
            parent = unsafe { libc::syscall(libc::SYS_getppid) };
        }
        check(&probes.seen()?, suppress, parent.cast_unsigned());
    }
    Ok(())
}

fn uprobe(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "usession")?;
    let places = Places::Functions(vec!["vmtest_add".into()]);
    let opts = UprobeMultiOpts::new(guest.exe().to_string_lossy(), places);
    let _link = uprobe_multi(probes.kernel, probes.prog("session")?, &opts)?;
    let mut child = Caller::start(|x| vmtest_add(x, 30))?;
    for suppress in [false, true] {
        probes.watch(child.pid(), suppress)?;
        for x in [10, 11, 12] {
            assert_eq!(child.call(x)?, x + 30);
        }
        let seen = probes.seen()?;
        check(&seen, suppress, 42);
        assert_eq!(seen.0.args[..2], [12, 30]);
    }
    Ok(())
}
