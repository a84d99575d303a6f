//! A kernel that is locked down. The last topic: nothing unlocks it.

use stylet::{LoadOptions, Object, Session};
use stylet_kernel::attach::{KprobeOpts, Method, kprobe};
use stylet_kernel::{Error, Release};

use crate::guest::Guest;
use crate::probe::{Probes, refused};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[Test::new("levels", levels)];

/// Where the level is read and raised.
const LEVEL: &str = "/sys/kernel/security/lockdown";

fn levels(guest: &Guest) -> Outcome {
    let probes = Probes::load(guest, "probe")?;
    let level = std::fs::read_to_string(LEVEL)?;
    assert!(level.contains("[none]"), "{level}");
    std::fs::write(LEVEL, "integrity")?;
    // `LOCKDOWN_BPF_WRITE_USER`, 5.14.
    let object = Object::parse("write_user.bpf.o", &guest.object("write_user")?)?;
    let options = LoadOptions { allow_write: true, ..LoadOptions::default() };
    match Session::kernel()?.load(&object, &options) {
        Err(error @ stylet::Error::HelperWithheld { .. }) => {
            let text = error.to_string();
            assert!(text.contains("bpf_probe_write_user") && text.contains("locked down"), "{text}");
        }
        Ok(_) if guest.release() < Release::new(5, 14) => {}
        Ok(_) => return Err(Failure::new("bpf_probe_write_user is still there")),
        Err(other) => return Err(other.into()),
    }
    let opts = |method| KprobeOpts { method, ..KprobeOpts::function("vfs_read") };
    drop(kprobe(probes.kernel, probes.prog("entry")?, &opts(Method::PerfIoctl))?);
    std::fs::write(LEVEL, "confidentiality")?;
    for method in [Method::PerfIoctl, Method::Tracefs] {
        match refused(kprobe(probes.kernel, probes.prog("entry")?, &opts(method)))? {
            Error::Denied { advice, .. } => {
                assert!(advice.contains("locked down (confidentiality)"), "{method:?}: {advice}");
            }
            other => return Err(Failure::new(format!("{method:?}: {other:?}"))),
        }
    }
    Ok(())
}
