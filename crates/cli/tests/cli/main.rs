//! The command `stylet`, from end to end. The test binary runs itself as the traced program (`STYLET_TARGET`).
#![forbid(unsafe_code)]

mod attach;
mod backends;
mod bad_input;
mod bad_target;
mod check;
mod command;
mod events;
mod inspect;
mod kernel;
mod kfuncs;
mod lifecycle;
mod maps;
mod once;
mod target;
mod tools;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if std::env::var_os(target::MARK).is_some() {
        target::obey();
        return;
    }
    let args = Arguments::from_args();
    let trials = [
        attach::trials(),
        backends::trials(),
        bad_input::trials(),
        bad_target::trials(),
        check::trials(),
        events::trials(),
        inspect::trials(),
        kernel::trials(),
        lifecycle::trials(),
        kfuncs::trials(),
        maps::trials(),
        once::trials(),
    ];
    libtest_mimic::run(&args, trials.into_iter().flatten().collect()).exit();
}

/// A named test.
fn trial(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

/// A named test of the kernel backend; skipped where the kernel does not let us load programs and probe processes.
fn kernel(name: &'static str, run: fn()) -> Trial {
    Trial::test(name, move || {
        match kernel::no_kernel() {
            Some(reason) => println!("skipped {name}: {reason}"),
            None => run(),
        }
        Ok(())
    })
}

/// A named test that traces a process; skipped where ptrace is not permitted.
fn live(name: &'static str, run: fn()) -> Trial {
    Trial::test(name, move || {
        match command::no_tracing() {
            Some(reason) => println!("skipped {name}: {reason}"),
            None => run(),
        }
        Ok(())
    })
}
