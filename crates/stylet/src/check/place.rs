//! Where programs are to run, with what fitting an object to it needs to know.

use crate::Error;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use stylet_btf::Btf;
use stylet_catalog::{Env, Release, Target};
use stylet_object::Spec;

/// A kernel release, the running kernel, or the user backend.
#[derive(Clone, Debug)]
pub struct Place {
    env: Env,
    /// `LINUX_KERNEL_VERSION`.
    version: u32,
    /// The running kernel's `CONFIG_*`, where it tells.
    config: HashMap<String, String>,
    /// Addresses of kernel symbols; `None` when they are not known.
    symbols: Option<HashMap<String, u64>>,
    cpus: u32,
    weak: bool,
}

/// Address that stands for a kernel symbol whose own is not known.
const SOME_ADDRESS: u64 = 0xffff_ffff_8100_0000;

impl Place {
    /// A mainline kernel, with its BTF when there is a file of it.
    pub fn release(release: Release, btf: Option<Btf>) -> Place {
        let env = Env::kernel(release);
        Place {
            env: match btf {
                Some(btf) => env.with_btf(btf),
                None => env,
            },
            version: u32::from(release.major) << 16 | u32::from(release.minor) << 8,
            config: HashMap::new(),
            symbols: None,
            cpus: 1,
            weak: false,
        }
    }

    /// The user backend.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub fn user() -> Result<Place, Error> {
        let (env, _) = crate::user::env()?;
        let place = Place::release(Env::USER_RULES, None);
        Ok(Place { env, symbols: Some(HashMap::new()), ..place })
    }

    /// The kernel of this machine: its release, BTF, configuration and symbols.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::KernelBtf`] when it does not show its BTF.
    pub fn running() -> Result<Place, Error> {
        let btf = read_btf(Path::new("/sys/kernel/btf/vmlinux"))?;
        let text = read_text("/proc/sys/kernel/osrelease")?;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let mut number = || numbers.next().unwrap_or(0u8);
        let release = Release::new(number(), number());
        let place = Place::release(release, Some(btf));
        Ok(Place {
            version: place.version | u32::from(number()),
            config: read_config(),
            symbols: Some(read_symbols()),
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            ..place
        })
    }

    /// What is there for programs.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The same, to be narrowed or widened.
    pub fn env_mut(&mut self) -> &mut Env {
        &mut self.env
    }

    /// The same, where an extern that is missing is no error, as if the object declared it weak: tells whether a program would pass
    /// that calls the missing function on no path.
    pub fn with_weak_externs(self) -> Place {
        Place { weak: true, ..self }
    }

    pub(super) fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Fits an object's programs to this place.
    pub(super) fn relocate(&self, spec: &Spec) -> Result<Spec, stylet_object::Error> {
        let ksym = |name: &str| match &self.symbols {
            Some(symbols) => symbols.get(name).copied(),
            None => Some(SOME_ADDRESS),
        };
        let user = self.env.target() == Target::User;
        let mut spec = std::borrow::Cow::Borrowed(spec);
        if self.weak {
            spec.to_mut().externs.iter_mut().for_each(|ext| ext.weak = true);
        }
        spec.relocate(&stylet_object::Target {
            btf: self.env.btf.as_ref(),
            kernel_version: self.version,
            has_bpf_cookie: user || self.env.release() >= Release::V5_15,
            has_syscall_wrapper: !user,
            kconfig: &|name| self.config.get(name).cloned(),
            ksym: &ksym,
            ..stylet_object::Target::default()
        })
    }
}

/// Reads a raw BTF file, such as `/sys/kernel/btf/vmlinux`.
///
/// # Errors
/// [`Error::Read`], [`Error::KernelBtf`].
pub(super) fn read_btf(path: &Path) -> Result<Btf, Error> {
    let bytes =
        fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    Btf::parse(&bytes).map_err(|source| Error::KernelBtf { path: path.to_path_buf(), source })
}

fn read_text(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })
}

/// `/proc/kallsyms`; empty when it is not shown.
fn read_symbols() -> HashMap<String, u64> {
    let text = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((words.nth(1)?.to_owned(), address))
    };
    text.lines().filter_map(symbol).collect()
}

/// The kernel's configuration where it lies as text beside the kernel.
fn read_config() -> HashMap<String, String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = fs::read_to_string(format!("/boot/config-{}", release.trim())).unwrap_or_default();
    let entry = |line: &str| {
        let (name, value) = line.split_once('=')?;
        name.starts_with("CONFIG_").then(|| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}
