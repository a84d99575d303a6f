//! A kernel in which `bpf_override_return` works: no distribution's has it, so it is built, from Debian's sources, small.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt::{Suite, check};
use super::kernels::{self, Kernel};

/// As on the command line and in the cache.
pub const NAME: &str = "override";

/// Options of the kernel; all others are off.
const CONFIG: &str = include_str!("override.config");

/// Package of the sources.
const SOURCES: &str = "linux-source-6.12";

/// Programs that the build needs, and the packages that bring them if they are not installed.
const TOOLS: [(&str, &[&str]); 5] = [
    ("flex", &["flex"]),
    ("bison", &["bison"]),
    ("m4", &["m4", "libsigsegv2"]),
    ("bc", &["bc"]),
    ("pahole", &["pahole", "libdw1", "libbpf1"]),
];

/// The built kernel, if the cache has it.
pub fn get(cache: &Path) -> Result<Kernel, String> {
    kernels::cached(NAME, &cache.join(NAME)).ok_or_else(|| {
        format!("kernel {NAME} is not built: cargo xtask vm --build-override-kernel")
    })
}

/// Builds the kernel below `scratch` and puts it into the cache. Takes about twenty minutes of one core, 3 GB of disk.
pub fn build(cache: &Path, scratch: &Path) -> Result<Kernel, String> {
    let (unpacked, out) = (scratch.join("override-source"), scratch.join("override-build"));
    std::fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let tools = Tools::find(cache, &scratch.join("override-tools"))?;
    let suite = Suite::open("bookworm-security", true, cache.join("apt/bookworm-security"))?;
    eprintln!("{NAME}: fetching {SOURCES}");
    suite.unpack(SOURCES, &unpacked)?;
    let archive = unpacked.join(format!("usr/src/{SOURCES}.tar.xz"));
    check(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked))?;
    let source = unpacked.join(SOURCES);
    let fragment = out.join("fragment");
    std::fs::write(&fragment, CONFIG).map_err(|e| format!("{}: {e}", fragment.display()))?;
    eprintln!("{NAME}: building");
    let make = |targets: &[&str]| {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = tools.command("make");
        command.current_dir(&source).args([
            "-s",
            &format!("-j{jobs}"),
            &format!("O={}", out.display()),
        ]);
        command.args(targets).env("KCONFIG_ALLCONFIG", &fragment).stdin(Stdio::null());
        check(&mut command).map(drop)
    };
    make(&["allnoconfig"])?;
    is_configured(&out.join(".config"))?;
    make(&["bzImage", "modules"])?;
    let version = check(Command::new("make").arg("-sC").arg(&out).arg("kernelrelease"))?;
    let built = kernels::own(&out.join("arch/x86/boot/bzImage"), Some(&out))?;
    kernels::keep(cache, NAME, version.trim(), &built)?;
    for folder in [unpacked, out, tools.folder] {
        let _ = std::fs::remove_dir_all(folder);
    }
    get(cache)
}

/// Whether every option of [`CONFIG`] survived: one whose dependencies changed is dropped silently.
fn is_configured(path: &Path) -> Result<(), String> {
    let config = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let dropped: Vec<&str> = CONFIG
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !config.lines().any(|set| set == *line))
        .collect();
    if dropped.is_empty() {
        Ok(())
    } else {
        Err(format!("{NAME}: these sources do not take {}", dropped.join(", ")))
    }
}

/// Where the programs of [`TOOLS`] are.
struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Unpacks what is not installed into `folder`.
    fn find(cache: &Path, folder: &Path) -> Result<Self, String> {
        for (program, package) in [("make", "make"), ("gcc", "gcc"), ("tar", "tar")] {
            if !installed(program) {
                return Err(format!("{program} is missing (package {package})"));
            }
        }
        let missing: Vec<&str> = TOOLS
            .iter()
            .filter(|(program, _)| !installed(program))
            .flat_map(|(_, p)| p.iter().copied())
            .collect();
        if !missing.is_empty() {
            let suite = Suite::open("bookworm", false, cache.join("apt/bookworm"))?;
            for package in missing {
                suite.unpack(package, folder)?;
            }
        }
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// A command that finds them.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut paths = vec![self.folder.join("usr/bin")];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        if let Ok(paths) = std::env::join_paths(paths) {
            command.env("PATH", paths);
        }
        command.env("LD_LIBRARY_PATH", self.folder.join("usr/lib/x86_64-linux-gnu"));
        for (variable, part) in [("BISON_PKGDATADIR", "usr/share/bison"), ("M4", "usr/bin/m4")] {
            let path = self.folder.join(part);
            if path.exists() {
                command.env(variable, path);
            }
        }
        command
    }
}

/// Whether a program is in `PATH`.
fn installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file())
}
