//! Runs a program in this machine's kernel, as a SYSCALL program by BPF_PROG_TEST_RUN.

use stylet_insn::{Insn, opcode as op};
use stylet_uapi::ProgType;

const PROG_LOAD: i32 = 5;
const PROG_TEST_RUN: i32 = 10;
const SLEEPABLE: u32 = 1 << 4;

/// The part of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The part for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data: [u64; 4],
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

fn bpf<T>(cmd: i32, attr: &mut T) -> Result<i32, std::io::Error> {
    // SAFETY: `attr` is what the command takes, and its pointers are valid for the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, cmd, std::ptr::from_mut(attr), size_of::<T>()) };
    if fd < 0 { Err(std::io::Error::last_os_error()) } else { Ok(fd as i32) }
}

/// Loads the program, runs it on `ctx` and gives R0 and the context after it. The case is called as a function, so that all
/// of R0 is seen.
pub fn run(insns: &[Insn], ctx: &[u8]) -> Result<(u64, Vec<u8>), String> {
    let size = ctx.len() as i16;
    let mut all = vec![
        Insn::mov64_reg(6, 1),
        Insn::new(op::JMP | op::CALL, 0, op::PSEUDO_CALL, 0, 3),
        Insn::new(op::STX | op::MEM | op::DW, 6, 0, size, 0),
        Insn::mov64_imm(0, 0),
        Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0),
    ];
    all.extend_from_slice(insns);
    let bytes: Vec<u8> = all.iter().flat_map(|i| i.to_bytes()).collect();
    let mut log = vec![0u8; 1 << 16];
    let mut load = LoadAttr {
        prog_type: ProgType::SYSCALL.0,
        insn_cnt: all.len() as u32,
        insns: bytes.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log_buf: log.as_mut_ptr() as u64,
        prog_flags: SLEEPABLE,
        ..LoadAttr::default()
    };
    let fd = bpf(PROG_LOAD, &mut load).map_err(|e| {
        let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
        format!("load: {e}\n{}", String::from_utf8_lossy(&log[..end]))
    })?;
    let mut ctx = ctx.to_vec();
    ctx.extend([0; 8]);
    let mut attr = RunAttr {
        prog_fd: fd as u32,
        ctx_size_in: ctx.len() as u32,
        ctx_in: ctx.as_mut_ptr() as u64,
        ..RunAttr::default()
    };
    let ran = bpf(PROG_TEST_RUN, &mut attr).map_err(|e| format!("run: {e}"));
    // SAFETY: the descriptor is ours and not used again.
    unsafe { libc::close(fd) };
    ran?;
    let r0 = ctx.split_off(size as usize);
    Ok((u64::from_le_bytes(r0.try_into().map_err(|_| "short context")?), ctx))
}

/// Why programs cannot be run in the kernel, if they cannot.
pub fn why_not() -> Option<String> {
    let nothing = [Insn::mov64_imm(0, 0), Insn::new(op::JMP | op::EXIT, 0, 0, 0, 0)];
    run(&nothing, &[0; 8]).err().map(|e| e.lines().next().unwrap_or_default().to_owned())
}
