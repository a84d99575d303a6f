//! The kernels: which releases, from which suite, and the cache that keeps what is needed of them.
//!
//! The cache has a folder a release with `vmlinuz`, `config`, `version` (of the package), `modules/*.ko`, unpacked, and
//! `packed`: which modules were looked for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{Package, Suite};

/// A release and where it comes from.
pub struct Release {
    /// As on the command line.
    pub name: &'static str,
    suite: &'static str,
    security: bool,
}

/// All releases that can be booted, oldest first.
pub const RELEASES: [Release; 6] = [
    Release { name: "5.10", suite: "bullseye-security", security: true },
    Release { name: "6.1", suite: "bookworm", security: false },
    Release { name: "6.12", suite: "bookworm-security", security: true },
    Release { name: "6.16", suite: "trixie-backports", security: false },
    Release { name: "6.18", suite: "trixie-backports", security: false },
    Release { name: "7.3", suite: "trixie-backports", security: false },
];

/// The releases that are tested unless others are named.
pub const DEFAULT: [&str; 3] = ["6.1", "6.12", "7.3"];

/// Modules that tests load, unless they are built in.
const MODULES: [&str; 2] = ["nbd", "nf_conntrack"];

/// A kernel that can be booted.
pub struct Kernel {
    /// As on the command line, or `own`.
    pub name: String,
    /// Version of its package, or the image's path.
    pub version: String,
    /// The bzImage.
    pub image: PathBuf,
    /// Its configuration, if known.
    pub config: Option<PathBuf>,
    /// Unpacked modules.
    pub modules: Vec<PathBuf>,
}

/// The folder of the cache: what the user says, else `$XDG_CACHE_HOME/stylet/kernels`, `~/.cache/stylet/kernels`, `target/kernels`.
pub fn cache(root: &Path, chosen: Option<&Path>) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match (chosen, variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(chosen), _, _) => chosen.to_path_buf(),
        (_, Some(xdg), _) => xdg.join("stylet/kernels"),
        (_, _, Some(home)) => home.join(".cache/stylet/kernels"),
        _ => root.join("target/kernels"),
    }
}

/// Keeps other runs from filling the cache at the same time, until it is dropped.
pub fn lock(cache: &Path) -> Result<File, String> {
    let path = cache.join("lock");
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(cache).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// The kernel of release `name` from the cache; fetched if it is not there, if it was filled for other modules, or if `update`
/// and the suite has a newer one.
pub fn get(cache: &Path, name: &str, update: bool) -> Result<Kernel, String> {
    let release = RELEASES
        .iter()
        .find(|r| r.name == name)
        .ok_or_else(|| format!("kernel {name} is not known"))?;
    let folder = cache.join(name);
    let complete = || {
        cached(name, &folder).filter(|_| {
            std::fs::read_to_string(folder.join("packed")).is_ok_and(|p| p == MODULES.join("\n"))
        })
    };
    if !update && let Some(kernel) = complete() {
        return Ok(kernel);
    }
    let fetched = fetch(cache, release, &folder, &complete);
    match (fetched, cached(name, &folder)) {
        // Without a network most tests run all the same.
        (Err(e), Some(kernel)) if !update => {
            eprintln!("{e}; the cache's kernel lacks modules that tests load");
            Ok(kernel)
        }
        (result, _) => result,
    }
}

/// Puts the suite's newest kernel of a release into the cache, unless it is there.
fn fetch(
    cache: &Path,
    release: &Release,
    folder: &Path,
    complete: &dyn Fn() -> Option<Kernel>,
) -> Result<Kernel, String> {
    let name = release.name;
    let suite = Suite::open(release.suite, release.security, cache.join("apt").join(release.suite))
        .map_err(|e| format!("kernel {name}: {e}"))?;
    let packages = resolve(&suite, name)?;
    let version = packages[0].version.clone();
    if let Some(kernel) = complete().filter(|k| k.version == version) {
        return Ok(kernel);
    }
    eprintln!("{name}: fetching {version} ({})", suite.name());
    // Filled beside its place and then renamed, so that an interrupted run leaves no half of a kernel.
    let fresh = cache.join(format!("{name}.{}", std::process::id()));
    let unpacked = cache.join(format!("{name}.{}.deb", std::process::id()));
    let filled = fill(&suite, &packages, &unpacked, &fresh, &version);
    let _ = std::fs::remove_dir_all(&unpacked);
    if let Err(e) = filled {
        let _ = std::fs::remove_dir_all(&fresh);
        return Err(format!("kernel {name}: {e}"));
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&fresh, folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    cached(name, folder).ok_or_else(|| format!("kernel {name}: {} is incomplete", folder.display()))
}

/// A kernel of the user's: a bzImage, and the folder it was built in for its configuration and modules.
pub fn own(image: &Path, build: Option<&Path>) -> Result<Kernel, String> {
    if !image.is_file() {
        return Err(format!("{}: no such kernel image", image.display()));
    }
    let mut modules = Vec::new();
    if let Some(build) = build {
        find(build, &mut |path| {
            if MODULES
                .iter()
                .any(|m| path.file_name().is_some_and(|f| f == format!("{m}.ko").as_str()))
            {
                modules.push(path.to_path_buf());
            }
        })?;
    }
    let config = build.map(|b| b.join(".config")).filter(|c| c.is_file());
    Ok(Kernel {
        name: "own".into(),
        version: image.display().to_string(),
        image: image.to_path_buf(),
        config,
        modules,
    })
}

/// Puts a built kernel into the cache.
pub fn keep(cache: &Path, name: &str, version: &str, built: &Kernel) -> Result<(), String> {
    let folder = cache.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(folder.join("modules")).map_err(failed)?;
    std::fs::copy(&built.image, folder.join("vmlinuz")).map_err(failed)?;
    if let Some(config) = &built.config {
        std::fs::copy(config, folder.join("config")).map_err(failed)?;
    }
    for module in &built.modules {
        let name = module.file_name().unwrap_or_default();
        std::fs::copy(module, folder.join("modules").join(name)).map_err(failed)?;
    }
    std::fs::write(folder.join("version"), version).map_err(failed)
}

/// What the cache holds of a release, if it is complete.
pub fn cached(name: &str, folder: &Path) -> Option<Kernel> {
    let version = std::fs::read_to_string(folder.join("version")).ok()?;
    let modules = std::fs::read_dir(folder.join("modules"))
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    let (image, config) = (folder.join("vmlinuz"), folder.join("config"));
    (image.is_file() && config.is_file()).then(|| Kernel {
        name: name.to_owned(),
        version: version.trim().to_owned(),
        image,
        config: Some(config),
        modules,
    })
}

/// The packages that make up the newest kernel of a release in `suite`: one up to 6.18, then three.
fn resolve(suite: &Suite, release: &str) -> Result<Vec<Package>, String> {
    let names: Vec<String> = suite
        .names(&format!("linux-image-{release}."))?
        .into_iter()
        .filter(|name| name.ends_with("-cloud-amd64"))
        .collect();
    let nothing = || format!("suite {} has no kernel {release}", suite.name());
    if names.is_empty() {
        return Err(nothing());
    }
    let image = suite
        .show(&names)?
        .into_iter()
        .max_by_key(|package| numbers(&package.version))
        .ok_or_else(nothing)?;
    let parts: Vec<String> = image
        .depends
        .iter()
        .filter(|name| {
            ["linux-base-", "linux-binary-", "linux-modules-"].iter().any(|p| name.starts_with(p))
        })
        .cloned()
        .collect();
    let mut packages = vec![image];
    if !parts.is_empty() {
        packages.extend(suite.show(&parts)?);
    }
    Ok(packages)
}

/// The numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// Downloads `packages` and puts what is needed of them into `fresh`.
fn fill(
    suite: &Suite,
    packages: &[Package],
    unpacked: &Path,
    fresh: &Path,
    version: &str,
) -> Result<(), String> {
    for package in packages {
        suite.unpack(&package.name, unpacked)?;
    }
    let modules = fresh.join("modules");
    std::fs::create_dir_all(&modules).map_err(|e| format!("{}: {e}", modules.display()))?;
    let mut found = Vec::new();
    find(unpacked, &mut |path| found.push(path.to_path_buf()))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let copy = |wanted: &str, to: &str| {
        let from =
            found.iter().find(|p| name(p) == wanted || name(p).starts_with(&format!("{wanted}-")));
        let from = from.ok_or_else(|| format!("the package has no {wanted}"))?;
        std::fs::copy(from, fresh.join(to))
            .map(drop)
            .map_err(|e| format!("{}: {e}", from.display()))
    };
    copy("vmlinuz", "vmlinuz")?;
    copy("config", "config")?;
    let mut wanted: Vec<String> = MODULES.iter().map(|m| (*m).to_owned()).collect();
    while let Some(module) = wanted.pop() {
        let to = modules.join(format!("{module}.ko"));
        let packed = found
            .iter()
            .find(|p| name(p).split('.').next().is_some_and(|n| n.replace('-', "_") == module));
        let Some(packed) = packed.filter(|_| !to.exists()) else { continue };
        let bytes = unpack_module(packed)?;
        wanted.extend(depends(&bytes));
        std::fs::write(&to, bytes).map_err(|e| format!("{}: {e}", to.display()))?;
    }
    let failed = |e: std::io::Error| format!("{}: {e}", fresh.display());
    std::fs::write(fresh.join("packed"), MODULES.join("\n")).map_err(failed)?;
    std::fs::write(fresh.join("version"), version).map_err(failed)
}

/// A module's bytes, whatever it is compressed with.
fn unpack_module(path: &Path) -> Result<Vec<u8>, String> {
    let tool = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return std::fs::read(path).map_err(|e| format!("{}: {e}", path.display())),
    };
    let out =
        Command::new(tool).arg("-dc").arg(path).output().map_err(|e| format!("{tool}: {e}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("{tool} -dc {} failed", path.display()))
    }
}

/// The modules that a module's `.modinfo` says it depends on.
fn depends(image: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = image.windows(key.len()).position(|w| w == key) else { return Vec::new() };
    let value = image[at + key.len()..].split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// Calls `each` with every file below `folder`.
fn find(folder: &Path, each: &mut impl FnMut(&Path)) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => find(&path, each)?,
            Ok(kind) if kind.is_file() => each(&path),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("6.12.117-1~deb12u1") > numbers("6.12.99-1~deb12u1"));
        assert!(numbers("6.1.192-2") > numbers("6.1.192-1"));
    }
}
