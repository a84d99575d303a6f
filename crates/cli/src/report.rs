//! Errors: text on standard error or JSON on standard output, and the exit code.

use crate::args::{Cli, Command};
use serde_json::json;
use std::io::IsTerminal;
use std::process::ExitCode;
use stylet::{Error, Fault};

/// Prints an error and gives the exit code that goes with it.
pub fn report(error: &Error, cli: &Cli) -> ExitCode {
    let (as_json, verbose) = match &cli.command {
        Command::Run(args) => (args.json, args.verbose),
        Command::Inspect(args) => (args.json, false),
        Command::List(args) => (args.json, false),
        Command::Check(args) => (args.json, false),
        Command::Completions { .. } => (false, false),
    };
    if as_json {
        println!("{}", to_json(error));
    }
    match error {
        Error::Rejected { object, prog, report, rejection } => {
            eprintln!("error: {}: program '{prog}' is rejected", object.display());
            eprintln!("{}", report.render(std::io::stderr().is_terminal()).trim_end());
            if verbose {
                eprintln!("\n{}", rejection.log.trim_end());
            }
        }
        Error::RejectedByKernel { object, prog, report, finding } => {
            eprintln!("error: {}: program '{prog}' is rejected by the kernel", object.display());
            eprintln!("{}", report.render(std::io::stderr().is_terminal()).trim_end());
            if verbose {
                eprintln!("\n{}", finding.log.trim_end());
            }
        }
        _ => eprintln!("error: {error}"),
    }
    if error.fault() == Fault::Bug {
        eprintln!("This is a defect of Stylet: please report it with the object file.");
    }
    ExitCode::from(match error.fault() {
        Fault::Verdict => 1,
        Fault::Input | Fault::Bug => 2,
        Fault::Environment => 3,
    })
}

fn to_json(error: &Error) -> serde_json::Value {
    let mut value = json!({"type": "error", "message": error.to_string()});
    if let Error::Rejected { report, prog, .. } | Error::RejectedByKernel { report, prog, .. } =
        error
    {
        value["prog"] = json!(prog);
        value["rejection"] = serde_json::to_value(report).unwrap_or_default();
    }
    value
}
