//! What is known of the running kernel.

mod config;
mod denied;
mod kallsyms;
mod modules;
mod version;

pub use modules::ModuleBtf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use stylet_btf::Btf;
use stylet_catalog::Release;

use crate::attach::Registry;
use crate::attach::pmu::{Pmu, PmuKind};
use crate::attach::tracefs::Tracefs;
use crate::feature::{Feature, Probed};
use crate::symbols::{Kept, Symbols, read_symbols, read_traceable};
use crate::{Error, sys};

/// Where the kernel publishes its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Charges memory to cgroups instead of to RLIMIT_MEMLOCK.
const MEMCG_SINCE: Release = Release::new(5, 11);

/// The running kernel. What is asked of it is found out once and kept.
#[derive(Debug)]
pub struct Kernel {
    release: Release,
    running: String,
    version_code: u32,
    vmlinux: OnceLock<Option<Btf>>,
    modules: OnceLock<Vec<ModuleBtf>>,
    config: OnceLock<HashMap<String, String>>,
    features: Mutex<HashMap<Feature, Probed>>,
    tracefs: OnceLock<Tracefs>,
    symbols: Kept,
    traceable: Kept,
    /// Of kernel functions and of places in files.
    pmus: [OnceLock<Option<Pmu>>; 2],
    /// Which records of USDT arguments are taken.
    pub(crate) usdt: Registry,
}

impl Kernel {
    /// Looks at the running kernel. On one that charges BPF memory to RLIMIT_MEMLOCK (before 5.11) raises that limit
    /// of this process, as far as it may.
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
        if release < MEMCG_SINCE {
            sys::raise_memlock();
        }
        Ok(Kernel {
            release,
            version_code: version::code(release, &running),
            running,
            vmlinux: OnceLock::new(),
            modules: OnceLock::new(),
            config: OnceLock::new(),
            features: Mutex::new(HashMap::new()),
            tracefs: OnceLock::new(),
            symbols: Kept::default(),
            traceable: Kept::default(),
            pmus: Default::default(),
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

    /// `LINUX_VERSION_CODE` of the running kernel: what programs of type KPROBE had to carry before 5.0.
    pub fn version_code(&self) -> u32 {
        self.version_code
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

    /// One of the two PMUs of probes; `None` before 4.17.
    pub(crate) fn pmu(&self, kind: PmuKind) -> Option<Pmu> {
        *self.pmus[kind as usize].get_or_init(|| Pmu::of_sysfs(kind))
    }

    /// The kernel's own types.
    ///
    /// # Errors
    /// [`Error::Missing`] when it publishes none.
    pub fn require_vmlinux(&self) -> Result<&Btf, Error> {
        self.vmlinux().ok_or_else(|| self.missing(Feature::Vmlinux, None))
    }

    /// Types of the modules that are loaded, each on top of [`Kernel::vmlinux`]. Empty without the right to see them,
    /// and before 5.11, which does not have them.
    pub fn modules(&self) -> &[ModuleBtf] {
        self.modules.get_or_init(|| self.vmlinux().map_or_else(Vec::new, modules::read))
    }

    /// Value of a `CONFIG_*` option as `.config` has it behind `=`; `None` when it is not set, or the kernel's
    /// configuration is not to be had (`/boot/config-*`, `/proc/config.gz`).
    pub fn config(&self, name: &str) -> Option<&str> {
        self.config.get_or_init(|| config::read(&self.running)).get(name).map(String::as_str)
    }

    /// `/proc/kallsyms` without the symbols of BPF programs; read once, and again when modules have come or gone since.
    ///
    /// # Errors
    /// [`Error::Sys`] when it cannot be read.
    pub fn symbols(&self) -> Result<Arc<Symbols>, Error> {
        self.symbols.get(read_symbols)
    }

    /// The functions that ftrace can trace; read once, and again when modules have come or gone since. Their addresses are 0
    /// before 6.5, whose list has none.
    ///
    /// # Errors
    /// [`Error::Tracefs`] without tracefs, [`Error::Sys`] when the list cannot be read.
    pub fn traceable(&self) -> Result<Arc<Symbols>, Error> {
        let tracefs = self.tracefs()?;
        self.traceable.get(|| read_traceable(tracefs.root()))
    }

    /// Whether system calls are functions with an architecture's prefix that take `struct pt_regs`
    /// (`LINUX_HAS_SYSCALL_WRAPPER`): whether there is `__x64_sys_bpf`.
    pub fn has_syscall_wrapper(&self) -> bool {
        self.has(Feature::SyscallWrapper)
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
                let what = format!("asking this kernel for {}", feature.describe());
                Err(self.denied(&what, errno))
            }
        }
    }

    /// The error that says that the kernel does not have a feature.
    pub fn missing(&self, feature: Feature, errno: Option<sys::Errno>) -> Error {
        Error::Missing { feature, running: self.running.clone(), errno }
    }

    /// The error that says why a call is not permitted (EPERM, EACCES, ENOSYS), and what would permit it.
    pub fn denied(&self, what: &str, errno: sys::Errno) -> Error {
        let advice = denied::advice(errno, self.release < MEMCG_SINCE);
        Error::Denied { what: what.to_string(), errno, advice }
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

pub(crate) use kallsyms::{Ksym, addresses};
