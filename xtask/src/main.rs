//! Developer tasks: `cargo xtask <task> [arguments]`.

mod facts;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let result = match task.as_str() {
        "facts" => facts::run(&rest),
        _ => Err(format!("usage: cargo xtask <task>\ntasks:\n  {}", facts::USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
