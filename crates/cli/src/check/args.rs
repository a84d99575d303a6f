//! `stylet check`: the command line.

use clap::Args;
use std::path::PathBuf;

/// `stylet check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// BPF object files (.bpf.o).
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<PathBuf>,
    /// Where the programs are to run: releases such as 6.1,6.12, `running` (this machine's kernel), `user` (the user backend), `all`.
    ///
    /// `all` is 5.10, 5.15, 6.1, 6.6, 6.12, 6.18 and 7.3. Releases between those are judged by what is known of their features.
    #[arg(short, long, value_name = "LIST", default_value = "all", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// BTF of a kernel: a raw file, or a vmlinux. With several kernels: RELEASE=FILE, once for each.
    ///
    /// Programs that use CO-RE beyond what is the same everywhere need it for a sure verdict; without it the running kernel's types are taken
    /// and the verdict is `depends`.
    #[arg(long, value_name = "[RELEASE=]FILE")]
    pub btf: Vec<String>,
    /// Only these programs.
    #[arg(long = "prog", value_name = "NAME")]
    pub progs: Vec<String>,
    /// JSON instead of text.
    #[arg(long, conflicts_with_all = ["sarif", "csv", "verbose"])]
    pub json: bool,
    /// SARIF 2.1.0, for code review tools.
    #[arg(long, conflicts_with_all = ["csv", "verbose"])]
    pub sarif: bool,
    /// CSV with veristat's columns; with several kernels a last column names the kernel.
    #[arg(long, conflicts_with = "verbose")]
    pub csv: bool,
    /// Show what is not as in this file, which --csv or `veristat -o csv` wrote.
    #[arg(long, value_name = "OLD.csv", conflicts_with_all = ["json", "sarif", "csv"])]
    pub compare: Option<PathBuf>,
    /// Show the verifier's log of each program, in the kernel's shape; twice: of every path.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
