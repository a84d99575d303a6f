//! The command `stylet`.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 a program was rejected by the
//! verifier, 2 bad input, 3 a privilege or a feature of this machine is missing.
#![forbid(unsafe_code)]

mod args;
mod check;
mod inspect;
mod list;
mod report;
mod run;
mod table;
mod value;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Check(args) => match check::run(args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Run(args) => run::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::List(args) => list::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "stylet", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::report(&error, &cli),
    }
}
