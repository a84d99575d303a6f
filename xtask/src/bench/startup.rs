//! `cargo xtask bench startup`: from an object file to the first attached probe, and the tracer's memory, each time in a new
//! process as a user's command is.

use super::target::{SITE, Target};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use stylet::user::Session;
use stylet::{AttachOptions, AttachTarget, LoadOptions, Object, Override};

/// Processes started.
const RUNS: usize = 15;

/// Runs the benchmark and prints medians.
pub fn run() -> Result<(), String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    println!("{:<28}{:>16}{:>18}", "object", "attached, ms", "peak memory, MB");
    for object in ["examples/malloc.bpf.o", "bench/probes/probes.bpf.o"] {
        let mut times = Vec::new();
        let mut peaks = Vec::new();
        for _ in 0..RUNS {
            let mut command = Command::new(&exe);
            let output = command
                .args(["bench", "startup-once", object])
                .output()
                .map_err(|e| e.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers: Vec<f64> =
                text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
            let [ms, mb] = numbers[..] else {
                return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
            };
            times.push(ms);
            peaks.push(mb);
        }
        times.sort_by(f64::total_cmp);
        peaks.sort_by(f64::total_cmp);
        println!("{object:<28}{:>16.1}{:>18.1}", times[RUNS / 2], peaks[RUNS / 2]);
    }
    Ok(())
}

/// One measurement: prints milliseconds and megabytes.
pub fn once(root: &Path, object: &str) -> Result<(), String> {
    let text = |e: stylet::Error| e.to_string();
    let target = Target::start()?;
    let began = Instant::now();
    let object = Object::open(root.join(object)).map_err(text)?;
    let mut session = Session::new().map_err(text)?;
    session.load(&object, &LoadOptions::default()).map_err(text)?;
    let id = session.attach_pid(target.pid).map_err(text)?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let open = object.autoload_progs().any(|p| p.sec.target == AttachTarget::None);
    let site = Override::parse(&format!("{}:{SITE}", exe.display())).map_err(text)?;
    let overrides = if open { vec![site] } else { vec![] };
    session
        .attach_all(&[id], &AttachOptions { overrides, ..AttachOptions::default() })
        .map_err(text)?;
    let spent = began.elapsed().as_secs_f64() * 1e3;
    session.detach_all().map_err(text)?;
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    let kb: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    println!("{spent} {}", kb / 1024.0);
    Ok(())
}
