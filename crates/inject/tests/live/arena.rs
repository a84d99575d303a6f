//! A window with hand-written programs.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use stylet_inject::{ProgRef, WindowId, WindowSpec};
use stylet_runtime::abi::{DATA_OFF, WINDOW};

/// A memfd in the layout of the arena, mapped here.
pub struct Arena {
    fd: OwnedFd,
    base: *mut u8,
    next: u64,
}

// SAFETY: the mapping is shared memory accessed by volatile reads.
unsafe impl Send for Arena {}

impl Arena {
    pub fn new() -> Arena {
        // SAFETY: plain system calls; results are checked.
        unsafe {
            let fd = libc::memfd_create(c"stylet-test".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0);
            assert_eq!(libc::ftruncate(fd, DATA_OFF as i64 + 65536), 0);
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let base =
                libc::mmap(std::ptr::null_mut(), WINDOW as usize, prot, libc::MAP_SHARED, fd, 0);
            assert_ne!(base, libc::MAP_FAILED);
            Arena { fd: OwnedFd::from_raw_fd(fd), base: base.cast(), next: 64 }
        }
    }

    pub fn spec(&self) -> WindowSpec {
        WindowSpec { fd: self.fd.as_raw_fd(), slot_enter: 0, slot_leave: 0 }
    }

    /// Word `i` of the data part.
    pub fn word(&self, i: u64) -> u64 {
        // SAFETY: inside the file's part of the mapping.
        unsafe { self.base.add((DATA_OFF + 8 * i) as usize).cast::<u64>().read_volatile() }
    }

    /// Adds a program; gives its offset.
    pub fn code(&mut self, build: impl FnOnce(&mut Prog)) -> u64 {
        let mut prog = Prog { at: self.next, bytes: Vec::new() };
        build(&mut prog);
        prog.bytes.push(0xc3);
        // SAFETY: programs are small, the text part is large.
        unsafe {
            std::ptr::copy_nonoverlapping(
                prog.bytes.as_ptr(),
                self.base.add(self.next as usize),
                prog.bytes.len(),
            );
        }
        let at = self.next;
        self.next = (self.next + prog.bytes.len() as u64).next_multiple_of(16);
        at
    }

    /// A program that adds one to a word.
    pub fn counter(&mut self, word: u64) -> u64 {
        self.code(|p| p.count(word))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: our own mapping, not used any more.
        unsafe { libc::munmap(self.base.cast(), WINDOW as usize) };
    }
}

/// Machine code of a program.
pub struct Prog {
    at: u64,
    bytes: Vec<u8>,
}

impl Prog {
    fn rip(&mut self, op: &[u8], word: u64) {
        self.bytes.extend_from_slice(op);
        let next = self.at + self.bytes.len() as u64 + 4;
        self.bytes.extend(((DATA_OFF + 8 * word).wrapping_sub(next) as i32).to_le_bytes());
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// `mov rax` from a word.
    pub fn load_word(&mut self, word: u64) {
        self.rip(&[0x48, 0x8b, 0x05], word);
    }

    /// `lock inc` of a word.
    pub fn count(&mut self, word: u64) {
        self.rip(&[0xf0, 0x48, 0xff, 0x05], word);
    }

    /// `lock add` of `rax` to a word.
    pub fn add_rax(&mut self, word: u64) {
        self.rip(&[0xf0, 0x48, 0x01, 0x05], word);
    }

    /// Stores word `index` of the context.
    pub fn store_ctx(&mut self, index: u32, word: u64) {
        self.raw(&[0x48, 0x8b, 0x87]);
        self.raw(&(8 * index).to_le_bytes());
        self.rip(&[0x48, 0x89, 0x05], word);
    }

    /// Stores the 64-bit field at `off` of the run context.
    pub fn store_run_ctx(&mut self, off: i32, word: u64) {
        self.raw(&[0x49, 0x8b, 0x81]);
        self.raw(&off.to_le_bytes());
        self.rip(&[0x48, 0x89, 0x05], word);
    }

    /// Changes every register a program may change, and the flags.
    pub fn clobber(&mut self) {
        for reg in [0u8, 1, 2, 6, 7] {
            self.raw(&[0x48, 0xc7, 0xc0 | reg, 0xef, 0xbe, 0xad, 0x5e]);
        }
        for reg in 0u8..4 {
            self.raw(&[0x49, 0xc7, 0xc0 | reg, 0xef, 0xbe, 0xad, 0x5e]);
        }
        self.raw(&[0x48, 0x31, 0xc0, 0xf9]); // xor rax, rax; stc
    }

    /// Sets xmm0 to xmm15 to zero (lower halves only).
    pub fn clobber_xmm(&mut self) {
        for x in 0u8..8 {
            self.raw(&[0x0f, 0x57, 0xc0 | x << 3 | x]);
        }
        for x in 0u8..8 {
            self.raw(&[0x45, 0x0f, 0x57, 0xc0 | x << 3 | x]);
        }
    }
}

/// A program that reads nothing and calls nothing.
pub fn plain(window: WindowId, code_off: u64) -> ProgRef {
    ProgRef::new(window, code_off)
}
