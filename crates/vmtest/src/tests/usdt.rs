//! USDT markers through libbpf's `usdt.bpf.h`.

use stylet_kernel::Error;
use stylet_kernel::attach::{UsdtOpts, usdt};

use crate::guest::Guest;
use crate::probe::{Probes, refused};
use crate::target::{Caller, markers, semaphore};
use crate::test::{Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("arguments", arguments),
    Test::new("semaphore", guarded),
    Test::new("refusals", refusals),
];

fn on(guest: &Guest, name: &str, child: &Caller) -> UsdtOpts {
    // A process is named because before 5.15 one must be.
    UsdtOpts { pid: child.pid().cast_signed(), ..UsdtOpts::new(guest.exe().to_string_lossy(), "vmtest", name) }
}

/// A marker with two places whose arguments are in registers, in memory and in the instruction.
fn arguments(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "usdt")?;
    let mut child = Caller::start(markers)?;
    // The records of a marker are given back: more attachments than there are records.
    for round in 0..13 {
        let opts = UsdtOpts { cookie: 0xc00 + round, ..on(guest, "marker", &child) };
        let link = usdt(probes.kernel, probes.prog("marker")?, &opts)?;
        if round % 6 == 0 {
            probes.watch(child.pid(), false)?;
            // 1: the place with registers and memory; 2: the one with a constant.
            child.call(1)?;
            let (seen, _) = probes.seen()?;
            let negative = (-7_i64).cast_unsigned();
            assert_eq!((seen.hits, seen.args, seen.rc), (1, [0x1234_5678_9abc, negative, 77], 3));
            assert_eq!(seen.cookie, 0xc00 + round);
            child.call(2)?;
            let (seen, _) = probes.seen()?;
            assert_eq!((seen.hits, seen.args, seen.rc), (2, [(-5_i64).cast_unsigned(), 0, 0], 1));
        }
        link.detach()?;
    }
    child.call(1)?;
    assert_eq!(probes.seen()?.0.hits, 2, "after detach");
    Ok(())
}

/// The kernel counts up a marker's semaphore while it is probed.
fn guarded(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "usdt")?;
    let mut child = Caller::start(|x| if semaphore() == 0 { 0 } else { markers(x) })?;
    assert_eq!(child.call(3)?, 0);
    let opts = on(guest, "guarded", &child);
    let link = usdt(probes.kernel, probes.prog("marker")?, &opts)?;
    probes.watch(child.pid(), false)?;
    assert_eq!(child.call(3)?, 3);
    assert_eq!(probes.seen()?.0.hits, 1);
    drop(link);
    assert_eq!(child.call(3)?, 0);
    Ok(())
}

fn refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "usdt")?;
    let child = Caller::start(markers)?;
    match refused(usdt(probes.kernel, probes.prog("marker")?, &on(guest, "marke", &child)))? {
        Error::Symbols(stylet_symbols::Error::NoMarker { near, .. }) => {
            assert_eq!(near[0], "vmtest:marker");
        }
        other => return Err(other.into()),
    }
    let error = refused(usdt(probes.kernel, probes.prog("marker")?, &on(guest, "float", &child)))?;
    assert!(
        matches!(error, Error::Symbols(stylet_symbols::Error::BadMarkerArg { .. })),
        "{error}"
    );
    Ok(())
}
