//! Executable memory of this process, for tests, benchmarks and programs run in place.
#![allow(unsafe_code)]

use crate::{Code, Error, Sym};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;

const PAGE: usize = 4096;
/// Bytes of `jmp [rip]` and the address, by which code reaches functions further than 2 GiB.
const THUNK: usize = 16;

/// One mapping: text (first written, then read and executed only) and behind it writable data within reach.
#[derive(Debug)]
pub struct ExecMem {
    base: NonNull<u8>,
    text_len: usize,
    len: usize,
    entries: Vec<usize>,
}

// SAFETY: the text is immutable once made and the data is only reachable through raw pointers.
unsafe impl Send for ExecMem {}
// SAFETY: as above.
unsafe impl Sync for ExecMem {}

impl ExecMem {
    /// Places `codes`, with `data_size` zero bytes of data behind them, and fills in their relocations.
    ///
    /// `address` gives the address of a symbol; its second argument is the address of the data. Helpers and kfuncs may be
    /// anywhere, maps must be within 2 GiB, that is in the data.
    pub fn new(
        codes: &[&Code],
        data_size: usize,
        address: &dyn Fn(Sym, u64) -> Option<u64>,
    ) -> Result<ExecMem, Error> {
        let relocs: usize = codes.iter().map(|c| c.relocs.len()).sum();
        let text: usize = codes.iter().map(|c| c.text.len().next_multiple_of(16)).sum();
        let text_len = (text + relocs * THUNK).next_multiple_of(PAGE).max(PAGE);
        let len = text_len + data_size.next_multiple_of(PAGE);
        let errno = |e: rustix::io::Errno| Error::Memory { errno: e.raw_os_error() };
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE) }
            .map_err(errno)?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(Error::Memory { errno: 0 })?;
        let mut mem = ExecMem { base, text_len, len, entries: Vec::new() };
        let bytes = mem.link(codes, address)?;
        // SAFETY: the mapping is writable, `text_len` bytes long, and no reference to it exists.
        unsafe {
            base.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len().min(text_len))
        };
        // SAFETY: the range is the text of our own mapping.
        unsafe {
            mprotect(
                base.as_ptr().cast::<c_void>(),
                text_len,
                MprotectFlags::READ | MprotectFlags::EXEC,
            )
        }
        .map_err(errno)?;
        Ok(mem)
    }

    /// The text with relocations filled in and thunks behind it.
    fn link(
        &mut self,
        codes: &[&Code],
        address: &dyn Fn(Sym, u64) -> Option<u64>,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for code in codes {
            bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
            self.entries.push(bytes.len());
            bytes.extend_from_slice(&code.text);
        }
        bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
        let mut thunks = HashMap::new();
        for (code, entry) in codes.iter().zip(&self.entries) {
            for reloc in &code.relocs {
                let at = entry + reloc.at as usize;
                let target = address(reloc.sym, self.data() as u64)
                    .ok_or(Error::NoAddress { sym: reloc.sym })?;
                let target = match reloc.sym {
                    Sym::Helper(_) | Sym::Kfunc(_) => {
                        let thunk = *thunks.entry(target).or_insert_with(|| {
                            bytes.extend([0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc]);
                            bytes.extend(target.to_le_bytes());
                            bytes.len() - THUNK
                        });
                        self.base.as_ptr() as u64 + thunk as u64
                    }
                    _ => target,
                };
                let next = self.base.as_ptr() as u64 + at as u64 + 4;
                let disp =
                    target.wrapping_add(i64::from(reloc.addend) as u64).wrapping_sub(next) as i64;
                let disp = i32::try_from(disp).map_err(|_| Error::OutOfReach { sym: reloc.sym })?;
                bytes[at..at + 4].copy_from_slice(&disp.to_le_bytes());
            }
        }
        Ok(bytes)
    }

    /// Address of the entry of `codes[i]`.
    pub fn entry(&self, i: usize) -> u64 {
        self.base.as_ptr() as u64 + self.entries.get(i).copied().unwrap_or_default() as u64
    }

    /// First byte of the data.
    pub fn data(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(self.text_len)
    }

    /// Runs `codes[i]` with R1 to R5 and the run context, and gives R0.
    ///
    /// # Safety
    /// The arguments, the run context and what they and the relocations point to are what the program was verified for.
    #[cfg(target_arch = "x86_64")]
    pub unsafe fn run(&self, i: usize, args: [u64; 5], run_ctx: *mut c_void) -> u64 {
        type Entry = unsafe extern "C" fn(u64, u64, u64, u64, u64, *mut c_void) -> u64;
        assert!(i < self.entries.len(), "no code {i}");
        // SAFETY: the address is the entry of generated code, which has this type.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(self.entry(i) as *const u8) };
        // SAFETY: by the contract of this function.
        unsafe { entry(args[0], args[1], args[2], args[3], args[4], run_ctx) }
    }
}

impl Drop for ExecMem {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and who runs its code has a reference to `self`.
        let _ = unsafe { munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
    }
}
