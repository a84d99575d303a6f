//! The program of this crate; see the library.

use std::process::ExitCode;

use stylet_vmtest::{init, selftest, tests};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::main();
    }
    match std::env::args().nth(1).as_deref() {
        Some("--list") => {
            for (topic, test) in tests::all() {
                println!(
                    "{topic}::{}\t{}",
                    test.name,
                    test.since.map_or("any".into(), |r| r.to_string())
                );
            }
            ExitCode::SUCCESS
        }
        Some("--selftest") => selftest::main(),
        _ => {
            eprintln!("stylet-vmtest runs in a virtual machine: cargo xtask vm");
            ExitCode::from(2)
        }
    }
}
