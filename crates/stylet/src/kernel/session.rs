//! Objects in the kernel, attached to processes or to the kernel itself.

use super::process::TargetState;
use super::read::Readers;
use crate::prepare::{self, Infos};
use crate::session::{LoadOptions, ProgStats};
use crate::{Error, Object, TargetId};
use std::cell::RefCell;
use std::path::Path;
use stylet_btf::Btf;
use stylet_catalog::Env;
use stylet_diag::Finding;
use stylet_kernel::read::StatsGuard;
use stylet_kernel::{Kernel, Link, LoadOptions as KernelLoadOptions, load};
use stylet_object::ProgSpec;

/// What is loaded into the kernel and attached there. Dropped, all of it goes, except what is pinned.
pub struct Session {
    pub(super) kernel: Kernel,
    pub(super) objects: Vec<Loaded>,
    pub(super) targets: Vec<TargetState>,
    pub(super) attached: Vec<AttachedLink>,
    pub(super) readers: RefCell<Readers>,
    /// Runs are counted while it lives.
    counted: Option<StatsGuard>,
}

/// An object whose programs passed the kernel's verifier.
pub struct Loaded {
    /// As it was loaded: fitted to the kernel.
    pub(crate) object: Object,
    pub(super) inner: stylet_kernel::Loaded,
    /// Index in `Spec::progs` of each program of `inner`.
    pub(super) specs: Vec<usize>,
}

/// A program's link.
pub(super) struct AttachedLink {
    pub prog: String,
    pub link: Link,
    /// It is an iterator's, to be read.
    pub iterates: bool,
}

impl Loaded {
    /// The object as it was loaded: relocated, maps sized.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Its programs.
    pub fn progs(&self) -> impl Iterator<Item = (&stylet_kernel::Prog, &ProgSpec)> {
        let specs = self.specs.iter().map(|&s| &self.object.spec.progs[s]);
        self.inner.progs.iter().zip(specs)
    }

    /// Its maps, in the order of `Spec::maps`.
    pub fn maps(&self) -> &[stylet_kernel::Map] {
        &self.inner.maps
    }
}

impl Session {
    /// Of the running kernel.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn new() -> Result<Session, Error> {
        Ok(Session {
            kernel: Kernel::open()?,
            objects: Vec::new(),
            targets: Vec::new(),
            attached: Vec::new(),
            readers: RefCell::default(),
            counted: None,
        })
    }

    /// The running kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Objects loaded so far.
    pub fn objects(&self) -> &[Loaded] {
        &self.objects
    }

    /// Loads an object: fits it to the kernel, creates the maps, loads the programs. Returns its number in
    /// [`Session::objects`].
    ///
    /// # Errors
    /// [`Error::WriteNotAllowed`]; [`Error::Kernel`] for everything that the kernel refuses, and for objects that do not fit.
    pub fn load(&mut self, object: &Object, options: &LoadOptions) -> Result<usize, Error> {
        if !options.allow_write {
            crate::effects::check(object)?;
        }
        let btf = options.btf.as_deref().map(read_btf).transpose()?;
        let kernel_options =
            KernelLoadOptions { core_btf: btf.as_ref(), ..KernelLoadOptions::default() };
        let inner = load(&self.kernel, &object.spec, &kernel_options)
            .map_err(|error| refused(&self.kernel, object, error))?;
        let object = Object { path: object.path.clone(), spec: inner.spec.clone() };
        let spec_of = |name: &str| {
            let progs = object.spec.progs.iter().enumerate();
            progs.filter(|(_, p)| p.autoload).find(|(_, p)| p.name == name).map(|(i, _)| i)
        };
        let specs: Option<Vec<usize>> = inner.progs.iter().map(|p| spec_of(p.name())).collect();
        let specs =
            specs.ok_or_else(|| Error::Bug { what: "a program without a specification".into() })?;
        self.objects.push(Loaded { object, inner, specs });
        let number = self.objects.len() - 1;
        self.readers.borrow_mut().add(number, &self.objects[number])?;
        Ok(number)
    }

    /// Pins every link and every map of a user's (no data sections) below a folder of a BPF file system, which is made: they
    /// stay after the end of this process.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a name that exists already, and for what can not be pinned.
    pub fn pin(&mut self, folder: &Path) -> Result<(), Error> {
        stylet_kernel::link::ensure_bpffs()?;
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Read { path: folder.to_path_buf(), source })?;
        let mut names: Vec<String> = Vec::new();
        let mut unused = |name: &str| {
            let name = name.replace('.', "_");
            let same = names.iter().filter(|n| **n == name).count();
            names.push(name.clone());
            if same == 0 { name } else { format!("{name}_{}", same + 1) }
        };
        for attached in &mut self.attached {
            attached.link.pin(folder.join(unused(&attached.prog)))?;
        }
        for loaded in &self.objects {
            let maps = loaded.object.spec.maps.iter().zip(&loaded.inner.maps);
            for (spec, map) in maps.filter(|(spec, _)| !spec.kind.is_internal()) {
                map.pin(folder.join(unused(&spec.name)))?;
            }
        }
        Ok(())
    }

    /// Has the kernel count the runs of programs from now on, where it does and we may. It counts those of all programs then,
    /// which costs each run some nanoseconds.
    pub fn count_runs(&mut self) {
        self.counted = stylet_kernel::read::enable_stats(&self.kernel).ok();
    }

    /// How often each program ran; runs are known only after [`count_runs`](Session::count_runs).
    pub fn stats(&self) -> Vec<ProgStats> {
        let progs = self.objects.iter().flat_map(Loaded::progs);
        progs
            .map(|(prog, spec)| {
                let stats = stylet_kernel::read::prog_stats(prog).unwrap_or_default();
                ProgStats {
                    name: spec.name.clone(),
                    runs: self.counted.is_some().then_some(stats.run_cnt),
                    misses: stats.recursion_misses,
                }
            })
            .collect()
    }

    /// Number of a target in [`Session::targets`].
    pub(super) fn target(&self, id: TargetId) -> Option<&TargetState> {
        self.targets.get(id.0)
    }
}

/// Helpers of KPROBE programs that a kernel has or not by its configuration (`kprobe_prog_func_proto`,
/// `bpf_tracing_func_proto`, kernel/trace/bpf_trace.c), and what that hangs on.
const WITHHELD: [(&str, &str); 2] = [
    (
        "bpf_probe_write_user",
        "it is locked down (see lockdown in kernel_lockdown(7)); boot it without lockdown, or use --backend user",
    ),
    (
        "bpf_override_return",
        "it is built without CONFIG_BPF_KPROBE_OVERRIDE; for functions of processes use --backend user",
    ),
];

/// Whether the kernel refused for that helper: `unknown func` before 6.11, `program of this type cannot use helper` since.
fn withholds(finding: &Finding, helper: &str) -> bool {
    let named = format!("{helper}#");
    finding.message.contains(&named)
        && (finding.message.contains("unknown func")
            || finding.message.contains("cannot use helper"))
}

/// A refusal with what the kernel's log says, by C line where the object has lines; any other error with the object's name.
fn refused(kernel: &Kernel, object: &Object, error: stylet_kernel::Error) -> Error {
    let context = format!("{}: ", object.path.display());
    let stylet_kernel::Error::Rejected { prog, errno, log, hint } = &error else {
        return Error::Kernel { context, source: Box::new(error) };
    };
    let Some(spec) = object.spec.progs.iter().find(|p| p.name == *prog) else {
        return Error::Kernel { context, source: Box::new(error) };
    };
    let finding = Finding::from_kernel_log(errno.0, log);
    // What the loader knows better is said by the library's own error.
    if finding.message.is_empty() || hint.is_some() {
        return Error::Kernel { context, source: Box::new(error) };
    }
    if let Some(&(helper, why)) = WITHHELD.iter().find(|(helper, _)| withholds(&finding, helper)) {
        let (object, prog) = (object.path.clone(), prog.clone());
        return Error::HelperWithheld { object, prog, helper, why };
    }
    // Slots are the same before and after the fitting to the kernel.
    let infos = Infos::new(spec);
    let maps: Vec<_> = object.spec.maps.iter().map(prepare::map_def).collect();
    let mut env = Env::kernel(kernel.release());
    if let Some(btf) = kernel.vmlinux() {
        env = env.with_btf(btf.clone());
    }
    let report = stylet_diag::explain(&env, &infos.input(&object.spec, spec, &maps, 0), &finding);
    Error::RejectedByKernel {
        object: object.path.clone(),
        prog: prog.clone(),
        finding: Box::new(finding),
        report: Box::new(report),
    }
}

/// Types from a file: raw BTF, as in /sys/kernel/btf, or the `.BTF` section of an ELF file.
fn read_btf(path: &Path) -> Result<Btf, Error> {
    use object::{Object as _, ObjectSection as _};
    let fail = |source| Error::Read { path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(fail)?;
    let elf = object::File::parse(&*bytes).ok();
    let section = elf.as_ref().and_then(|elf| elf.section_by_name(".BTF"));
    let data = match &section {
        Some(section) => section.data().map_err(|e| fail(std::io::Error::other(e)))?,
        None => &bytes,
    };
    Btf::parse(data).map_err(|source| Error::Btf { object: path.to_path_buf(), source })
}
