//! Processes that programs of the kernel are limited to.

use super::Session;
use crate::Error;
use crate::session::{Ended, TargetId, process};
use rustix::process::{Signal, pidfd_send_signal};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;
use stylet_inject::{Command, Target};

/// A process of a session.
pub(super) struct TargetState {
    pub pid: i32,
    pidfd: OwnedFd,
    /// A command that has not been let run.
    held: Option<Target>,
    /// Started by this session, which must collect it.
    child: bool,
    ended: bool,
}

impl Session {
    /// Takes on a running process, by its id or that of one of its threads.
    ///
    /// # Errors
    /// [`Error::NoProcess`].
    pub fn attach_pid(&mut self, pid: i32) -> Result<TargetId, Error> {
        // That a file of /proc is missing says no more to whom gave the id.
        let none = std::io::Error::from(rustix::io::Errno::SRCH);
        let gone = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoProcess { pid, source: none },
            _ => Error::NoProcess { pid, source },
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
        let tgid = status.lines().find_map(|l| l.strip_prefix("Tgid:")?.trim().parse().ok());
        let pid = tgid.unwrap_or(pid);
        if let Some(known) = self.targets.iter().position(|t| t.pid == pid) {
            return Ok(TargetId(known));
        }
        let pidfd = process::open_pidfd(pid)?;
        self.add_target(TargetState { pid, pidfd, held: None, child: false, ended: false })
    }

    /// Starts a command, stopped at its entry point until [`Session::resume`].
    ///
    /// # Errors
    /// [`Error::Inject`].
    pub fn spawn(&mut self, command: &[OsString]) -> Result<TargetId, Error> {
        let [program, args @ ..] = command else {
            return Err(Error::Bug { what: "an empty command".into() });
        };
        let target = Target::spawn(Command::new(program).args(args))
            .map_err(|source| Error::Inject { context: String::new(), source })?;
        let pid = target.pid();
        let pidfd = process::open_pidfd(pid)?;
        self.add_target(TargetState { pid, pidfd, held: Some(target), child: true, ended: false })
    }

    fn add_target(&mut self, target: TargetState) -> Result<TargetId, Error> {
        self.targets.push(target);
        Ok(TargetId(self.targets.len() - 1))
    }

    /// Lets a started command run.
    pub fn resume(&mut self, target: TargetId) {
        let Some(state) = self.targets.get_mut(target.0) else { return };
        if let Some(mut held) = state.held.take() {
            held.resume();
        }
    }

    /// Process id of a target.
    pub fn pid(&self, target: TargetId) -> Option<i32> {
        Some(self.target(target)?.pid)
    }

    /// Whether a target has not been seen to end.
    pub fn is_alive(&self, target: TargetId) -> bool {
        self.target(target).is_some_and(|t| !t.ended)
    }

    /// Number of targets that have not ended.
    pub fn alive(&self) -> usize {
        self.targets.iter().filter(|t| !t.ended).count()
    }

    /// Waits at most `timeout` for targets to end.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Ended>, Error> {
        let alive: Vec<usize> =
            (0..self.targets.len()).filter(|&i| !self.targets[i].ended).collect();
        let fds: Vec<&OwnedFd> = alive.iter().map(|&i| &self.targets[i].pidfd).collect();
        let ready = process::wait_any(&fds, timeout)?;
        Ok(ready.into_iter().map(|i| self.collect(alive[i])).collect())
    }

    fn collect(&mut self, index: usize) -> Ended {
        let state = &mut self.targets[index];
        state.ended = true;
        let mut ended =
            Ended { target: TargetId(index), pid: state.pid, status: None, signal: None };
        if state.child {
            process::reap(&state.pidfd, &mut ended);
        }
        ended
    }

    /// Ends commands that were never let run.
    pub(super) fn end_held(&mut self) {
        for state in &mut self.targets {
            if let Some(held) = state.held.take() {
                let _ = pidfd_send_signal(&state.pidfd, Signal::KILL);
                drop(held);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end_held();
    }
}
