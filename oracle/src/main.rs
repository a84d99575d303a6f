//! `stylet-oracle [-v] FILE...`: compares each object file and prints the differences. Needs root.

use std::path::Path;
use std::process::ExitCode;

use stylet_oracle::{Host, compare, libbpf};

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let verbose = files.first().is_some_and(|arg| arg == "-v");
    if verbose {
        files.remove(0);
    }
    libbpf::set_verbose(verbose);
    let host = match Host::new() {
        Ok(host) => host,
        Err(err) => {
            eprintln!("stylet-oracle: {err}");
            return ExitCode::FAILURE;
        }
    };
    let (mut differing, mut progs, mut slots) = (0, 0, 0);
    for file in &files {
        match compare(&host, Path::new(file)) {
            Ok(outcome) => {
                progs += outcome.progs;
                slots += outcome.slots;
                differing += usize::from(!outcome.differences.is_empty());
                outcome.differences.iter().for_each(|line| println!("{file}: {line}"));
            }
            Err(err) => {
                differing += 1;
                println!("{err}");
            }
        }
    }
    println!(
        "{} files, {progs} programs, {slots} slots compared; {differing} files differ",
        files.len()
    );
    if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
