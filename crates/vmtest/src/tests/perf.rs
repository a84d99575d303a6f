//! Perf events: sampling programs, and the buffers that programs write.

use std::ops::ControlFlow::Continue;
use std::time::{Duration, Instant};

use stylet_kernel::attach::{self, AutoOpts, PerfEventOpts, PerfMethod, Sampling};
use stylet_kernel::read::{PerfBuf, PerfBufOptions, PerfEvent};
use stylet_kernel::{Error, Feature, LinkDetails, Release};

use super::read::run;
use crate::guest::Guest;
use crate::objects::{Object, global};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("sampling_ioctl", |guest| sampling(guest, PerfMethod::Ioctl)),
    Test::new("sampling_link", |guest| sampling(guest, PerfMethod::Link)).since(5, 15),
    Test::new("sampling_cookie", sampling_cookie).since(5, 15),
    Test::new("refused", refused),
    Test::new("buffers", buffers),
];

/// Uses the CPU until something holds; gives up after a while.
fn spin_until(mut holds: impl FnMut() -> Result<bool, Failure>) -> Outcome {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(Failure::new("it does not happen"));
        }
        std::hint::black_box((0..10_000).sum::<u64>());
    }
    Ok(())
}

/// The CPU clock of all CPUs and processes, every millisecond.
fn sampling(guest: &Guest, method: PerfMethod) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "sampling")?.load(kernel, &["sample"])?;
    let opts = PerfEventOpts { method, ..PerfEventOpts::cpu_clock(Sampling::Period(1_000_000)) };
    let link = attach::perf_event(kernel, &loaded.progs[0], &opts)?;
    assert_eq!(link.len(), 1, "one CPU");
    spin_until(|| Ok(global(&loaded, "samples")? > 5))?;
    assert_eq!(global(&loaded, "period")?, 1_000_000);
    // Unlike probes, sampling obeys.
    link.disable()?;
    let stopped = global(&loaded, "samples")?;
    let start = Instant::now();
    spin_until(|| Ok(start.elapsed() > Duration::from_millis(50)))?;
    assert_eq!(global(&loaded, "samples")?, stopped);
    link.enable()?;
    spin_until(|| Ok(global(&loaded, "samples")? > stopped))?;
    link.detach()?;
    let stopped = global(&loaded, "samples")?;
    let start = Instant::now();
    spin_until(|| Ok(start.elapsed() > Duration::from_millis(50)))?;
    assert_eq!(global(&loaded, "samples")?, stopped);
    Ok(())
}

fn sampling_cookie(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::PerfLink)?;
    let loaded = Object::open(guest, "sampling")?.load(kernel, &["sample_with_cookie"])?;
    let event = Some(PerfEventOpts::cpu_clock(Sampling::Frequency(500)));
    let opts = AutoOpts { event, cookie: 0xc0, ..AutoOpts::default() };
    let link = attach::auto(kernel, &loaded.progs[0], &opts)?;
    spin_until(|| Ok(global(&loaded, "cookie")? == 0xc0))?;
    let details = link.info()?.details;
    if guest.release() >= Release::new(6, 8) {
        assert!(matches!(details, LinkDetails::Event { event_config: 0, cookie: 0xc0, .. }), "{details:?}");
    }
    Ok(())
}

fn refused(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "sampling")?.load(kernel, &["sample"])?;
    let clock = PerfEventOpts::cpu_clock(Sampling::Period(1_000_000));
    for opts in [
        PerfEventOpts { sampling: Sampling::Period(0), ..clock.clone() },
        PerfEventOpts { event_type: 9999, ..clock.clone() },
        PerfEventOpts { pid: Some(999_999), ..clock.clone() },
        PerfEventOpts { cookie: 1, method: PerfMethod::Ioctl, ..clock.clone() },
    ] {
        let error = attach::perf_event(kernel, &loaded.progs[0], &opts).err();
        assert!(matches!(error, Some(Error::Attach { .. })), "{opts:?}: {error:?}");
    }
    let by_name = attach::auto(kernel, &loaded.progs[0], &AutoOpts::default());
    assert!(by_name.is_err_and(|error| error.to_string().contains("no section names an event")));
    Ok(())
}

fn buffers(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "rings")?.load(kernel, &["to_perf"])?;
    let (prog, map) = (&loaded.progs[0], loaded.map("events").ok_or_else(|| Failure::new("events"))?);
    let mut buf = PerfBuf::new(map, &PerfBufOptions { pages: 1, ..PerfBufOptions::default() })?;
    let mut next = 0_u64;
    for round in 0..20_u64 {
        run(kernel, prog, &[round * 20, 20, 100, 0])?;
        let read = buf.poll(Some(Duration::from_secs(10)), |_, event| {
            let PerfEvent::Data(data) = event else { panic!("{event:?}") };
            assert_eq!(data[..8], next.to_ne_bytes());
            assert!(data[8..108].iter().all(|byte| *byte == next as u8));
            next += 1;
            Continue(())
        })?;
        assert_eq!(read, 20);
    }
    // Too much for a page.
    run(kernel, prog, &[0, 100, 512, 0])?;
    let kept = buf.consume(|_, _| Continue(()))? as u64;
    run(kernel, prog, &[0, 1, 8, 0])?;
    buf.consume(|_, _| Continue(()))?;
    assert_eq!(buf.lost().map(|(_, count)| count).sum::<u64>(), 100 - kept);
    drop(buf);
    let dropped = global(&loaded, "dropped")?;
    run(kernel, prog, &[0, 3, 8, 0])?;
    assert_eq!(global(&loaded, "dropped")?, dropped + 3, "nothing is written for nobody");
    Ok(())
}
