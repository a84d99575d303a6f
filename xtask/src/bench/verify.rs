//! `cargo xtask bench verify [OBJECT|DIR…]`: time in our verifier against the kernel's own for the same programs, by turns
//! in one run, and states kept. Loads programs and attaches none; needs root. Without paths: examples and filetests.

use std::path::{Path, PathBuf};

use stylet::Object;
use stylet::check::{Place, Verdict, check};
use stylet_kernel::{Kernel, LoadOptions, load};

/// Times that a program is verified by each; the least time of each counts.
const RUNS: usize = 7;
/// `BPF_LOG_STATS`
const LOG_STATS: u32 = 4;

/// A program that both accept.
struct Pair {
    name: String,
    /// Microseconds.
    ours: f64,
    kernels: f64,
    our_states: u32,
    kernel_states: u32,
}

/// Runs the benchmark and prints the ratios.
pub fn run(root: &Path, paths: &[String]) -> Result<(), String> {
    let paths: Vec<PathBuf> = if paths.is_empty() {
        ["examples", "filetests/kernel", "filetests/object", "filetests/cli"]
            .map(|dir| root.join(dir))
            .into()
    } else {
        paths.iter().map(PathBuf::from).collect()
    };
    let kernel = Kernel::open().map_err(|e| e.to_string())?;
    let place = Place::running().map_err(|e| e.to_string())?;
    let (mut pairs, mut left_out) = (Vec::new(), 0);
    for path in objects(&paths) {
        let Ok(object) = Object::open(&path) else {
            left_out += 1;
            continue;
        };
        for index in 0..object.spec().progs.len() {
            match measure(&kernel, &place, &object, index) {
                Some(pair) => {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    pairs.push(Pair { name: format!("{file}/{}", pair.name), ..pair });
                }
                None => left_out += 1,
            }
        }
    }
    print(pairs, left_out)
}

/// Objects named, and those in folders named.
fn objects(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
        let before = found.len();
        found.extend(entries.filter(|p| p.to_string_lossy().ends_with(".bpf.o")));
        if found.len() == before && path.is_file() {
            found.push(path.clone());
        }
    }
    found.sort();
    found
}

/// A program by both; `None` if not both accept it.
fn measure(kernel: &Kernel, place: &Place, object: &Object, index: usize) -> Option<Pair> {
    let mut alone = object.spec().clone();
    for (n, prog) in alone.progs.iter_mut().enumerate() {
        prog.autoload = n == index;
    }
    let name = alone.progs[index].name.clone();
    let mut pair =
        Pair { name, ours: f64::MAX, kernels: f64::MAX, our_states: 0, kernel_states: 0 };
    let options = LoadOptions { log_level: LOG_STATS, ..LoadOptions::default() };
    for _ in 0..RUNS {
        let ours = check(object, index, place, 0)?;
        if !matches!(ours.verdict, Verdict::Accepted(_)) {
            return None;
        }
        pair.ours = pair.ours.min(ours.duration.as_secs_f64() * 1e6);
        pair.our_states = ours.stats.total_states;
        let loaded = load(kernel, &alone, &options).ok()?;
        let log = loaded.progs.first()?.log();
        pair.kernels = pair.kernels.min(after(log, "verification time ")?);
        pair.kernel_states = after(log, "total_states ")? as u32;
    }
    Some(pair)
}

/// The number after a word of the kernel's statistics.
fn after(log: &str, word: &str) -> Option<f64> {
    let (_, rest) = log.rsplit_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn print(mut pairs: Vec<Pair>, left_out: usize) -> Result<(), String> {
    if pairs.is_empty() {
        return Err("no program that both accept".into());
    }
    let ratio = |p: &Pair| p.ours / p.kernels.max(1.0);
    pairs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let at = |part: f64| ratio(&pairs[((pairs.len() - 1) as f64 * part) as usize]);
    let sum = |of: fn(&Pair) -> f64| pairs.iter().map(of).sum::<f64>();
    println!("{} programs that both accept, {left_out} others", pairs.len());
    println!("time, Stylet / kernel: median {:.2}, 95th percentile {:.2}", at(0.5), at(0.95));
    println!(
        "all together: Stylet {:.1} ms, kernel {:.1} ms",
        sum(|p| p.ours) / 1e3,
        sum(|p| p.kernels) / 1e3
    );
    let same = pairs.iter().filter(|p| p.our_states == p.kernel_states).count();
    println!(
        "states: Stylet {}, kernel {}; equal for {same} programs",
        sum(|p| p.our_states.into()),
        sum(|p| p.kernel_states.into())
    );
    println!("the slowest beside the kernel:");
    for pair in pairs.iter().rev().take(8) {
        println!(
            "  {:<48}{:>10.0} us{:>10.0} us{:>8.2}",
            pair.name,
            pair.ours,
            pair.kernels,
            ratio(pair)
        );
    }
    Ok(())
}
