//! Traced processes: attaching, starting, waiting for their end, letting them go.

use super::Session;
use crate::Error;
use crate::session::{Ended, TargetId, process};
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal, test_kill_process};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use stylet_agent_image as agent;
use stylet_inject::{Command, Detached, Target, WindowId, WindowSpec};

/// Time between two looks for processes that died with something in their hands.
const REPAIR_EVERY: Duration = Duration::from_millis(500);

/// Time between two readings of the clock for programs, which would need a system call otherwise.
const CLOCK_EVERY: Duration = Duration::from_millis(500);
/// Time to the second reading, with which the first becomes of use.
const CLOCK_FIRST: Duration = Duration::from_millis(25);

pub(super) struct TargetState {
    pub pid: i32,
    /// `None` once it has been let go.
    pub target: Option<Target>,
    pub window: WindowId,
    pub pidfd: OwnedFd,
    /// Started by this session, which must collect it.
    child: bool,
    /// Runs: always, but for a command until [`Session::resume`].
    running: bool,
    /// Its process ids mean here what they mean there.
    own_pidns: bool,
    pub ended: bool,
}

impl Session {
    /// Takes on a running process: checks that it can be traced and maps the arena into it.
    ///
    /// # Errors
    /// [`Error::Inject`].
    pub fn attach_pid(&mut self, pid: i32) -> Result<TargetId, Error> {
        if u32::try_from(pid) == Ok(std::process::id()) {
            return Err(Error::Itself { pid });
        }
        let target = Target::attach(pid).map_err(at(""))?;
        self.check_filters(pid)?;
        // Named twice, or by the ids of two threads.
        if let Some(known) = self.targets.iter().position(|t| t.pid == target.pid()) {
            return Ok(TargetId(known));
        }
        self.add_target(target, false)
    }

    /// Starts a command, stopped at its entry point until [`Session::resume`].
    ///
    /// # Errors
    /// [`Error::Inject`].
    pub fn spawn(&mut self, command: &[OsString]) -> Result<TargetId, Error> {
        let [program, args @ ..] = command else {
            return Err(Error::Bug { what: "an empty command".into() });
        };
        let target = Target::spawn(Command::new(program).args(args)).map_err(at(""))?;
        let pid = Pid::from_raw(target.pid());
        // Nothing of a command that can not be traced may run.
        self.add_target(target, true).inspect_err(|_| {
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        })
    }

    /// Helpers make system calls in the traced process, which its own seccomp filters may answer by killing it.
    fn check_filters(&self, pid: i32) -> Result<(), Error> {
        let calls = self.objects.iter().flat_map(|o| &o.progs).any(|p| p.code.has_calls);
        let status = stylet_inject::proc::Status::of(pid).map_err(at(""))?;
        if calls && status.has_foreign_filters() {
            let advice = "; only programs that call no helpers can run in it";
            return Err(at("")(stylet_inject::Error::Seccomp { pid, mode: "filter", advice }));
        }
        Ok(())
    }

    fn add_target(&mut self, mut target: Target, child: bool) -> Result<TargetId, Error> {
        let pid = target.pid();
        let offset = |name| agent::symbol(name).map(u64::from).unwrap_or(0);
        let spec = WindowSpec {
            fd: self.arena.fd().as_raw_fd(),
            slot_enter: offset("stylet_slot_enter"),
            slot_leave: offset("stylet_slot_leave"),
        };
        let window = target.map_window(&spec).map_err(at(""))?;
        let pidfd = process::open_pidfd(pid)?;
        let pidns = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own_pidns = pidns("self").is_some() && pidns("self") == pidns(&pid.to_string());
        self.targets.push(TargetState {
            pid,
            target: Some(target),
            window,
            pidfd,
            child,
            running: !child,
            own_pidns,
            ended: false,
        });
        Ok(TargetId(self.targets.len() - 1))
    }

    /// Lets a started command run.
    pub fn resume(&mut self, target: TargetId) {
        let Some(state) = self.targets.get_mut(target.0) else { return };
        state.running = true;
        if let Some(target) = state.target.as_mut() {
            target.resume();
        }
    }

    /// Process id of a target.
    pub fn pid(&self, target: TargetId) -> Option<i32> {
        Some(self.targets.get(target.0)?.pid)
    }

    /// Returns that return programs did not see, in the targets that live: too many calls were under way at once.
    pub fn missed_returns(&self) -> u64 {
        let alive = self.targets.iter().filter(|t| !t.ended).filter_map(|t| t.target.as_ref());
        // One that has just died has nothing to tell.
        alive.filter_map(|target| target.missed_returns().ok()).sum()
    }

    /// Whether a target has not been seen to end.
    pub fn is_alive(&self, target: TargetId) -> bool {
        self.targets.get(target.0).is_some_and(|t| !t.ended)
    }

    /// Number of targets that have not ended.
    pub fn alive(&self) -> usize {
        self.targets.iter().filter(|t| !t.ended).count()
    }

    /// Waits at most `timeout` for targets to end; what dead processes held in the arena is repaired.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Ended>, Error> {
        let alive: Vec<usize> =
            (0..self.targets.len()).filter(|&i| !self.targets[i].ended).collect();
        let fds: Vec<&OwnedFd> = alive.iter().map(|&i| &self.targets[i].pidfd).collect();
        let ready: Vec<usize> =
            process::wait_any(&fds, timeout)?.into_iter().map(|i| alive[i]).collect();
        let due = if self.clock_set { CLOCK_EVERY } else { CLOCK_FIRST };
        if self.last_clock.elapsed() >= due {
            self.clock_set = self.arena.refresh_clock();
            self.last_clock = Instant::now();
        }
        let ended: Vec<Ended> = ready.into_iter().map(|i| self.collect(i)).collect();
        if !ended.is_empty() || self.last_repair.elapsed() >= REPAIR_EVERY {
            self.repair_dead();
            self.last_repair = Instant::now();
        }
        Ok(ended)
    }

    /// Frees what processes that are gone held in the arena: targets, and children of theirs.
    fn repair_dead(&self) {
        // Processes of another pid namespace go by numbers that mean other processes here.
        if self.targets.iter().any(|t| !t.own_pidns) {
            return;
        }
        for (index, pid) in self.arena.processes() {
            let gone = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
            if gone {
                self.arena.repair(index);
            }
        }
    }

    /// Notes the end of a target.
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

    /// Takes every probe out of every target that is alive, and out of children that inherited probes. A command that was
    /// never let run is ended.
    ///
    /// # Errors
    /// [`Error::Inject`] for the first process that could not be restored; the others are.
    pub fn detach_all(&mut self) -> Result<Vec<Detached>, Error> {
        let mut reports = Vec::new();
        let mut first_error = None;
        for state in &mut self.targets {
            let Some(target) = state.target.take() else { continue };
            if !state.running {
                let _ = pidfd_send_signal(&state.pidfd, Signal::KILL);
                continue;
            }
            match target.detach() {
                Ok(report) => reports.push(report),
                Err(error) => {
                    first_error.get_or_insert(at(&format!("process {}: ", state.pid))(error));
                }
            }
        }
        first_error.map_or(Ok(reports), Err)
    }
}

/// Wraps an error of `inject` with what was being done.
pub(super) fn at(context: &str) -> impl Fn(stylet_inject::Error) -> Error {
    let context = context.to_owned();
    move |source| Error::Inject { context: context.clone(), source }
}
