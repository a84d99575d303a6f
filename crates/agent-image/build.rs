//! Builds the agent and turns it into one read-only, executable image.

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, SectionFlags, elf};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for dir in ["agent/Cargo.toml", "agent/src", "runtime/src", "runtime/Cargo.toml", "uapi/src"] {
        println!("cargo:rerun-if-changed={}", here.join("..").join(dir).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let bytes = fs::read(build(&here.join("../agent"), &out)?)?;
    let elf = ElfFile64::<object::Endianness>::parse(&*bytes)?;
    check_sections(&elf)?;
    let mut image = flatten(&elf)?;
    relax(&elf, &mut image)?;
    let mut symbols: Vec<(String, u64)> = elf
        .dynamic_symbols()
        .filter(|s| s.is_definition())
        .filter_map(|s| Some((s.name().ok()?.to_string(), s.address())))
        .filter(|(name, _)| name.starts_with("stylet_"))
        .collect();
    symbols.sort();
    let xmm = vector_registers(&elf)?;
    fs::write(out.join("agent.bin"), &image)?;
    fs::write(out.join("image.rs"), source(&symbols, xmm)?)?;
    Ok(())
}

/// Runs cargo for the agent, with nothing of this build's environment in it, and gives the shared object.
fn build(agent: &Path, out: &Path) -> Result<PathBuf, Error> {
    let target = out.join("agent-target");
    let flags = [
        "-Crelocation-model=pic",
        "-Ctarget-cpu=x86-64",
        "-Cno-vectorize-loops",
        "-Cno-vectorize-slp",
        "-Cforce-unwind-tables=no",
        // On processors from Skylake to Comet Lake other branches are not kept decoded: up to a third slower, by chance.
        "-Cllvm-args=-x86-branches-within-32B-boundaries",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-Wl,-Bsymbolic,-z,norelro,-z,defs,--build-id=none,--hash-style=gnu",
    ];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let n = name.to_string_lossy();
        if n.starts_with("CARGO_") && n != "CARGO_HOME"
            || n.starts_with("RUSTC")
            || n == "RUSTFLAGS"
        {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .current_dir(agent)
        .args([
            "build",
            "--release",
            "--lib",
            "--target",
            "x86_64-unknown-linux-gnu",
            "--target-dir",
        ])
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .status()?;
    if !status.success() {
        return Err(format!("building the agent failed: {status}").into());
    }
    Ok(target.join("x86_64-unknown-linux-gnu/release/libstylet_agent.so"))
}

/// Nothing to write to. What the linker itself adds is never read: .dynamic, and the global offset table after [`relax`].
fn check_sections(elf: &ElfFile64) -> Result<(), Error> {
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        let name = section.name()?;
        let mask = u64::from(elf::SHF_ALLOC | elf::SHF_WRITE);
        let harmless = [".dynamic", ".got", ".got.plt", ".relro_padding"].contains(&name);
        if sh_flags & mask == mask && section.size() != 0 && !harmless {
            return Err(format!("the agent has data to write to or to relocate: {name}").into());
        }
    }
    Ok(())
}

/// Turns calls through the global offset table into direct ones, as linkers do where the compiler marked them
/// (`R_X86_64_GOTPCRELX`); afterwards no relocation is needed at run time.
fn relax(elf: &ElfFile64, image: &mut [u8]) -> Result<(), Error> {
    let got = elf.section_by_name(".got").map_or(0..0, |s| s.address()..s.address() + s.size());
    let mut entries = HashMap::new();
    for (at, relocation) in elf.dynamic_relocations().into_iter().flatten() {
        let relative =
            relocation.flags() == RelocationFlags::Elf { r_type: elf::R_X86_64_RELATIVE };
        if !relative || !got.contains(&at) {
            return Err(format!(
                "the agent needs a relocation at run time: at {at:#x}, {relocation:?}"
            )
            .into());
        }
        entries.insert(at, relocation.addend() as u64);
    }
    let text = elf.section_by_name(".text").ok_or("the agent has no code")?;
    for instruction in &mut Decoder::with_ip(64, text.data()?, text.address(), DecoderOptions::NONE)
    {
        let Some(&to) = entries.get(&instruction.memory_displacement64()) else { continue };
        let at = usize::try_from(instruction.ip())?;
        let rel = i32::try_from(to.wrapping_sub(instruction.next_ip()) as i64)?.to_le_bytes();
        let code = &mut image[at..at + instruction.len()];
        match *code {
            // call *entry(%rip) becomes addr32 call.
            [0xff, 0x15, ..] if code.len() == 6 => code[..2].copy_from_slice(&[0x67, 0xe8]),
            // jmp *entry(%rip) becomes ds jmp.
            [0xff, 0x25, ..] if code.len() == 6 => code[..2].copy_from_slice(&[0x3e, 0xe9]),
            // mov entry(%rip), %reg becomes lea.
            [0x48 | 0x4c, 0x8b, ..] if code.len() == 7 => code[1] = 0x8d,
            _ => return Err(format!("no direct form of {instruction}").into()),
        }
        let n = code.len();
        code[n - 4..].copy_from_slice(&rel);
    }
    Ok(())
}

/// Every segment at its address, up to the last byte of code or constants.
fn flatten(elf: &ElfFile64) -> Result<Vec<u8>, Error> {
    let mut image = Vec::new();
    let endian = elf.endian();
    for segment in elf.elf_program_headers() {
        if segment.p_type(endian) != elf::PT_LOAD || segment.p_flags(endian) & elf::PF_W != 0 {
            continue;
        }
        let at = usize::try_from(segment.p_vaddr(endian))?;
        let data =
            segment.data(endian, elf.data()).map_err(|()| "segment beyond the end of the file")?;
        if image.len() < at + data.len() {
            image.resize(at + data.len(), 0);
        }
        image[at..at + data.len()].copy_from_slice(data);
    }
    Ok(image)
}

/// The xmm registers that the code writes, one bit each; an error for wider ones, x87 and MMX.
fn vector_registers(elf: &ElfFile64) -> Result<u16, Error> {
    let text = elf.section_by_name(".text").ok_or("the agent has no code")?;
    let mut decoder = Decoder::with_ip(64, text.data()?, text.address(), DecoderOptions::NONE);
    let mut info = InstructionInfoFactory::new();
    let mut used = 0;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        for reg in info.info(&instruction).used_registers() {
            let register = reg.register();
            if register.is_xmm() {
                let writes = !matches!(
                    reg.access(),
                    OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
                );
                used |= u32::from(writes) << (register as u32 - Register::XMM0 as u32);
            } else if register.is_vector_register()
                || register.is_st()
                || register.is_mm()
                || register.is_k()
            {
                return Err(
                    format!("the agent uses {register:?} at {:#x}", instruction.ip()).into()
                );
            }
        }
    }
    Ok(u16::try_from(used)?)
}

/// The Rust source of the tables.
fn source(symbols: &[(String, u64)], xmm: u16) -> Result<String, Error> {
    let mut s = String::new();
    writeln!(s, "/// The image; its first byte must be 64-aligned.")?;
    writeln!(
        s,
        "pub static IMAGE: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/agent.bin\"));"
    )?;
    writeln!(
        s,
        "/// The xmm registers that code of the image writes (bit n is xmm n); wider registers are never touched."
    )?;
    writeln!(s, "pub const XMM_USED: u16 = {xmm:#x};")?;
    writeln!(s, "/// Symbols in ascending order and their offsets from the image's first byte.")?;
    writeln!(s, "pub static SYMBOLS: &[(&str, u32)] = &[")?;
    for (name, address) in symbols {
        writeln!(s, "    ({name:?}, {}),", u32::try_from(*address)?)?;
    }
    writeln!(s, "];")?;
    Ok(s)
}
