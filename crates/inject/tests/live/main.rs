//! Probes in real processes. The test binary runs itself as the traced program (`STYLET_TARGET` names its part).

mod arena;
mod basic;
mod child;
mod crash;
mod family;
mod parts;
mod refusals;
mod sessions;
mod start;
mod stress;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if let Ok(part) = std::env::var("STYLET_TARGET") {
        parts::run(&part);
        return;
    }
    let args = Arguments::from_args();
    let parts = [
        basic::trials(),
        crash::trials(),
        family::trials(),
        refusals::trials(),
        sessions::trials(),
        start::trials(),
        stress::trials(),
    ];
    libtest_mimic::run(&args, parts.into_iter().flatten().collect()).exit();
}

/// A named test.
fn trial(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}
