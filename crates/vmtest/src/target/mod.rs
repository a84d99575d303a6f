//! Functions to probe, and processes that call them.

mod many;
mod marker;

pub use many::{MANY, call_many};
pub use marker::{markers, semaphore, semaphore_address};

use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::test::Failure;

/// Returns `a + b`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vmtest_add(a: u64, b: u64) -> u64 {
    black_box(a) + black_box(b)
}

/// Returns `a - b`, wrapping.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vmtest_sub(a: u64, b: u64) -> u64 {
    black_box(a).wrapping_sub(black_box(b))
}

/// Returns six arguments' weighted sum, `a + 2b + 3c + 4d + 5e + 6f`, wrapping.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vmtest_six(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64 {
    let weighted = [(1, a), (2, b), (3, c), (4, d), (5, e), (6, f)];
    black_box(weighted)
        .iter()
        .fold(0, |sum, (weight, value)| sum.wrapping_add(value.wrapping_mul(*weight)))
}

/// Takes a buffer that a program may read or rewrite; returns the sum of its bytes as they are then.
///
/// # Safety
/// `buffer` must point to `len` readable bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn vmtest_buffer(buffer: *const u8, len: usize) -> u64 {
    let buffer = black_box(buffer);
    // SAFETY: the caller's promise. Volatile, because a probe at the entry may have changed the bytes.
    (0..len).map(|i| u64::from(unsafe { buffer.add(i).read_volatile() })).sum()
}

/// A child process that calls a function each time it is told to; it is killed when dropped.
pub struct Caller {
    pid: Pid,
    command: PipeWriter,
    answer: PipeReader,
}

impl Caller {
    /// Starts a child in which each [`Caller::call`] runs `function` once.
    pub fn start(function: impl Fn(u64) -> u64) -> Result<Self, Failure> {
        let (mut command_in, command) = std::io::pipe()?;
        let (answer, mut answer_out) = std::io::pipe()?;
        // SAFETY: a test's process has one thread, so the child's memory is a consistent copy.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop((command, answer));
            let mut word = [0; 8];
            while command_in.read_exact(&mut word).is_ok() {
                let result = function(u64::from_ne_bytes(word));
                if answer_out.write_all(&result.to_ne_bytes()).is_err() {
                    break;
                }
            }
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        match Pid::from_raw(child) {
            Some(pid) if child > 0 => Ok(Self { pid, command, answer }),
            _ => Err(std::io::Error::last_os_error().into()),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Has the child call its function with `argument`; what it returned.
    pub fn call(&mut self, argument: u64) -> Result<u64, Failure> {
        let mut word = argument.to_ne_bytes();
        self.command.write_all(&word)?;
        self.answer.read_exact(&mut word)?;
        Ok(u64::from_ne_bytes(word))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
    }
}
