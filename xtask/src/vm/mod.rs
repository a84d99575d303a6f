//! `cargo xtask vm`: boots Linux releases under QEMU and runs the tests of `crates/vmtest` in each.

mod apt;
mod boot;
mod build;
mod image;
mod kernels;
mod report;
pub mod verdicts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use kernels::Kernel;
use report::KernelReport;

const USAGE: &str = "usage: cargo xtask vm [OPTIONS] [TEST…]
  runs the tests whose names (topic::name) contain one of TEST, all without TEST
  --kernel LIST        releases, separated by commas, or `all` (default: 6.1,6.12,7.3), or `override` (see below)
  --build-override-kernel  build a small 6.12 with bpf_override_return into the cache; --kernel override boots it
  --kernel-image PATH  boot this bzImage; modules and configuration from --kernel-modules DIR, the build's output folder
  --cache DIR          where kernels are kept (default: $XDG_CACHE_HOME/stylet/kernels, ~/.cache/stylet/kernels)
  --update             look for newer packages even if the cache has the release
  --fetch              only fill the cache
  --json               one JSON object on stdout instead of the table
  --keep               keep each guest's initramfs, console and results, and say where
  --jobs N             guests at once (default: as many as there are CPUs)
  --list               list the tests with the first release of each
exit codes: 0 all as declared, 1 a test failed, 2 bad arguments, 3 QEMU or a kernel is missing";

/// What the command line asks for.
#[derive(Default)]
struct Options {
    kernels: Vec<String>,
    image: Option<PathBuf>,
    modules: Option<PathBuf>,
    cache: Option<PathBuf>,
    update: bool,
    fetch: bool,
    build: bool,
    json: bool,
    keep: bool,
    list: bool,
    jobs: usize,
    tests: Vec<String>,
}

/// Runs the task; the error is a message about arguments.
pub fn run(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let options = parse(args)?;
    if options.list {
        let status = Command::new("cargo")
            .args(["run", "--quiet", "--package", "stylet-vmtest", "--", "--list"])
            .current_dir(root)
            .status()
            .map_err(|e| format!("cargo: {e}"))?;
        return Ok(ExitCode::from(u8::from(!status.success())));
    }
    match prepare_and_run(root, &options) {
        Ok(failed) => Ok(ExitCode::from(u8::from(failed))),
        Err(missing) => {
            eprintln!("{missing}");
            Ok(ExitCode::from(3))
        }
    }
}

/// Reads the command line.
fn parse(args: &[String]) -> Result<Options, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { jobs, ..Options::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value =
            || args.next().cloned().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--kernel" => options.kernels.extend(value()?.split(',').map(str::to_owned)),
            "--kernel-image" => options.image = Some(value()?.into()),
            "--kernel-modules" => options.modules = Some(value()?.into()),
            "--cache" => options.cache = Some(value()?.into()),
            "--jobs" => {
                let n = value()?;
                options.jobs = n
                    .parse()
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or_else(|| format!("--jobs {n}: not a number above 0"))?;
            }
            "--update" => options.update = true,
            "--fetch" => options.fetch = true,
            "--build-override-kernel" => options.build = true,
            "--json" => options.json = true,
            "--keep" => options.keep = true,
            "--list" => options.list = true,
            "--help" => return Err(USAGE.into()),
            flag if flag.starts_with('-') => return Err(format!("{flag} is not known\n{USAGE}")),
            test => options.tests.push(test.to_owned()),
        }
    }
    if options.kernels.iter().any(|k| k == "all") {
        options.kernels = kernels::RELEASES.iter().map(|r| r.name.to_owned()).collect();
    } else if options.kernels.is_empty() && options.image.is_none() && !options.build {
        options.kernels = kernels::DEFAULT.iter().map(|r| (*r).to_owned()).collect();
    }
    for kernel in &options.kernels {
        if kernel != build::NAME && !kernels::RELEASES.iter().any(|r| r.name == kernel) {
            let known: Vec<&str> = kernels::RELEASES.iter().map(|r| r.name).collect();
            return Err(format!("kernel {kernel} is not known; known: {}", known.join(", ")));
        }
    }
    Ok(options)
}

/// Fetches, builds, boots, reports. Whether a test failed; the error says what is missing.
fn prepare_and_run(root: &Path, options: &Options) -> Result<bool, String> {
    let cache = kernels::cache(root, options.cache.as_deref());
    let scratch = root.join("target/vm");
    if options.build {
        let kernel = build::build(&cache, &scratch)?;
        eprintln!("{}: {}", kernel.name, kernel.version);
    }
    let lock = kernels::lock(&cache)?;
    let mut found = Vec::new();
    for name in &options.kernels {
        found.push(match name.as_str() {
            build::NAME => build::get(&cache)?,
            _ => kernels::get(&cache, name, options.update)?,
        });
    }
    drop(lock);
    if let Some(image) = &options.image {
        found.push(kernels::own(image, options.modules.as_deref())?);
    }
    if options.fetch || found.is_empty() {
        for kernel in &found {
            eprintln!("{}: {}", kernel.name, kernel.version);
        }
        return Ok(false);
    }
    boot::find_qemu()?;
    let binary = image::build(root)?;
    let reports = run_guests(root, options, &found, &binary, &scratch)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&reports).map_err(|e| e.to_string())?);
    } else {
        print!("{}", report::table(&reports));
    }
    Ok(reports.iter().any(KernelReport::failed))
}

/// Boots each kernel, `jobs` at once, the last first: newer releases have more to test, and so the guests end together.
/// The reports in the kernels' order.
fn run_guests(
    root: &Path,
    options: &Options,
    found: &[Kernel],
    binary: &Path,
    scratch: &Path,
) -> Result<Vec<KernelReport>, String> {
    let next = Mutex::new(found.len());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(found.len()) {
            scope.spawn(|| {
                loop {
                    let index = {
                        let mut next =
                            next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        let Some(index) = next.checked_sub(1) else { break };
                        *next = index;
                        index
                    };
                    let kernel = &found[index];
                    let folder = scratch.join(format!("{}-{}", kernel.name, std::process::id()));
                    let result = one_guest(root, options, kernel, binary, &folder);
                    if options.keep {
                        eprintln!("{}: kept in {}", kernel.name, folder.display());
                    } else {
                        let _ = std::fs::remove_dir_all(&folder);
                    }
                    if let Ok(report) = &result {
                        eprintln!("{}", report.summary());
                    }
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Makes one kernel's initramfs in `folder` and boots it.
fn one_guest(
    root: &Path,
    options: &Options,
    kernel: &Kernel,
    binary: &Path,
    folder: &Path,
) -> Result<KernelReport, String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let initramfs = folder.join("initramfs.cpio");
    let bytes = image::initramfs(root, kernel, binary, &options.tests)?;
    std::fs::write(&initramfs, bytes).map_err(|e| format!("{}: {e}", initramfs.display()))?;
    boot::boot(kernel, &initramfs, folder)
}
