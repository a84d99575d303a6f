//! A traced process: windows mapped into it, sites patched in it, and the way back.

mod attach;
mod counters;
mod inherit;
mod quiet;
mod record;
mod recover;
mod region;
mod resolve;
mod returns;
mod spawn;
mod stacks;
mod state;
mod undo;
mod window;

pub use attach::{Kind, ProbeId, ProbeSpec, ProgRef};
pub use resolve::{MarkerPlace, Resolved};
pub use spawn::Command;
pub use undo::Detached;
pub use window::{WindowId, WindowSpec};

use crate::proc::{self, Maps, Memory};
use crate::ptrace::{Session, Stop, Wait, wait_blocking};
use crate::{Error, Result};
use state::State;
use std::time::Duration;

/// Attempts at a change that found a thread standing in the way.
const BUSY_ATTEMPTS: u32 = 60;

/// A process with probes.
///
/// Its threads run untraced; they are stopped for microseconds to change something. Dropping the value changes nothing in
/// the process: probes stay. [`Target::detach`] takes everything out.
#[derive(Debug)]
pub struct Target {
    pid: i32,
    state: Option<Box<State>>,
    /// A started program that has not been let run yet.
    held: Option<Session>,
}

impl Target {
    /// A running process. Checks that it can be traced. Nothing is changed yet, except that what tracers left that have been
    /// killed is removed.
    pub fn attach(pid: i32) -> Result<Target> {
        let status = proc::check(pid)?;
        let target = Target {
            pid: status.tgid,
            state: Some(Box::new(State::new(status.tgid)?)),
            held: None,
        };
        // Seizing is the only reliable test of permission.
        Session::start(move || Stop::all(status.tgid))?;
        target.recover()?;
        Ok(target)
    }

    /// A started program, stopped at its entry point: the dynamic linker has loaded its libraries and run their
    /// initialisers. See [`Target::resume`].
    pub fn spawn(command: Command) -> Result<Target> {
        let (pid, session) = spawn::start(command)?;
        let state = session.run(move |_| State::new(pid))?;
        Ok(Target { pid, state: Some(Box::new(state)), held: Some(session) })
    }

    /// Lets a started program run; it is untraced then. Nothing happens if it runs already.
    pub fn resume(&mut self) {
        self.held = None;
    }

    /// Whether the program has been started and not yet let run.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Waits for the end of a program started with [`Target::spawn`]; its wait status (see waitpid(2)).
    pub fn wait(&mut self) -> Result<i32> {
        self.resume();
        loop {
            match wait_blocking(self.pid) {
                Ok(Wait::Ended(status)) => return Ok(status),
                Ok(_) => {}
                Err(source) => return Err(Error::Sys { pid: self.pid, call: "waitpid", source }),
            }
        }
    }

    /// The same probes as a child inherited them.
    fn from_state(state: State) -> Target {
        Target { pid: state.pid, state: Some(Box::new(state)), held: None }
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What is mapped now.
    pub fn maps(&self) -> Result<Maps> {
        Ok(Maps::of(self.pid)?)
    }

    /// The process's memory.
    pub fn memory(&self) -> Result<Memory> {
        Memory::open(self.pid)
    }

    /// Maps a window. Several windows can be mapped into one process.
    pub fn map_window(&mut self, spec: &WindowSpec) -> Result<WindowId> {
        let spec = *spec;
        self.stopped(move |state, stop| state.map_window(stop, &spec))
    }

    /// First byte of a window in the process.
    pub fn window_address(&self, window: WindowId) -> Result<u64> {
        self.state().window(window).map(|w| w.base)
    }

    /// Attaches one program. See [`Target::attach_probes`].
    pub fn attach_probe(&mut self, spec: &ProbeSpec) -> Result<ProbeId> {
        let one = self.attach_probes(std::slice::from_ref(spec))?.pop();
        one.unwrap_or(Err(Error::Unknown { what: "probe" }))
    }

    /// Attaches programs to sites, with one stop of the process for all. The result has an entry for each, in order; an error
    /// of the whole is one of the process.
    pub fn attach_probes(&mut self, specs: &[ProbeSpec]) -> Result<Vec<Result<ProbeId>>> {
        let plans = self.state_mut().plan_all(specs);
        let mut work: Vec<_> = specs.iter().cloned().zip(plans).collect();
        let mut results: Vec<Option<Result<ProbeId>>> = specs.iter().map(|_| None).collect();
        let mut pause = Duration::from_micros(50);
        for attempt in 1.. {
            let last = attempt >= BUSY_ATTEMPTS || self.is_held();
            let batch = std::mem::take(&mut work);
            let outcome = self.stopped(move |state, stop| Ok(state.attach_all(stop, batch)))?;
            let mut open = (0..results.len())
                .filter(|&i| results[i].is_none())
                .collect::<Vec<_>>()
                .into_iter();
            let mut still = Vec::new();
            for (item, result) in outcome {
                let index = open.next().unwrap_or_default();
                match result {
                    Err(Error::Busy { .. }) if !last => still.push(item),
                    other => results[index] = Some(other),
                }
            }
            work = still;
            if work.is_empty() {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Ok(results
            .into_iter()
            .map(|r| r.unwrap_or(Err(Error::Unknown { what: "probe" })))
            .collect())
    }

    /// Takes one program off its site. Runs under way end normally.
    pub fn detach_probe(&mut self, probe: ProbeId) -> Result<()> {
        self.stopped(move |state, stop| state.detach_probe(stop, probe))
    }

    /// Returns that were not probed because the table of replaced return addresses was full.
    pub fn missed_returns(&self) -> Result<u64> {
        self.state().missed_returns()
    }

    /// Takes everything out of the process and of children that inherited it. Afterwards their code and mappings are as
    /// before, unless a thread stayed in code of ours: see [`Detached`].
    pub fn detach(mut self) -> Result<Detached> {
        self.detach_all()
    }

    fn state(&self) -> &State {
        // Only absent while a session works on it, which borrows `self` mutably.
        self.state.as_deref().expect("state is present between sessions")
    }

    fn state_mut(&mut self) -> &mut State {
        self.state.as_deref_mut().expect("state is present between sessions")
    }

    /// Runs `work` with all threads stopped.
    fn stopped<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut State, &mut Stop) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let pid = self.pid;
        let temporary = match &self.held {
            Some(_) => None,
            None => Some(Session::start(move || Stop::all(pid))?),
        };
        let session = temporary.as_ref().or(self.held.as_ref()).ok_or(Error::Gone { pid })?;
        let mut state = self.state.take().expect("state is present between sessions");
        let (state, result) = session.run(move |stop| {
            let result = match stop {
                Some(stop) => work(&mut state, stop),
                None => Err(Error::Gone { pid }),
            };
            (state, result)
        });
        self.state = Some(state);
        result
    }
}
