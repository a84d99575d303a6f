//! Where programs are to run, with what fitting an object to it needs to know.

use crate::Error;
use object::{Object as _, ObjectSection as _};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};
use stylet_btf::{Btf, ReloKind};
use stylet_catalog::{Env, Release, Target};
use stylet_object::{CoreRelo, ExternKind, Spec};

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
    /// Types of another kernel, for what this one's are not known.
    borrowed: Option<Lender>,
    /// `env` with those types.
    borrowing: OnceLock<Option<Env>>,
}

/// Types of another kernel, read when they are first needed; `None` when they can not be had.
pub type Lender = Arc<LazyLock<Option<Btf>>>;

/// An object fitted to a place.
pub(super) struct Fitted {
    pub spec: Spec,
    /// Types of another kernel were taken.
    pub borrowed: bool,
}

/// Why an object can not be fitted.
pub(super) enum Misfit {
    /// The place does not have what it asks for.
    Missing(String),
    /// It asks for types that are not known.
    NoTypes,
}

/// The running kernel's BTF.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Types of which it is known, without a kernel's BTF, what each release has.
const KNOWN_TYPES: [&str; 3] = ["pt_regs", "bpf_func_id", "bpf_map_type"];

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
            borrowed: None,
            borrowing: OnceLock::new(),
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
        let btf = read_btf(Path::new(VMLINUX))?;
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

    /// The same with the types of `btf`, which a file of that kernel holds.
    pub fn with_btf(mut self, btf: Btf) -> Place {
        self.env = self.env.with_btf(btf);
        self
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

    /// The same, which takes the types of another kernel (`btf`) where its own are not known. Verdicts that hang on them say so.
    pub fn with_borrowed_types(self, lender: Lender) -> Place {
        Place { borrowed: Some(lender).filter(|_| self.env.btf.is_none()), ..self }
    }

    /// The types of the running kernel, for [`Place::with_borrowed_types`].
    pub fn running_types() -> Lender {
        Arc::new(LazyLock::new(|| read_btf(Path::new(VMLINUX)).ok()))
    }

    fn lent(&self) -> Option<&Btf> {
        self.borrowed.as_ref().and_then(|lender| lender.as_ref().as_ref())
    }

    /// The environment with the borrowed types.
    pub(super) fn borrowing_env(&self) -> Option<&Env> {
        let env = || Some(self.env.clone().with_btf(self.lent()?.clone()));
        self.borrowing.get_or_init(env).as_ref()
    }

    /// Fits an object's one program to this place. `borrow`: take the other kernel's types in any case.
    pub(super) fn fit(&self, spec: &Spec, borrow: bool) -> Result<Fitted, Misfit> {
        let missing = |e: stylet_object::Error| Misfit::Missing(e.to_string());
        if let Some(btf) = &self.env.btf {
            let spec = self.relocate(spec, Some(btf)).map_err(missing)?;
            return Ok(Fitted { spec, borrowed: false });
        }
        let known = self.known_types().map_err(|e| Misfit::Missing(e.to_string()))?;
        let sure = |relo: &CoreRelo| is_sure(relo, spec);
        let mut first = Spec { externs: Vec::new(), ..spec.clone() };
        for prog in &mut first.progs {
            prog.extern_relos.clear();
            prog.core_relos.retain(sure);
        }
        let mut second = self.relocate(&first, Some(&known)).map_err(missing)?;
        second.externs.clone_from(&spec.externs);
        for (prog, whole) in second.progs.iter_mut().zip(&spec.progs) {
            prog.extern_relos.clone_from(&whole.extern_relos);
            prog.core_relos = whole.core_relos.iter().filter(|relo| !sure(relo)).copied().collect();
        }
        let needed = second.progs.iter().any(|prog| !prog.core_relos.is_empty())
            || spec.externs.iter().any(|ext| {
                matches!(ext.kind, ExternKind::KsymFunc { .. } | ExternKind::KsymVar { .. })
            });
        if needed && self.lent().is_none() {
            return Err(Misfit::NoTypes);
        }
        let spec =
            self.relocate(&second, if needed { self.lent() } else { None }).map_err(missing)?;
        Ok(Fitted { spec, borrowed: needed || borrow })
    }

    /// The types whose contents this release's catalogue tells.
    fn known_types(&self) -> Result<Btf, stylet_btf::Error> {
        let helpers: Vec<u32> = self.env.helpers().map(|(id, _)| id).collect();
        let map_types: Vec<_> = self.env.map_types().collect();
        crate::user::vmlinux::btf(&helpers, &map_types)
    }

    fn relocate(&self, spec: &Spec, btf: Option<&Btf>) -> Result<Spec, stylet_object::Error> {
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
            btf,
            kernel_version: self.version,
            has_bpf_cookie: user || self.env.release() >= Release::V5_15,
            has_syscall_wrapper: !user,
            kconfig: &|name| self.config.get(name).cloned(),
            ksym: &ksym,
            ..stylet_object::Target::default()
        })
    }
}

/// Whether a relocation needs no more than the types that are known.
fn is_sure(relo: &CoreRelo, spec: &Spec) -> bool {
    let name = spec.btf.as_ref().map_or("", |btf| btf.type_name(relo.type_id));
    let name = stylet_btf::essential_name(name);
    KNOWN_TYPES.contains(&name)
        || relo.kind == ReloKind::TypeIdLocal
        || (name == "bpf_ringbuf" && relo.kind == ReloKind::TypeExists)
}

/// Reads a kernel's BTF: a raw file such as `/sys/kernel/btf/vmlinux`, or a `vmlinux` with a `.BTF` section.
///
/// # Errors
/// [`Error::Read`], [`Error::KernelBtf`].
pub fn read_btf(path: &Path) -> Result<Btf, Error> {
    let bytes =
        fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let section = object::File::parse(&*bytes).ok().and_then(|file| {
        let data = file.section_by_name(".BTF")?.uncompressed_data().ok()?;
        Some(data.into_owned())
    });
    Btf::parse(section.as_deref().unwrap_or(&bytes))
        .map_err(|source| Error::KernelBtf { path: path.to_path_buf(), source })
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
