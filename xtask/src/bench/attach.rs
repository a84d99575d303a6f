//! `cargo xtask bench attach`: from an object file to attached uprobes in the kernel, against libbpf: the same object, the
//! same kernel, the same process, each time in a new process, by turns. Needs root.

use super::target::Target;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use stylet::kernel::Session;
use stylet::{AttachOptions, LoadOptions, Object};

/// Pairs of runs.
const RUNS: usize = 41;
/// Objects whose uprobes name functions of the C library, which the target has.
const OBJECTS: [&str; 3] =
    ["examples/malloc.bpf.o", "examples/opens.bpf.o", "filetests/cli/calls.bpf.o"];

/// Runs the benchmark and prints medians and their ratios.
pub fn run(root: &Path) -> Result<(), String> {
    let build = Command::new("cargo")
        .args(["build", "-q", "--release", "--bin", "attach", "--manifest-path"])
        .arg(root.join("oracle/Cargo.toml"))
        .status();
    if !build.map_err(|e| e.to_string())?.success() {
        return Err("the libbpf side does not build (oracle/)".into());
    }
    let theirs = root.join("oracle/target/release/attach");
    let ours = std::env::current_exe().map_err(|e| e.to_string())?;
    let target = Target::start()?;
    let pid = target.pid.to_string();
    println!(
        "{:<28}{:>14}{:>14}{:>8}{:>18}",
        "object", "Stylet, ms", "libbpf, ms", "ratio", "quartiles"
    );
    for object in OBJECTS {
        let mut pairs = Vec::new();
        for _ in 0..RUNS {
            let path = root.join(object).display().to_string();
            let mine =
                milliseconds(Command::new(&ours).args(["bench", "attach-once", &path, &pid]))?;
            let other = milliseconds(Command::new(&theirs).args([&path, &pid]))?;
            pairs.push((mine, other));
        }
        let (mine, other) = pairs.iter().copied().unzip::<f64, f64, Vec<_>, Vec<_>>();
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
        let (low, high) = (quantile(&ratios, 1), quantile(&ratios, 3));
        println!(
            "{object:<28}{:>14.2}{:>14.2}{:>8.2}{:>18}",
            quantile(&mine, 2),
            quantile(&other, 2),
            quantile(&ratios, 2),
            format!("{low:.2} to {high:.2}")
        );
    }
    Ok(())
}

/// One measurement of Stylet's: prints milliseconds.
pub fn once(object: &str, pid: &str) -> Result<(), String> {
    let text = |e: stylet::Error| e.to_string();
    let pid: i32 = pid.parse().map_err(|_| format!("not a process: {pid}"))?;
    let began = Instant::now();
    let object = Object::open(object).map_err(text)?;
    let mut session = Session::new().map_err(text)?;
    session.load(&object, &LoadOptions::default()).map_err(text)?;
    let id = session.attach_pid(pid).map_err(text)?;
    session.attach_all(&[id], &AttachOptions::default()).map_err(text)?;
    println!("{}", began.elapsed().as_secs_f64() * 1e3);
    session.detach_all().map_err(text)
}

fn milliseconds(command: &mut Command) -> Result<f64, String> {
    let output = command.output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A quarter's bound: 2 is the median.
fn quantile(values: &[f64], quarter: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * quarter / 4]
}
