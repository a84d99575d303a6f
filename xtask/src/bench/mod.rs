//! `cargo xtask bench SUBJECT`: measurements as ratios in one interleaved run.

mod attach;
mod jit;
mod kernel;
mod probes;
mod startup;
mod target;
mod verify;

use std::path::Path;

/// Runs one benchmark.
pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    match args {
        [subject, names @ ..] if subject == "jit" => jit::run(root, names),
        [subject] if subject == "probes" => probes::run(root),
        [subject] if subject == "startup" => startup::run(),
        [subject, object] if subject == "startup-once" => startup::once(root, object),
        [subject] if subject == "attach" => attach::run(root),
        [subject, object, pid] if subject == "attach-once" => attach::once(object, pid),
        [subject, paths @ ..] if subject == "verify" => verify::run(root, paths),
        [subject] if subject == "target" => target::serve(),
        _ => Err("usage: cargo xtask bench probes | startup | attach | jit [KERNEL...] | verify [OBJECT|DIR...]".into()),
    }
}
