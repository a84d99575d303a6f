//! The auxiliary vector the kernel gave to a program at execve.

use crate::Result;

/// Entries of /proc/PID/auxv that matter here; addresses in the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auxv {
    /// `AT_ENTRY`: the program's own entry point (not the dynamic linker's).
    pub entry: u64,
    /// `AT_BASE`: the dynamic linker, 0 in a static program.
    pub base: u64,
    /// `AT_PHDR`: the program headers.
    pub phdr: u64,
}

impl Auxv {
    /// Reads it.
    pub fn of(pid: i32) -> Result<Auxv> {
        Ok(Self::parse(&super::read(pid, "auxv")?))
    }

    fn parse(bytes: &[u8]) -> Auxv {
        let mut auxv = Auxv::default();
        for pair in bytes.chunks_exact(16) {
            let word = |i: usize| u64::from_le_bytes(pair[i..i + 8].try_into().unwrap_or_default());
            match word(0) {
                libc::AT_ENTRY => auxv.entry = word(8),
                libc::AT_BASE => auxv.base = word(8),
                libc::AT_PHDR => auxv.phdr = word(8),
                _ => {}
            }
        }
        auxv
    }
}
