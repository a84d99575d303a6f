//! What is known of the running kernel.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use stylet_btf::Btf;
use stylet_catalog::Release;

use crate::attach::Registry;
use crate::attach::tracefs::Tracefs;
use crate::feature::{Feature, Probed};
use crate::{Error, sys};

/// Where the kernel publishes its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel. What is asked of it is found out once and kept.
#[derive(Debug)]
pub struct Kernel {
    release: Release,
    running: String,
    vmlinux: OnceLock<Option<Btf>>,
    features: Mutex<HashMap<Feature, Probed>>,
    tracefs: OnceLock<Tracefs>,
    /// Which records of USDT arguments are taken.
    pub(crate) usdt: Registry,
}

impl Kernel {
    /// Looks at the running kernel.
    ///
    /// # Errors
    /// [`Error::Sys`] when its release is not to be read.
    pub fn open() -> Result<Kernel, Error> {
        let what = "the kernel's release";
        let path = "/proc/sys/kernel/osrelease";
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::sys("read", format!("{what} ({path})"))(error.into()))?;
        let running = text.trim().to_string();
        let release = running.parse().map_err(|_| {
            Error::sys("read", format!("{what} '{running}'"))(sys::Errno(libc::EINVAL))
        })?;
        Ok(Kernel {
            release,
            running,
            vmlinux: OnceLock::new(),
            features: Mutex::new(HashMap::new()),
            tracefs: OnceLock::new(),
            usdt: Registry::default(),
        })
    }

    /// Major and minor number of the release.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The release as `uname -r` prints it.
    pub fn running(&self) -> &str {
        &self.running
    }

    /// The kernel's own types, `None` when it publishes none.
    pub fn vmlinux(&self) -> Option<&Btf> {
        let read = || Btf::parse(&std::fs::read(VMLINUX).ok()?).ok();
        self.vmlinux.get_or_init(read).as_ref()
    }

    /// The mounted tracefs; mounted if it is not and may be.
    ///
    /// # Errors
    /// [`Error::Tracefs`] when there is none.
    pub fn tracefs(&self) -> Result<&Tracefs, Error> {
        if let Some(tracefs) = self.tracefs.get() {
            return Ok(tracefs);
        }
        Ok(self.tracefs.get_or_init({
            let tracefs = Tracefs::find()?;
            || tracefs
        }))
    }

    /// Whether the kernel has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        matches!(self.probe(feature), Probed::Present)
    }

    /// Asks for a feature.
    ///
    /// # Errors
    /// [`Error::Missing`] when the kernel has not got it; [`Error::Denied`] when it does not let us find out.
    pub fn require(&self, feature: Feature) -> Result<(), Error> {
        match self.probe(feature) {
            Probed::Present => Ok(()),
            Probed::Absent(errno) => Err(self.missing(feature, errno)),
            Probed::Denied(errno) => {
                Err(self.denied(&format!("asking this kernel for {}", feature.describe()), errno))
            }
        }
    }

    /// The error that says that the kernel does not have a feature.
    pub fn missing(&self, feature: Feature, errno: Option<sys::Errno>) -> Error {
        Error::Missing { feature, running: self.running.clone(), errno }
    }

    /// The error that says why a call is not permitted, and what would permit it.
    pub(crate) fn denied(&self, what: &str, errno: sys::Errno) -> Error {
        let advice = match errno {
            sys::Errno(libc::ENOSYS) => "this kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL",
            _ => "needs root, or CAP_BPF and CAP_PERFMON",
        };
        Error::Denied { what: what.to_string(), errno, advice: advice.to_string() }
    }

    /// `LINUX_VERSION_CODE` of the running kernel, as its programs of type KPROBE had to carry it before 5.0.
    pub fn version_code(&self) -> u32 {
        let patch = self.running.splitn(3, '.').nth(2).unwrap_or("0");
        let end = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        let patch = patch[..end].parse::<u32>().unwrap_or(0).min(255);
        u32::from(self.release.major) << 16 | u32::from(self.release.minor) << 8 | patch
    }

    fn probe(&self, feature: Feature) -> Probed {
        let lock = || self.features.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&found) = lock().get(&feature) {
            return found;
        }
        // Not under the lock: a probe may ask for another feature.
        let found = feature.probe(self);
        lock().insert(feature, found);
        found
    }
}
