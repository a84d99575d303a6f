//! Starting a program and stopping it at its entry point.

use crate::proc::{self, Auxv, Memory};
use crate::ptrace::{Session, Stop, Wait, cont, get_regs, request, set_regs, wait_blocking};
use crate::{Error, Result};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A program to start. Standard streams are inherited.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
}

impl Command {
    /// A program, searched in PATH if it has no slash.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Command {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Command {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the others are inherited.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Command {
        self.dir = Some(dir.into());
        self
    }
}

/// Starts it; the session holds it at its entry point.
pub fn start(command: Command) -> Result<(i32, Session)> {
    let cmd = command.program.to_string_lossy().into_owned();
    let (tell, pid) = std::sync::mpsc::channel();
    let session = Session::start(move || {
        let child = fork_stopped(&command)?;
        let pid = child.pid;
        let stop = child.seize(&cmd).and_then(|()| to_entry(pid, &cmd));
        if stop.is_err() {
            end(pid);
        }
        let _ = tell.send(pid);
        stop
    })?;
    let pid = pid.recv().map_err(|_| Error::Gone { pid: 0 })?;
    Ok((pid, session))
}

/// A child before its execve.
struct Child {
    pid: i32,
    /// One byte lets it go on.
    go: io::PipeWriter,
    /// The errno of a failed execve.
    failure: io::PipeReader,
}

fn fork_stopped(command: &Command) -> Result<Child> {
    let cmd = command.program.to_string_lossy().into_owned();
    let failed = |source: io::Error| Error::Spawn { cmd: cmd.clone(), source };
    let exec = Exec::new(command).map_err(failed)?;
    let (mut wait, go) = io::pipe().map_err(failed)?;
    let (failure, mut tell) = io::pipe().map_err(failed)?;
    let (args, env) = (pointers(&exec.args), pointers(&exec.env));
    // SAFETY: the child calls only what is async-signal-safe, and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(failed(io::Error::last_os_error())),
        0 => exec.run(&args, &env, &mut wait, &mut tell),
        pid => Ok(Child { pid, go, failure }),
    }
}

/// Everything execve needs, made before the fork.
struct Exec {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    dir: Option<CString>,
}

impl Exec {
    fn new(command: &Command) -> io::Result<Exec> {
        let text = |s: &OsStr| CString::new(s.as_bytes()).map_err(io::Error::from);
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        env.retain(|(key, _)| !command.env.iter().any(|(k, _)| k == key));
        env.extend(command.env.iter().cloned());
        let pairs = env.iter().map(|(key, value)| {
            let mut pair = key.clone();
            pair.push("=");
            pair.push(value);
            text(&pair)
        });
        let names = std::iter::once(&command.program).chain(&command.args);
        Ok(Exec {
            program: text(&command.program)?,
            args: names.map(|a| text(a)).collect::<io::Result<_>>()?,
            env: pairs.collect::<io::Result<_>>()?,
            dir: command.dir.as_ref().map(|d| text(d.as_os_str())).transpose()?,
        })
    }

    fn run(
        &self,
        args: &[Text],
        env: &[Text],
        wait: &mut io::PipeReader,
        tell: &mut io::PipeWriter,
    ) -> ! {
        use io::{Read, Write};
        let error = self.exec(args, env, || wait.read(&mut [0]).is_ok_and(|n| n == 1));
        let _ = tell.write_all(&error.raw_os_error().unwrap_or(0).to_le_bytes());
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }

    /// Waits for `proceed`, then replaces the child. `args` and `env` end with null pointers.
    fn exec(&self, args: &[Text], env: &[Text], proceed: impl FnOnce() -> bool) -> io::Error {
        if !proceed() {
            return io::Error::from_raw_os_error(libc::ECANCELED);
        }
        // SAFETY: plain system calls in the child; the arrays end with a null pointer and their strings live on.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if self.dir.as_ref().is_some_and(|d| libc::chdir(d.as_ptr()) != 0) {
                return io::Error::last_os_error();
            }
            libc::execvpe(self.program.as_ptr(), args.as_ptr(), env.as_ptr());
        }
        io::Error::last_os_error()
    }
}

/// A string of the new program.
type Text = *const libc::c_char;

/// An array for execve.
fn pointers(list: &[CString]) -> Vec<Text> {
    list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

impl Child {
    /// Seizes the child and lets it reach the end of its execve.
    fn seize(self, cmd: &str) -> Result<()> {
        use io::{Read, Write};
        let Child { pid, mut go, mut failure } = self;
        // Until it runs undisturbed, it must not outlive us with a breakpoint in it.
        let options =
            libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
        let sys = |call| move |source| Error::Sys { pid, call, source };
        request(libc::PTRACE_SEIZE, pid, 0, options as usize).map_err(sys("PTRACE_SEIZE"))?;
        go.write_all(&[1]).map_err(sys("write"))?;
        loop {
            match wait_blocking(pid).map_err(sys("waitpid"))? {
                Wait::Event(libc::PTRACE_EVENT_EXEC) => return Ok(()),
                Wait::Ended(status) => {
                    let mut errno = [0; 4];
                    return Err(match failure.read_exact(&mut errno) {
                        Ok(()) => {
                            let source = io::Error::from_raw_os_error(i32::from_le_bytes(errno));
                            Error::Spawn { cmd: cmd.to_owned(), source }
                        }
                        Err(_) => died(cmd, status),
                    });
                }
                Wait::Signal(signal) => cont(pid, signal).map_err(sys("PTRACE_CONT"))?,
                _ => cont(pid, 0).map_err(sys("PTRACE_CONT"))?,
            }
        }
    }
}

/// Runs a program from its execve to its entry point.
fn to_entry(pid: i32, cmd: &str) -> Result<Stop> {
    proc::check_started(pid)?;
    let entry = Auxv::of(pid)?.entry;
    let memory = Memory::open(pid)?;
    let first = memory.bytes(entry, 1)?;
    memory.write(entry, &[0xcc])?;
    let sys = |call| move |source| Error::Sys { pid, call, source };
    let mut signal = 0;
    loop {
        cont(pid, signal).map_err(sys("PTRACE_CONT"))?;
        signal = 0;
        match wait_blocking(pid).map_err(sys("waitpid"))? {
            Wait::Ended(status) => return Err(died(cmd, status)),
            Wait::Signal(libc::SIGTRAP) => {
                let mut regs = get_regs(pid).map_err(sys("PTRACE_GETREGS"))?;
                if regs.rip == entry + 1 {
                    memory.write(entry, &first)?;
                    regs.rip = entry;
                    set_regs(pid, &regs).map_err(sys("PTRACE_SETREGS"))?;
                    return Stop::adopt(pid);
                }
                signal = libc::SIGTRAP;
            }
            Wait::Signal(other) => signal = other,
            // An initialiser that replaces the program starts it anew: its breakpoint is gone with the old memory.
            Wait::Event(libc::PTRACE_EVENT_EXEC) => return to_entry(pid, cmd),
            _ => {}
        }
    }
}

fn died(cmd: &str, status: i32) -> Error {
    let how = if libc::WIFSIGNALED(status) {
        format!("killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("exit status {}", libc::WEXITSTATUS(status))
    };
    Error::SpawnDied { cmd: cmd.to_owned(), how }
}

/// Ends a child that could not be brought to its entry point.
fn end(pid: i32) {
    // SAFETY: our own child, not yet waited for or already gone.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    while matches!(wait_blocking(pid), Ok(event) if !matches!(event, Wait::Ended(_))) {}
}
