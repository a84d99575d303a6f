//! Programs made for a test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A 32-bit x86 program that waits for a signal: `mov eax, 29; int 0x80; jmp` back.
pub fn program_32bit(folder: &Path) -> PathBuf {
    const BASE: u32 = 0x0804_8000;
    const CODE: [u8; 9] = [0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7];
    let mut elf = b"\x7fELF\x01\x01\x01".to_vec();
    elf.resize(16, 0);
    let (headers, size) = (52 + 32, 52 + 32 + CODE.len() as u32);
    // e_type EXEC, e_machine 386.
    elf.extend([2u16, 3].iter().flat_map(|v| v.to_le_bytes()));
    // e_version, e_entry, e_phoff, e_shoff, e_flags.
    elf.extend([1, BASE + headers, 52, 0, 0].iter().flat_map(|v: &u32| v.to_le_bytes()));
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    elf.extend([52u16, 32, 1, 40, 0, 0].iter().flat_map(|v| v.to_le_bytes()));
    // p_type LOAD, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags RX, p_align.
    elf.extend([1, 0, BASE, BASE, size, size, 5, 4096].iter().flat_map(|v: &u32| v.to_le_bytes()));
    elf.extend(CODE);
    let path = folder.join("pause32");
    std::fs::write(&path, elf).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("made executable");
    path
}

/// Compiles C; `None` where there is no compiler that takes these flags.
pub fn compile(folder: &Path, source: &str, flags: &[&str]) -> Option<PathBuf> {
    let (from, to) = (folder.join("program.c"), folder.join("program"));
    std::fs::write(&from, source).expect("written");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&to).arg(&from).args(flags).stderr(Stdio::null());
    cc.status().is_ok_and(|s| s.success()).then_some(to)
}
