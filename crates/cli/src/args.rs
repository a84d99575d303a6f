//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use stylet::ForProg;
use stylet::kernel::Method;

const AFTER: &str = "\
Exit codes: 0 done, 1 a program was rejected by the verifier, 2 bad input, 3 a privilege or a feature is missing here

Examples:
  stylet run examples/malloc.bpf.o -- ls -R /usr/share
  stylet run examples/malloc.bpf.o -p 1234 --duration 10s --json
  stylet inspect examples/malloc.bpf.o --disasm";

/// eBPF tracing: runs ordinary BPF objects against ordinary processes, without root, or in the kernel.
#[derive(Debug, Parser)]
#[command(name = "stylet", version, propagate_version = true, after_help = AFTER)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run BPF objects against a command or running processes.
    Run(Box<RunArgs>),
    /// Show what is in a BPF object, or in the kernel: programs, maps, BTF, instructions, machine code.
    Inspect(InspectArgs),
    /// List the kernel's programs, maps, links and perf events that run programs, and who holds them.
    List(ListArgs),
    /// Would each kernel release accept the programs of BPF objects, and if not, why?
    Check(crate::check::args::CheckArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
}

/// Where programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Inside the traced processes: no root, no kernel BPF.
    User,
    /// In the kernel, through bpf(2): needs root.
    Kernel,
}

/// `stylet run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// BPF object files (.bpf.o).
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<PathBuf>,
    /// Trace a running process; may be given several times.
    #[arg(short, long = "pid", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pids: Vec<i32>,
    /// Attach a program whose section names no function, or to another function than its section's: [PROG=]PATH:FUNC[+OFFSET].
    ///
    /// In the kernel backend, what is right for the program's kind: FUNC[+OFFSET] for a kprobe, CATEGORY:NAME for a
    /// tracepoint, bpf_map_elem:MAP for an iterator over a map of the object. PATH is a library or an executable; PATH:0xOFFSET is an offset in the file, for programs without symbols. Without PROG:
    /// every program whose section names none. Given several times for a program, it is attached to each.
    #[arg(short, long = "attach", value_name = "[PROG=]TARGET")]
    pub attach: Vec<String>,
    /// The number that bpf_get_attach_cookie returns; PROG=NUMBER for one program. Decimal or 0x and hexadecimal.
    #[arg(long = "cookie", value_name = "[PROG=]NUMBER", value_parser = parse_cookie)]
    pub cookies: Vec<ForProg<u64>>,
    /// The context of a program of type SYSCALL: the bytes of this file; PROG=FILE for one program (kernel backend).
    ///
    /// Such a program is run once, when everything else is attached. Without a file its context is zeros, as many as the type
    /// has that its argument points to. The context is shown as the program left it.
    #[arg(long = "ctx", value_name = "[PROG=]FILE")]
    pub contexts: Vec<String>,
    /// Set a global variable of the object before it is loaded.
    #[arg(short = 'G', long = "set-global", value_name = "NAME=VALUE")]
    pub globals: Vec<String>,
    /// Run only these programs.
    #[arg(long = "prog", value_name = "NAME")]
    pub progs: Vec<String>,
    /// Stop after this time: 10, 10s, 500ms, 2m.
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Stop after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Decode events as this BTF type of the object; MAP=TYPE for one map.
    #[arg(long = "event", value_name = "[MAP=]TYPE")]
    pub event_types: Vec<String>,
    /// Print no live events, only the maps at the end.
    #[arg(short, long)]
    pub quiet: bool,
    /// One JSON object a line instead of text.
    #[arg(long)]
    pub json: bool,
    /// Show the verifier's whole log when a program is rejected.
    #[arg(short, long)]
    pub verbose: bool,
    /// Allow programs that change what they trace (bpf_probe_write_user, bpf_override_return, bpf_send_signal, raw_tp.w).
    #[arg(long)]
    pub allow_write: bool,
    /// Where the programs run.
    #[arg(long, value_enum, default_value = "user")]
    pub backend: Backend,
    /// How kprobes, uprobes and system call probes are attached; PROG=METHOD for one program (kernel backend).
    ///
    /// auto: the first that the kernel has of link, perf (an event with an ioctl), tracefs (an event made there).
    #[arg(long = "method", value_name = "[PROG=]METHOD", value_parser = parse_method)]
    pub methods: Vec<ForProg<Method>>,
    /// Fit programs to the types of this file instead of the running kernel's: raw BTF, or an ELF file with it (kernel
    /// backend).
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Pin links and maps below this folder of a BPF file system: they stay after the end (kernel backend).
    #[arg(long, value_name = "FOLDER")]
    pub pin: Option<PathBuf>,
    /// Command to start and trace, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `stylet list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list; everything when it is not given.
    #[arg(value_enum)]
    pub what: Option<Listed>,
    /// JSON in bpftool's field names: an array of what was asked for, or an object with all four.
    #[arg(long)]
    pub json: bool,
}

/// What `stylet list` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Programs.
    #[value(alias = "prog")]
    Progs,
    /// Maps.
    #[value(alias = "map")]
    Maps,
    /// Links.
    #[value(alias = "link")]
    Links,
    /// Perf events that run programs: probes and tracepoints, with their processes.
    Perf,
}

/// `stylet inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// BPF object file (.bpf.o), or what the kernel holds: prog:ID, prog:NAME, prog:tag:TAG, map:ID, map:NAME, link:ID, or a
    /// path in a BPF file system.
    #[arg(value_name = "OBJECT")]
    pub object: PathBuf,
    /// Only this program.
    #[arg(long, value_name = "NAME")]
    pub prog: Option<String>,
    /// The instructions of each program, with C source lines.
    #[arg(short = 'd', long)]
    pub disasm: bool,
    /// The machine code of each program: for the user backend, or that of the kernel.
    #[arg(long)]
    pub jited: bool,
    /// The BTF types as C.
    #[arg(long)]
    pub btf: bool,
    /// JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Parses `10`, `1.5s`, `500ms`, `2m`, `1h`; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 =
        number.parse().map_err(|_| format!("'{text}' is not a time such as 10s or 500ms"))?;
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit '{unit}' (us, ms, s, m, h)")),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

/// The program of `[PROG=]CHOICE`, and the choice.
pub fn for_prog(text: &str) -> (Option<String>, &str) {
    match text.split_once('=') {
        Some((prog, choice)) => (Some(prog.to_owned()), choice),
        None => (None, text),
    }
}

/// Parses `[PROG=]METHOD`.
fn parse_method(text: &str) -> Result<ForProg<Method>, String> {
    let (prog, name) = for_prog(text);
    let value = match name {
        "auto" => Method::Auto,
        "link" => Method::PerfLink,
        "perf" => Method::PerfIoctl,
        "tracefs" => Method::Tracefs,
        _ => return Err(format!("'{name}' is no method (auto, link, perf, tracefs)")),
    };
    Ok(ForProg { prog, value })
}

/// Parses `[PROG=]NUMBER`.
fn parse_cookie(text: &str) -> Result<ForProg<u64>, String> {
    let (prog, number) = for_prog(text);
    let value = match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let value = value.map_err(|_| format!("'{number}' is no 64-bit number"))?;
    Ok(ForProg { prog, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let all = ForProg { prog: None, value: 255 };
        assert_eq!(parse_cookie("0xff"), Ok(all));
        assert_eq!(parse_cookie("a=7"), Ok(ForProg { prog: Some("a".into()), value: 7 }));
        assert!(parse_cookie("a=").is_err());
        let link = ForProg { prog: Some("a".into()), value: Method::PerfLink };
        assert_eq!(parse_method("a=link"), Ok(link));
        assert!(parse_method("ioctl").is_err());
        assert!(parse_cookie("18446744073709551616").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("-1").is_err());
        assert!(parse_duration("5x").is_err());
        assert!(parse_duration("").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
