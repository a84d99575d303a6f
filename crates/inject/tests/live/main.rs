//! Probes in real processes. The test binary runs itself as the traced program (`STYLET_TARGET` names its part).

mod arena;
mod basic;
mod child;
mod parts;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Ok(part) = std::env::var("STYLET_TARGET") {
        parts::run(&part);
        return;
    }
    let args = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(basic::trials());
    libtest_mimic::run(&args, trials).exit();
}

/// A named test.
fn trial(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}
