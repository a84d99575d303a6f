//! System calls by name.

use stylet_kernel::Error;
use stylet_kernel::attach::{KsyscallOpts, Method, ksyscall};

use crate::guest::Guest;
use crate::probe::{Probes, our_events, refused};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[Test::new("lseek", lseek), Test::new("refusals", refusals)];

fn lseek(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "ksyscall")?;
    for method in [Method::Auto, Method::PerfIoctl, Method::Tracefs] {
        let attach = |name, ret| {
            let opts = KsyscallOpts { ret, method, ..KsyscallOpts::new("lseek") };
            ksyscall(probes.kernel, probes.prog(name)?, &opts).map_err(Failure::from)
        };
        let links = [attach("entry", false)?, attach("ret", true)?];
        probes.watch(std::process::id(), false)?;
        // SAFETY: no such descriptor.
        let result = unsafe { libc::lseek(7777, 0x1_2345_6789, libc::SEEK_END) };
        assert_eq!(result, -1);
        let (entry, returned) = probes.seen()?;
        assert_eq!((entry.hits, entry.args), (1, [7777, 0x1_2345_6789, 2]), "{method:?}");
        let bad = (-i64::from(libc::EBADF)).cast_unsigned();
        assert_eq!((returned.hits, returned.rc), (1, bad), "{method:?}");
        drop(links);
        assert_eq!(our_events(), [""; 0]);
    }
    Ok(())
}

fn refusals(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "ksyscall")?;
    for method in [Method::Auto, Method::Tracefs] {
        let opts = KsyscallOpts { method, ..KsyscallOpts::new("opnat") };
        match refused(ksyscall(probes.kernel, probes.prog("entry")?, &opts))? {
            Error::NoSyscall { near, .. } => {
                assert!(near.contains(&"openat".to_owned()), "{near:?}");
            }
            other => return Err(Failure::new(other)),
        }
    }
    Ok(())
}
