//! Runs one test in a child process, so that a crash or a hang is that test's alone.

use std::io::Read;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use crate::guest::Guest;
use crate::test::{Failure, Outcome, Test};

/// How a test ended, and what it printed.
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// Its standard output and error, the last 8 KiB.
    pub output: String,
    /// How long it took.
    pub duration: Duration,
}

/// Bytes of output that are kept.
const OUTPUT: usize = 8 << 10;

/// Runs `test` in a child of this process, which must have a single thread.
pub fn run(test: &Test, guest: &Guest) -> Run {
    let start = Instant::now();
    match spawn_and_wait(test, guest, start) {
        Ok((outcome, output)) => Run { outcome, output, duration: start.elapsed() },
        Err(e) => Run {
            outcome: Err(Failure::Failed(format!("the runner: {e}"))),
            output: String::new(),
            duration: start.elapsed(),
        },
    }
}

/// Starts the child, collects what it says until it ends or its time is up.
fn spawn_and_wait(
    test: &Test,
    guest: &Guest,
    start: Instant,
) -> std::io::Result<(Outcome, String)> {
    let (result_in, result_out) = std::io::pipe()?;
    let (mut print_in, print_out) = std::io::pipe()?;
    // SAFETY: the process has one thread, so the child's memory is a consistent copy.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((result_in, print_in));
        child_main(test, guest, result_out, &print_out);
    }
    drop((result_out, print_out));
    let child = Pid::from_raw(child).ok_or_else(std::io::Error::last_os_error)?;
    rustix::fs::fcntl_setfl(&print_in, OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&result_in, OFlags::NONBLOCK)?;

    let limit = Duration::from_secs(test.limit.into());
    let mut output = Vec::new();
    let status = loop {
        drain(&mut print_in, &mut output);
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG)? {
            break Some(status);
        }
        if start.elapsed() > limit {
            break None;
        }
        let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        // Descendants that outlive the child may keep the pipe open, so its end says nothing; a pause paces the loop.
        let mut fds = [PollFd::new(&print_in, PollFlags::IN)];
        poll(&mut fds, Some(&pause))?;
        if fds[0].revents().contains(PollFlags::HUP) {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let outcome = match status {
        None => {
            kill_group(child);
            waitpid(Some(child), WaitOptions::empty())?;
            Err(Failure::Failed(format!("still running after {} s", test.limit)))
        }
        Some(status) => {
            kill_group(child);
            let mut said = Vec::new();
            drain(&result_in, &mut said);
            match serde_json::from_slice(&said) {
                Ok(outcome) if status.exit_status() == Some(0) => outcome,
                _ => Err(Failure::Failed(
                    match (status.terminating_signal(), status.exit_status()) {
                        (Some(signal), _) => format!("killed by signal {signal}"),
                        (_, code) => format!("ended with status {}", code.unwrap_or(-1)),
                    },
                )),
            }
        }
    };
    drain(&mut print_in, &mut output);
    let from = output.len().saturating_sub(OUTPUT);
    Ok((outcome, String::from_utf8_lossy(&output[from..]).into_owned()))
}

/// The child: runs the test with its output in the pipe, writes the outcome, ends.
fn child_main(
    test: &Test,
    guest: &Guest,
    mut result: std::io::PipeWriter,
    print: &std::io::PipeWriter,
) -> ! {
    let ok = rustix::process::setpgid(None, None).is_ok()
        && rustix::stdio::dup2_stdout(print.as_fd()).is_ok()
        && rustix::stdio::dup2_stderr(print.as_fd()).is_ok();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (test.run)(guest)))
        .unwrap_or_else(|panic| Err(Failure::Failed(panic_message(&*panic))));
    let written = serde_json::to_writer(&mut result, &outcome).is_ok();
    let code = i32::from(!(ok && written));
    // SAFETY: ends the process without running the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// What a panic said.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("(no text)"))
}

/// Ends what the test left running in its process group; the group may be empty by now.
fn kill_group(child: Pid) {
    let _ = rustix::process::kill_process_group(child, Signal::KILL);
}

/// Reads what is there, without waiting.
fn drain(mut from: impl Read, into: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        into.extend_from_slice(&buffer[..n]);
        if into.len() > 64 * OUTPUT {
            into.drain(..into.len() - OUTPUT);
        }
    }
}
