//! The memory of a process, through /proc/PID/mem: needs no stop, ignores page protections.

use super::file_error;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// An open /proc/PID/mem. It stays with the address space it was opened on: after an execve, accesses fail.
#[derive(Debug)]
pub struct Memory {
    pid: i32,
    file: File,
}

impl Memory {
    /// Opens the memory of a process for reading and writing.
    pub fn open(pid: i32) -> Result<Memory> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .map_err(|e| file_error(pid, "mem", e))?;
        Ok(Memory { pid, file })
    }

    fn error(&self, addr: u64, len: usize, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::ESRCH) => Error::Gone { pid: self.pid },
            // An address space without users reads as an empty file.
            None if source.kind() == io::ErrorKind::UnexpectedEof => Error::Gone { pid: self.pid },
            _ => Error::Memory { pid: self.pid, addr, len, source },
        }
    }

    /// Fills `buf` from `addr`.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, addr).map_err(|e| self.error(addr, buf.len(), e))
    }

    /// Reads as much as is mapped from `addr`, at most `len` bytes.
    pub fn read_some(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.file.read_at(&mut buf[done..], addr + done as u64) {
                Ok(n) if n > 0 => done += n,
                _ => break,
            }
        }
        buf.truncate(done);
        buf
    }

    /// Reads `len` bytes.
    pub fn bytes(&self, addr: u64, len: usize) -> Result<Vec<u8>> {
        let mut buf = vec![0; len];
        self.read(addr, &mut buf)?;
        Ok(buf)
    }

    /// Reads a 64-bit word.
    pub fn word(&self, addr: u64) -> Result<u64> {
        let mut buf = [0; 8];
        self.read(addr, &mut buf)?;
        Ok(u64::from_le_bytes(buf))
    }

    /// Writes `bytes` at `addr`, also into read-only and executable pages (they become private copies).
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, addr).map_err(|e| self.error(addr, bytes.len(), e))
    }
}
