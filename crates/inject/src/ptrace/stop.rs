//! All threads of a process, stopped.

use super::raw::{self, Regs, Wait};
use crate::proc::{self, Status};
use crate::{Error, Result};
use std::io;
use std::time::{Duration, Instant};

/// Time for a thread to stop; only an uninterruptible wait takes longer than microseconds.
const STOP_TIME: Duration = Duration::from_secs(3);
/// Rounds of looking for new threads.
const MAX_ROUNDS: usize = 200;

/// `ERESTARTNOHAND` of the kernel's include/linux/errno.h: restart the call unless a handler runs.
const ERESTARTNOHAND: i64 = 514;

/// System calls that fail with EINTR after any stop, though no handler ran (signal(7), last section).
const INTERRUPTED_BY_STOPS: [i64; 8] = [
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_io_getevents,
    libc::SYS_io_uring_enter,
];

/// One stopped thread.
pub struct Thread {
    /// Thread id.
    pub tid: i32,
    /// Its registers.
    pub regs: Regs,
}

impl Thread {
    /// Moves the thread to another instruction, at once: should the tracer die, it goes on there.
    pub fn set_ip(&mut self, ip: u64) -> Result<()> {
        self.regs.rip = ip;
        raw::set_regs(self.tid, &self.regs).map_err(|e| sys(self.tid, "PTRACE_SETREGS", e))
    }
}

/// A stopped process. Only the OS thread that made it can use it.
pub struct Stop {
    pid: i32,
    options: i32,
    threads: Vec<Thread>,
}

impl Stop {
    /// Seizes and stops every thread. On an error threads already stopped are released when the calling OS thread ends, or
    /// by [`Stop::release`] of the value's drop.
    pub fn all(pid: i32) -> Result<Stop> {
        let status = proc::check(pid)?;
        let mut options = libc::PTRACE_O_TRACESYSGOOD;
        if status.has_foreign_filters() {
            options |= libc::PTRACE_O_SUSPEND_SECCOMP;
        }
        let mut stop = Stop { pid, options, threads: Vec::new() };
        stop.rounds()?;
        Ok(stop)
    }

    /// Takes over a process whose first thread this OS thread holds in a signal-delivery stop; the signal is dropped.
    pub(crate) fn adopt(pid: i32) -> Result<Stop> {
        let options = libc::PTRACE_O_TRACESYSGOOD;
        let request = |req, data: i32| {
            raw::request(req, pid, 0, data as usize).map_err(|e| sys(pid, "ptrace", e))
        };
        request(libc::PTRACE_SETOPTIONS, options)?;
        request(libc::PTRACE_INTERRUPT, 0)?;
        request(libc::PTRACE_CONT, 0)?;
        let mut stop = Stop { pid, options, threads: Vec::new() };
        let regs = stop.wait_stop(pid)?.ok_or(Error::Gone { pid })?;
        stop.threads.push(Thread { tid: pid, regs });
        // Initialisers of libraries may have started threads.
        stop.rounds()?;
        Ok(stop)
    }

    fn rounds(&mut self) -> Result<()> {
        for _ in 0..MAX_ROUNDS {
            let mut new = Vec::new();
            for tid in proc::threads(self.pid)? {
                if !self.threads.iter().any(|t| t.tid == tid) && self.seize(tid)? {
                    new.push(tid);
                }
            }
            if new.is_empty() {
                return if self.threads.is_empty() {
                    Err(Error::Gone { pid: self.pid })
                } else {
                    Ok(())
                };
            }
            for tid in new {
                if let Some(regs) = self.wait_stop(tid)? {
                    let mut thread = Thread { tid, regs };
                    restart_interrupted(&mut thread);
                    self.threads.push(thread);
                }
            }
        }
        Err(Error::Unstable { pid: self.pid })
    }

    /// Whether the thread is now traced; false if it has ended.
    fn seize(&self, tid: i32) -> Result<bool> {
        let error = match raw::seize(tid, self.options) {
            Ok(()) => return self.interrupt(tid),
            Err(error) => error,
        };
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(false);
        }
        let status = Status::of(tid);
        match (error.raw_os_error(), status) {
            (_, Err(_)) => Ok(false),
            (_, Ok(s)) if matches!(s.state, 'Z' | 'X' | 'x') => Ok(false),
            (_, Ok(s)) if s.tracer != 0 && s.tracer != std::process::id() as i32 => {
                Err(Error::AlreadyTraced { pid: self.pid, tracer: s.tracer })
            }
            (Some(libc::EPERM), _) if self.options & libc::PTRACE_O_SUSPEND_SECCOMP != 0 => {
                Err(Error::Seccomp {
                    pid: self.pid,
                    mode: "filter",
                    advice: "; CAP_SYS_ADMIN would allow to suspend the filter while it is stopped",
                })
            }
            (Some(libc::EPERM | libc::EACCES), _) => {
                Err(Error::Permission { pid: self.pid, advice: proc::advice(self.pid) })
            }
            _ => Err(sys(self.pid, "PTRACE_SEIZE", error)),
        }
    }

    fn interrupt(&self, tid: i32) -> Result<bool> {
        match raw::interrupt(tid) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(e) => Err(sys(self.pid, "PTRACE_INTERRUPT", e)),
        }
    }

    /// Waits for the stop that an interrupt caused. A signal that comes first is delivered: the thread then stops at its
    /// handler's first instruction. `None`: the thread has ended.
    pub(super) fn wait_stop(&self, tid: i32) -> Result<Option<Regs>> {
        loop {
            match wait_event(self.pid, tid)? {
                Wait::Stopped(_) => {
                    return match raw::get_regs(tid) {
                        Ok(regs) => Ok(Some(regs)),
                        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
                        Err(e) => Err(sys(self.pid, "PTRACE_GETREGS", e)),
                    };
                }
                Wait::Ended(_) => return Ok(None),
                Wait::Signal(signal) => resume(self.pid, raw::cont(tid, signal))?,
                Wait::Syscall | Wait::Event(_) | Wait::None => resume(self.pid, raw::cont(tid, 0))?,
            }
        }
    }

    /// Process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The stopped threads; at least one.
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// The stopped threads, to be moved.
    pub fn threads_mut(&mut self) -> &mut [Thread] {
        &mut self.threads
    }

    /// Lets all threads go on, untraced, as if nothing had happened.
    pub fn release(mut self) {
        self.let_go();
    }

    fn let_go(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that was killed meanwhile refuses, rightly.
            let _ = raw::detach(thread.tid);
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Makes a call that failed only because of this stop start again, unless a signal handler comes first.
fn restart_interrupted(thread: &mut Thread) {
    let interrupted = thread.regs.rax as i64 == i64::from(-libc::EINTR)
        && INTERRUPTED_BY_STOPS.contains(&(thread.regs.orig_rax as i64));
    if interrupted && Status::of(thread.tid).is_ok_and(|s| s.pending == 0) {
        thread.regs.rax = (-ERESTARTNOHAND) as u64;
        // At once: should the tracer die, the thread does not see the error. A failure means it was killed.
        let _ = raw::set_regs(thread.tid, &thread.regs);
    }
}

/// The next event of a thread, within [`STOP_TIME`].
pub(super) fn wait_event(pid: i32, tid: i32) -> Result<Wait> {
    let start = Instant::now();
    let mut spins = 0u32;
    loop {
        match raw::wait_nohang(tid) {
            Ok(Wait::None) => {}
            Ok(event) => return Ok(event),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Ok(Wait::Ended(0)),
            Err(e) => return Err(sys(pid, "waitpid", e)),
        }
        spins += 1;
        if spins < 20 {
            std::thread::yield_now();
        } else if start.elapsed() < STOP_TIME {
            std::thread::sleep(Duration::from_micros(if spins < 200 { 20 } else { 500 }));
        } else {
            let state = Status::of(tid).map_or('?', |s| s.state);
            return Err(Error::WontStop { tid, state });
        }
    }
}

/// A resume request that fails because the thread was killed is no error: the next wait tells.
pub(super) fn resume(pid: i32, result: io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(sys(pid, "PTRACE_CONT", e)),
        _ => Ok(()),
    }
}

/// An error of a request; a vanished thread is [`Error::Gone`].
pub(super) fn sys(pid: i32, call: &'static str, source: io::Error) -> Error {
    if source.raw_os_error() == Some(libc::ESRCH) {
        Error::Gone { pid }
    } else {
        Error::Sys { pid, call, source }
    }
}
