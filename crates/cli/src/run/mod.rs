//! `stylet run`: load, attach, show events live and maps at the end.

mod decode;
mod hist;
mod live;
pub mod maps;
mod once;
mod plan;
mod stacks;

pub use live::output_error;

use crate::args::{Backend, RunArgs};
use live::Live;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stylet::{AttachOptions, Ended, Error, ForProg, LoadOptions, Object, Session, TargetId};

/// Longest sleep between two looks at the rings.
const IDLE: Duration = Duration::from_millis(20);
/// Most warnings shown about functions that could not be probed.
const MAX_WARNINGS: usize = 10;
/// Time between two snapshots of the mappings of traced processes, for stack traces.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);

/// Runs `args` to the end.
pub fn run(args: &RunArgs) -> Result<(), Error> {
    plan::check(args);
    let objects = plan::open(args)?;
    let attach = plan::attach_options(args)?;
    let contexts = once::contexts(args, &objects)?;
    let stop = stop_flag()?;
    let mut session = match args.backend {
        Backend::User => Session::user()?,
        Backend::Kernel => Session::kernel()?,
    };
    if args.json {
        session.count_runs();
    }
    let options = LoadOptions {
        allow_write: args.allow_write,
        log_level: u32::from(args.verbose) * 2,
        btf: args.btf.clone(),
    };
    for object in &objects {
        session.load(object, &options)?;
    }
    plan::warn_of_effects(&session);
    if let Some(reason) = session.no_printk() {
        eprintln!("warning: what programs print is not shown: {reason}");
    }
    let mut live = Live::new(&session, args)?;
    let result = trace(args, &mut session, (&attach, &contexts), &stop, &mut live)
        .and_then(|()| once::iterate(args, &session));
    // Whatever happened, the processes are left as they were.
    let detached = session.detach_all();
    live.drain(&session)?;
    result?;
    detached?.iter().for_each(|note| eprintln!("{note}"));
    summary(args, &session, &live)
}

/// Attaches and shows events until the targets end, the user stops it, or a limit is reached.
fn trace(
    args: &RunArgs,
    session: &mut Session,
    (attach, contexts): (&AttachOptions, &[ForProg<Vec<u8>>]),
    stop: &AtomicBool,
    live: &mut Live,
) -> Result<(), Error> {
    let mut targets: Vec<TargetId> = Vec::new();
    for &pid in &args.pids {
        let target = session.attach_pid(pid)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let mut command = None;
    if !args.command.is_empty() {
        let target = session.spawn(&args.command)?;
        targets.push(target);
        command = Some(target);
    }
    let report = session.attach_all(&targets, attach)?;
    for warning in report.warnings.iter().take(MAX_WARNINGS) {
        eprintln!("warning: {warning}");
    }
    if let Some(more @ 1..) = report.warnings.len().checked_sub(MAX_WARNINGS) {
        eprintln!("warning: {more} more functions could not be probed");
    }
    if let Some(folder) = &args.pin {
        session.pin(folder)?;
    }
    if !report.attached.is_empty() {
        eprintln!("{}", plan::attached_line(&report, session));
    }
    once::run(args, session, contexts)?;
    let waits = once::waits(session);
    for &target in &targets {
        live.snapshot(session, target);
        session.resume(target);
    }
    let began = Instant::now();
    let mut snapshot = Instant::now();
    let mut idle = Duration::from_millis(1);
    // Without a process it goes on until it is stopped, unless nothing is attached that would run.
    let over = |session: &Session| match command {
        None if !waits => true,
        _ => !targets.is_empty() && session.alive() == 0,
    };
    while !stop.load(Ordering::Relaxed) && !over(session) && !live.is_full() {
        if args.duration.is_some_and(|d| began.elapsed() >= d) {
            break;
        }
        let seen = live.poll(session)?;
        idle = if seen > 0 { Duration::from_millis(1) } else { (idle * 2).min(IDLE) };
        for ended in session.wait(idle)? {
            say_ended(&ended);
        }
        if snapshot.elapsed() >= SNAPSHOT_EVERY {
            targets.iter().for_each(|&t| live.snapshot(session, t));
            snapshot = Instant::now();
        }
    }
    let missed = session.missed_returns();
    if missed > 0 {
        eprintln!("{missed} returns missed: too many calls were under way at once");
    }
    // After a signal it is on its way out, as it got the signal too when that came from the terminal.
    let left = command.filter(|&c| session.is_alive(c) && !stop.load(Ordering::Relaxed));
    if let Some(pid) = left.and_then(|c| session.pid(c)) {
        eprintln!("process {pid} goes on, untraced");
    }
    Ok(())
}

fn say_ended(ended: &Ended) {
    match (ended.status, ended.signal) {
        (Some(0), _) => {}
        (Some(status), _) => eprintln!("process {} exited with status {status}", ended.pid),
        (None, Some(signal)) => eprintln!("process {} was ended by signal {signal}", ended.pid),
        (None, None) => eprintln!("process {} has ended", ended.pid),
    }
}

/// Maps, then lost events.
fn summary(args: &RunArgs, session: &Session, live: &Live) -> Result<(), Error> {
    let text = if args.json {
        let mut lines = maps::json(session, live.snapshots())?;
        lines.push(live.summary_json(session)?);
        lines.iter().map(|line| format!("{line}\n")).collect()
    } else {
        maps::text(session, live.snapshots())?
    };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(output_error)?;
    drop(out);
    for line in live.lost_lines(session)? {
        eprintln!("{line}");
    }
    Ok(())
}

/// Set by SIGINT and SIGTERM; a second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let fail = |source| Error::System { what: "signal handler", source };
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(fail)?;
    }
    Ok(flag)
}

/// Opens an object and applies the choices made on the command line.
fn open(args: &RunArgs, path: &std::path::Path) -> Result<Object, Error> {
    let mut object = Object::open(path)?;
    if !args.progs.is_empty() {
        let names: Vec<String> = object.spec().progs.iter().map(|p| p.name.clone()).collect();
        for name in names {
            object.set_autoload(&name, args.progs.contains(&name))?;
        }
    }
    Ok(object)
}
