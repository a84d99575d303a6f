//! System calls made in a stopped thread.
//!
//! The call instruction is written, with all threads stopped, into unused bytes at the end of a file's code mapping. Behind it
//! stands code that loads the registers the call changes with the thread's own values and jumps back to where the thread
//! was stopped: if the tracer dies at any moment, the thread finds its way by itself. No stack is used and the signal mask
//! is not touched.

use super::raw::{self, Regs, Wait};
use super::stop::{Stop, resume, sys, wait_event};
use crate::proc::{Maps, Memory};
use crate::{Error, Result};
use std::io;

/// Bytes of the stub.
const STUB: usize = 2 + 9 * 10 + 14;
/// A signal per attempt is delivered before the call is tried again.
const MAX_ATTEMPTS: usize = 1000;
/// `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND`, `ERESTART_RESTARTBLOCK` of include/linux/errno.h.
const ERESTART: [i64; 4] = [-512, -513, -514, -516];

/// A thread prepared for calls. [`Remote::finish`] puts everything back.
pub struct Remote<'a> {
    stop: &'a mut Stop,
    memory: &'a Memory,
    stub: u64,
    spare: Vec<u8>,
    /// Bytes now at `stub`, to write only what changes.
    written: Vec<u8>,
    finished: bool,
}

impl<'a> Remote<'a> {
    /// Prepares the first thread of a stopped process.
    pub fn new(stop: &'a mut Stop, memory: &'a Memory, maps: &Maps) -> Result<Remote<'a>> {
        let (stub, spare) = find_spare(stop, memory, maps)?;
        let written = spare.clone();
        Ok(Remote { stop, memory, stub, spare, written, finished: false })
    }

    /// Makes the system call `nr`; a failure's errno becomes [`Error::Remote`] with the name `call`.
    pub fn call(&mut self, call: &'static str, nr: i64, args: [u64; 6]) -> Result<u64> {
        let rc = self.raw_call(nr, args)? as i64;
        if (-4095..0).contains(&rc) {
            let source = io::Error::from_raw_os_error(-rc as i32);
            return Err(Error::Remote { pid: self.stop.pid(), call, source });
        }
        Ok(rc as u64)
    }

    fn raw_call(&mut self, nr: i64, args: [u64; 6]) -> Result<u64> {
        let pid = self.stop.pid();
        let tid = self.stop.threads()[0].tid;
        for _ in 0..MAX_ATTEMPTS {
            let own = self.stop.threads()[0].regs;
            self.write_stub(&own)?;
            raw::set_regs(tid, &call_regs(&own, self.stub, nr, args))
                .map_err(|e| sys(pid, "PTRACE_SETREGS", e))?;
            if self.run_to_syscall(tid)? && self.run_to_syscall(tid)? {
                let regs = raw::get_regs(tid).map_err(|e| sys(pid, "PTRACE_GETREGS", e))?;
                return Ok(regs.rax);
            }
        }
        Err(Error::Unstable { pid })
    }

    /// Runs to the next boundary of a system call. False: a signal came before the call and was delivered to the thread
    /// where it really was; its registers are now those of the handler's start.
    fn run_to_syscall(&mut self, tid: i32) -> Result<bool> {
        let pid = self.stop.pid();
        resume(pid, raw::cont_syscall(tid))?;
        loop {
            match wait_event(pid, tid)? {
                Wait::Syscall => return Ok(true),
                Wait::Ended(_) => return Err(Error::Gone { pid }),
                Wait::Signal(signal) => {
                    self.put_back(tid, signal)?;
                    return Ok(false);
                }
                Wait::Stopped(_) | Wait::Event(_) | Wait::None => {
                    resume(pid, raw::cont_syscall(tid))?
                }
            }
        }
    }

    /// Gives the thread its registers, delivers `signal`, and stops it again in the kernel's signal code, where an
    /// interrupted system call is made to restart when the thread is let go.
    fn put_back(&mut self, tid: i32, signal: i32) -> Result<()> {
        let pid = self.stop.pid();
        let own = self.stop.threads()[0].regs;
        raw::interrupt(tid).map_err(|e| sys(pid, "PTRACE_INTERRUPT", e))?;
        raw::set_regs(tid, &own).map_err(|e| sys(pid, "PTRACE_SETREGS", e))?;
        resume(pid, raw::cont(tid, signal))?;
        let Some(regs) = self.stop.wait_stop(tid)? else { return Err(Error::Gone { pid }) };
        self.stop.threads_mut()[0].regs = regs;
        Ok(())
    }

    fn write_stub(&mut self, own: &Regs) -> Result<()> {
        let stub = stub_code(own);
        if stub != self.written {
            self.memory.write(self.stub, &stub)?;
            self.written = stub;
        }
        Ok(())
    }

    /// The thread is as before, and so are the bytes that were used.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.finished, true) || self.written == self.spare {
            return Ok(());
        }
        self.put_back(self.stop.threads()[0].tid, 0)?;
        self.memory.write(self.stub, &self.spare)
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        // Reached on errors only; the process is mostly gone then.
        let _ = self.end();
    }
}

/// The thread's registers with a call in them.
fn call_regs(own: &Regs, stub: u64, nr: i64, args: [u64; 6]) -> Regs {
    let mut regs = *own;
    regs.rip = stub;
    regs.rax = nr as u64;
    // Not in a system call: nothing for the kernel to restart.
    regs.orig_rax = u64::MAX;
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
    regs
}

/// `syscall`, then the thread's own values of what a call changes, then a jump to where it was.
fn stub_code(own: &Regs) -> Vec<u8> {
    let (mut rax, mut rip) = (own.rax, own.rip);
    // A thread inside a system call that is to be restarted: what the kernel would do. A relative timeout starts anew.
    if own.orig_rax as i64 >= 0 && ERESTART.contains(&(rax as i64)) {
        (rax, rip) = (own.orig_rax, rip - 2);
    }
    let mut code = vec![0x0f, 0x05];
    let loads = [
        (0, rax),
        (1, own.rcx),
        (2, own.rdx),
        (6, own.rsi),
        (7, own.rdi),
        (8, own.r8),
        (9, own.r9),
        (10, own.r10),
        (11, own.r11),
    ];
    for (reg, value) in loads {
        code.extend([0x48 | (reg >> 3), 0xb8 | (reg & 7)]);
        code.extend(value.to_le_bytes());
    }
    code.extend([0xff, 0x25, 0, 0, 0, 0]);
    code.extend(rip.to_le_bytes());
    code
}

/// Bytes that no code uses: zeros up to the end of a file's code mapping (the linker's padding of the last page), or what
/// a tracer that died has left there.
fn find_spare(stop: &Stop, memory: &Memory, maps: &Maps) -> Result<(u64, Vec<u8>)> {
    for map in maps
        .0
        .iter()
        .filter(|m| m.exec && !m.write && !m.shared && (m.is_file() || m.name == "[vdso]"))
    {
        let at = map.end - STUB as u64;
        // A thread whose tracer died may still be on its way out.
        let in_use = stop.threads().iter().any(|t| (at..map.end).contains(&t.regs.rip));
        let Ok(bytes) = memory.bytes(at, STUB) else { continue };
        if in_use {
            continue;
        }
        let left_over = bytes.starts_with(&[0x0f, 0x05, 0x48, 0xb8])
            && bytes[92..98] == [0xff, 0x25, 0, 0, 0, 0];
        if bytes.iter().all(|&b| b == 0) {
            return Ok((at, bytes));
        }
        if left_over {
            return Ok((at, vec![0; STUB]));
        }
    }
    Err(Error::NoStubSpace { pid: stop.pid(), need: STUB })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stub_returns_to_the_thread() {
        // SAFETY: all-zero is a value of the plain struct.
        let mut regs: Regs = unsafe { std::mem::zeroed() };
        (regs.rip, regs.rax, regs.orig_rax) = (0x1002, -512i64 as u64, 35);
        let code = stub_code(&regs);
        assert_eq!(code.len(), STUB);
        assert_eq!(code[4..12], 35u64.to_le_bytes());
        assert_eq!(code[STUB - 8..], 0x1000u64.to_le_bytes());
        regs.orig_rax = u64::MAX;
        assert_eq!(stub_code(&regs)[STUB - 8..], 0x1002u64.to_le_bytes());
    }
}
