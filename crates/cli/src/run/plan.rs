//! What the command line asks for, checked before anything is touched.

use crate::args::{Backend, Cli, RunArgs};
use clap::CommandFactory;
use clap::error::ErrorKind;
use stylet::{AttachOptions, AttachReport, Error, Object, Override, Session};

/// Ends the process with a usage error when the arguments make no sense together.
pub fn check(args: &RunArgs) {
    const KIND: ErrorKind = ErrorKind::MissingRequiredArgument;
    if args.backend == Backend::User && args.pids.is_empty() && args.command.is_empty() {
        let message = "nothing to trace: give -p PID, or a command after --";
        let mut command = Cli::command();
        command.build();
        let usage = command.find_subcommand_mut("run").map(|c| c.error(KIND, message));
        usage.unwrap_or_else(|| Cli::command().error(KIND, message)).exit();
    }
}

/// Opens every object and applies `--prog` and `-G`. A name must be known to at least one object.
pub fn open(args: &RunArgs) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for path in &args.objects {
        objects.push(super::open(args, path)?);
    }
    for name in &args.progs {
        if !objects.iter().any(|o| o.spec().prog(name).is_some()) {
            objects[0].set_autoload(name, true)?;
        }
    }
    for setting in &args.globals {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(Error::GlobalValue {
                name: setting.clone(),
                value: String::new(),
                reason: "expected NAME=VALUE".into(),
            });
        };
        let known: Vec<usize> = (0..objects.len())
            .filter(|&i| objects[i].global_names().iter().any(|n| n == name))
            .collect();
        // With no object that knows it, the first one's error lists what there is.
        for index in if known.is_empty() { vec![0] } else { known } {
            objects[index].set_global(name, value)?;
        }
    }
    Ok(objects)
}

/// `--attach` and `--cookie`.
pub fn attach_options(args: &RunArgs) -> Result<AttachOptions, Error> {
    Ok(AttachOptions {
        overrides: args
            .attach
            .iter()
            .map(|text| Override::parse(text))
            .collect::<Result<_, _>>()?,
        cookies: args.cookies.clone(),
        methods: args.methods.clone(),
    })
}

/// Names the programs that may change what they trace, and how.
pub fn warn_of_effects(session: &Session) {
    for object in session.objects() {
        for prog in object.autoload_progs() {
            for what in stylet::effects(prog) {
                eprintln!("warning: program '{}' {what}", prog.name);
            }
        }
    }
}

/// `attached 6 probes to process 123`, `attached 3 probes` where it is not about processes.
pub fn attached_line(report: &AttachReport, session: &Session) -> String {
    let mut pids: Vec<String> = Vec::new();
    for attached in &report.attached {
        let Some(pid) = attached.target.and_then(|t| session.pid(t)) else { continue };
        let pid = pid.to_string();
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    let count: usize = report.attached.iter().map(|a| a.sites).sum();
    let probes = if count == 1 { "probe" } else { "probes" };
    match pids.as_slice() {
        [] => format!("attached {count} {probes}"),
        [pid] => format!("attached {count} {probes} to process {pid}"),
        _ => format!("attached {count} {probes} to processes {}", pids.join(", ")),
    }
}
