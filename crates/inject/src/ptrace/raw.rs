//! ptrace(2) and waitpid(2) as typed calls.

use std::io;

/// `struct user_regs_struct`.
pub type Regs = libc::user_regs_struct;

/// What waitpid reported of a traced thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing yet.
    None,
    /// It ended, with this wait status.
    Ended(i32),
    /// `PTRACE_EVENT_STOP`: our interrupt, or the stop signal of a job-control stop.
    Stopped(i32),
    /// Another ptrace event.
    Event(i32),
    /// Entry to or exit from a system call (`PTRACE_O_TRACESYSGOOD`).
    Syscall,
    /// A signal is about to be delivered.
    Signal(i32),
}

/// One ptrace request without result.
pub(crate) fn request(req: u32, tid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: only requests that take integers, or pointers that the callers below keep valid for the call.
    let rc = unsafe { libc::ptrace(req as libc::c_uint, tid, addr, data) };
    if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `PTRACE_SEIZE` with options.
pub(super) fn seize(tid: i32, options: i32) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// `PTRACE_INTERRUPT`.
pub(super) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets a stopped thread run, delivering `signal` (0: none).
pub(crate) fn cont(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, 0, signal as usize)
}

/// Lets a stopped thread run to the next system call boundary.
pub(super) fn cont_syscall(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, 0)
}

/// Releases a stopped thread.
pub(super) fn detach(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, 0)
}

/// General registers of a stopped thread.
pub(crate) fn get_regs(tid: i32) -> io::Result<Regs> {
    // SAFETY: all-zero is a value of the plain struct.
    let mut regs: Regs = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, tid, 0, &raw mut regs as usize)?;
    Ok(regs)
}

/// Sets the general registers of a stopped thread.
pub(crate) fn set_regs(tid: i32, regs: &Regs) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, tid, 0, &raw const *regs as usize)
}

/// State changes of one thread, without blocking.
pub(super) fn wait_nohang(tid: i32) -> io::Result<Wait> {
    wait(tid, libc::__WALL | libc::WNOHANG)
}

/// State change of one thread.
pub fn wait_blocking(tid: i32) -> io::Result<Wait> {
    wait(tid, libc::__WALL)
}

fn wait(tid: i32, flags: i32) -> io::Result<Wait> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let got = unsafe { libc::waitpid(tid, &mut status, flags) };
        if got == 0 {
            return Ok(Wait::None);
        }
        if got == tid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    if !libc::WIFSTOPPED(status) {
        return Ok(Wait::Ended(status));
    }
    let signal = libc::WSTOPSIG(status);
    Ok(match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Wait::Syscall,
        0 => Wait::Signal(signal),
        libc::PTRACE_EVENT_STOP => Wait::Stopped(signal),
        event => Wait::Event(event),
    })
}
