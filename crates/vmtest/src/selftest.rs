//! Tests that end in every way, to test the runner with; they touch nothing outside their process, so they run on the host too.

use std::process::ExitCode;
use std::time::Duration;

use crate::guest::Guest;
use crate::runner;
use crate::test::{Failure, Outcome, Test};

const TESTS: &[Test] = &[
    Test::new("passes", |_| Ok(())),
    Test::new("fails", |_| Err(Failure::new("two is not three"))),
    Test::new("missing", |_| {
        Err(Failure::Missing { message: "no such feature".into(), errno: Some(95), since: None })
    }),
    Test::new("panics", |_| panic!("at the disco")),
    Test::new("aborts", |_| std::process::abort()),
    Test::new("exits", |_| std::process::exit(0)),
    Test::new("hangs", hangs).limit(1),
    Test::new("prints", prints),
    Test::new("leaves_a_child", leaves_a_child),
];

fn hangs(_: &Guest) -> Outcome {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn prints(_: &Guest) -> Outcome {
    for line in 0..20_000 {
        println!("line {line}");
    }
    Err(Failure::new("after much output"))
}

fn leaves_a_child(_: &Guest) -> Outcome {
    // SAFETY: the test's process has one thread.
    if unsafe { libc::fork() } == 0 {
        std::thread::sleep(Duration::from_secs(600));
    }
    Ok(())
}

/// Prints one line a test: its name, how it ended, the last line of its output.
pub fn main() -> ExitCode {
    let guest = match Guest::new(Vec::new()) {
        Ok(guest) => guest,
        Err(e) => {
            eprintln!("{e:?}");
            return ExitCode::FAILURE;
        }
    };
    for test in TESTS {
        let run = runner::run(test, &guest);
        println!(
            "{}\t{:?}\t{}",
            test.name,
            run.outcome,
            run.output.lines().last().unwrap_or_default()
        );
    }
    ExitCode::SUCCESS
}
