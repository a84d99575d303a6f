//! The crate's one error type: what was wanted, and the fact that forbids it.

use std::io;
use std::path::PathBuf;

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a process, a site or a symbol cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such process, or it ended while it was worked on.
    #[error("no process {pid}: it never was, or has ended")]
    Gone {
        /// Process.
        pid: i32,
    },
    /// The process has ended and waits for its parent.
    #[error("process {pid} is a zombie: it has ended, its parent has not collected it")]
    Zombie {
        /// Process.
        pid: i32,
    },
    /// A kernel thread has no user memory.
    #[error("process {pid} is a kernel thread: it has no user code")]
    KernelThread {
        /// Process.
        pid: i32,
    },
    /// Only 64-bit x86 code is supported.
    #[error("process {pid} runs {what}; only x86-64 programs can be traced")]
    ForeignArch {
        /// Process.
        pid: i32,
        /// Which architecture.
        what: String,
    },
    /// ptrace was denied.
    #[error("no permission to trace process {pid}: {advice}")]
    Permission {
        /// Process.
        pid: i32,
        /// What would grant it.
        advice: String,
    },
    /// Another process has attached by ptrace.
    #[error("process {pid} is already traced by process {tracer}")]
    AlreadyTraced {
        /// Process.
        pid: i32,
        /// The other tracer.
        tracer: i32,
    },
    /// A return's table entry has room for so many sessions.
    #[error("{site:#x} has {most} session probes already: a function can have no more")]
    TooManySessions {
        /// Address.
        site: u64,
        /// The limit.
        most: usize,
    },
    /// System calls on behalf of the tracer or of helpers could kill this process.
    #[error(
        "process {pid} runs under seccomp {mode} mode: system calls made in it could kill it{advice}"
    )]
    Seccomp {
        /// Process.
        pid: i32,
        /// `strict` or `filter`.
        mode: &'static str,
        /// What would help.
        advice: &'static str,
    },
    /// The thread count kept growing while threads were being stopped.
    #[error("the threads of process {pid} could not all be stopped: new ones keep appearing")]
    Unstable {
        /// Process.
        pid: i32,
    },
    /// A thread did not stop in time (it is in an uninterruptible wait).
    #[error("thread {tid} did not stop: it is in state {state} (uninterruptible?)")]
    WontStop {
        /// Thread.
        tid: i32,
        /// State letter from /proc.
        state: char,
    },
    /// ptrace requests must come from the OS thread that holds the stop.
    #[error(
        "process {pid} is held stopped by another thread of this program; resume it there first"
    )]
    WrongThread {
        /// Process.
        pid: i32,
    },
    /// The program could not be started.
    #[error("cannot start {cmd}: {source}")]
    Spawn {
        /// Program.
        cmd: String,
        /// Cause.
        source: io::Error,
    },
    /// The program ended before it reached its entry point.
    #[error("{cmd} ended before its entry point was reached ({how})")]
    SpawnDied {
        /// Program.
        cmd: String,
        /// Wait status in words.
        how: String,
    },
    /// A system call of the tracer failed.
    #[error("{call} for process {pid}: {source}")]
    Sys {
        /// Process.
        pid: i32,
        /// System call or file.
        call: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// A system call made inside the traced process failed.
    #[error("{call} inside process {pid}: {source}")]
    Remote {
        /// Process.
        pid: i32,
        /// System call.
        call: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// Memory of the process could not be read or written.
    #[error("cannot access {len} bytes at {addr:#x} of process {pid}: {source}")]
    Memory {
        /// Process.
        pid: i32,
        /// Address.
        addr: u64,
        /// Bytes.
        len: usize,
        /// Cause.
        source: io::Error,
    },
    /// No place for the few bytes through which system calls are made.
    #[error(
        "process {pid} has no {need} spare bytes at the end of any file's code mapping to make system calls from"
    )]
    NoStubSpace {
        /// Process.
        pid: i32,
        /// Bytes needed.
        need: usize,
    },
    /// No gap in the address space.
    #[error("no gap of {len:#x} bytes within reach of {near:#x} in process {pid}")]
    NoSpace {
        /// Process.
        pid: i32,
        /// Bytes wanted.
        len: u64,
        /// Address to be near to.
        near: u64,
    },
    /// The window's parameters contradict the layout.
    #[error("window: {why}")]
    Window {
        /// What is wrong.
        why: String,
    },
    /// The address is not executable code of a file.
    #[error("address {site:#x} of process {pid} is not in executable, file-backed memory")]
    NotCode {
        /// Process.
        pid: i32,
        /// Site.
        site: u64,
    },
    /// The site cannot be patched safely.
    #[error("site {site:#x} cannot be patched: {why}")]
    Unpatchable {
        /// Site.
        site: u64,
        /// The reason.
        why: Unpatchable,
    },
    /// A thread kept standing where bytes were to change.
    #[error("site {site:#x} stayed in use by thread {tid}")]
    Busy {
        /// Site.
        site: u64,
        /// Thread.
        tid: i32,
    },
    /// The program reference contradicts the window it names.
    #[error("program at {code_off:#x}: {why}")]
    BadProg {
        /// Offset in the window.
        code_off: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// No such probe or window.
    #[error("unknown {what}")]
    Unknown {
        /// `probe` or `window`.
        what: &'static str,
    },
    /// A file, function or library could not be named or read.
    #[error(transparent)]
    Symbols(stylet_symbols::Error),
    /// The file is not mapped by the process.
    #[error("{} is not mapped in process {pid}", path.display())]
    NotMapped {
        /// File.
        path: PathBuf,
        /// Process.
        pid: i32,
    },
    /// The offset is in no executable segment of the file.
    #[error("{}: offset {offset:#x} is not in its executable code", path.display())]
    NotCodeOffset {
        /// File.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
    },
}

impl From<stylet_symbols::Error> for Error {
    fn from(error: stylet_symbols::Error) -> Error {
        match error {
            stylet_symbols::Error::Proc { pid, file, source } => {
                crate::proc::file_error(pid, file, source)
            }
            other => Error::Symbols(other),
        }
    }
}

/// Why a site's bytes cannot be replaced by a jump.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unpatchable {
    /// A branch goes into the bytes that the jump would cover.
    #[error("a branch at {from:#x} goes to {to:#x}, inside the {len} bytes that a jump needs")]
    BranchInside {
        /// Address of the branch.
        from: u64,
        /// Its target.
        to: u64,
        /// Bytes the jump needs.
        len: usize,
    },
    /// The function ends too early.
    #[error(
        "the function is only {have} bytes long here and other code follows; a jump needs {need}"
    )]
    TooShort {
        /// Bytes up to the end.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Another symbol starts inside.
    #[error("function `{name}` starts at {at:#x}, inside the bytes that a jump needs")]
    SymbolInside {
        /// Its name.
        name: String,
        /// Its address.
        at: u64,
    },
    /// Bytes that are no instruction.
    #[error("invalid instruction at {at:#x}")]
    Invalid {
        /// Address.
        at: u64,
    },
    /// A call whose return address lies inside.
    #[error("the call at {at:#x} returns into the bytes that a jump needs")]
    CallInside {
        /// Address of the call.
        at: u64,
    },
    /// An instruction that cannot be moved.
    #[error("the instruction at {at:#x} cannot be moved: {why}")]
    Immovable {
        /// Address.
        at: u64,
        /// The reason.
        why: String,
    },
    /// The function branches through a table that may lead inside.
    #[error(
        "the function branches indirectly at {from:#x}; its targets may lie inside the bytes that a jump needs"
    )]
    IndirectBranch {
        /// Address of the branch.
        from: u64,
    },
    /// Not the first byte of an instruction.
    #[error("not the start of an instruction: {at:#x} is")]
    MidInstruction {
        /// Start of the instruction around the site.
        at: u64,
    },
    /// Another tracer's or debugger's patch is there.
    #[error("it already carries a patch of another tracer (it starts with {what})")]
    Patched {
        /// `a jump to anonymous memory` or `int3`.
        what: &'static str,
    },
    /// Return probes cannot work here.
    #[error("a return probe cannot work here: {why}")]
    Return {
        /// The reason.
        why: &'static str,
    },
}
