//! `bpf_snprintf` of the kernel and ours give the same text, length and errors for random formats and arguments.
//!
//! Needs bpf(2), hence root; skipped otherwise.

mod common;

use common::{Rng, arena, call, ptr, ptr_mut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use stylet_runtime::sys::syscall;
use stylet_uapi::errno::{EINVAL, name};

/// `bpf(cmd, attr)`.
fn bpf(cmd: u64, attr: &mut [u64; 18]) -> Result<i32, i32> {
    // SAFETY: the attribute is as long as said; what it points to is alive.
    let r =
        unsafe { syscall(321, [cmd, attr.as_mut_ptr() as u64, size_of_val(attr) as u64, 0, 0, 0]) };
    if r < 0 { Err(-r as i32) } else { Ok(r as i32) }
}

fn attr(words: &[u64]) -> [u64; 18] {
    let mut attr = [0; 18];
    attr[..words.len()].copy_from_slice(words);
    attr
}

/// An array with one value of 256 bytes.
fn array(flags: u64) -> Result<OwnedFd, i32> {
    let fd = bpf(0, &mut attr(&[2 | 4 << 32, 256 | 1 << 32, flags]))?;
    // SAFETY: a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set(map: &OwnedFd, value: &[u8; 256]) {
    bpf(2, &mut attr(&[map.as_raw_fd() as u64, ptr(&0u32), ptr(value), 0])).unwrap();
}

const ARGS: usize = 128;

/// What the kernel makes of it: return value (or the error of loading the program) and the buffer.
fn theirs(fmt: &str, args: &[u64], size: u32) -> Result<(i64, [u8; 128]), i32> {
    const RDONLY_PROG: u64 = 128;
    let (text, data) = (array(RDONLY_PROG)?, array(0)?);
    let mut value = [0u8; 256];
    value[..fmt.len()].copy_from_slice(fmt.as_bytes());
    set(&text, &value);
    bpf(22, &mut attr(&[text.as_raw_fd() as u64])).unwrap();
    value = [0; 256];
    for (i, arg) in args.iter().enumerate() {
        value[ARGS + 8 * i..][..8].copy_from_slice(&arg.to_ne_bytes());
    }
    set(&data, &value);
    let load = |reg: u64, map: &OwnedFd, off: usize| {
        [0x18 | reg << 8 | 2 << 12 | (map.as_raw_fd() as u64) << 32, (off as u64) << 32]
    };
    let mov = |reg: u64, imm: u64| 0xb7 | reg << 8 | imm << 32;
    let mut insns = Vec::new();
    insns.extend(load(1, &data, 0));
    insns.push(mov(2, size as u64));
    insns.extend(load(3, &text, 0));
    insns.extend(if args.is_empty() { vec![mov(4, 0)] } else { load(4, &data, ARGS).to_vec() });
    insns.extend([mov(5, 8 * args.len() as u64), 0x85 | 165 << 32, 0x95]);
    const RAW_TRACEPOINT: u64 = 17;
    let words = [
        RAW_TRACEPOINT | (insns.len() as u64) << 32,
        insns.as_ptr() as u64,
        c"GPL".as_ptr() as u64,
    ];
    let prog = bpf(5, &mut attr(&words))?;
    // SAFETY: a new descriptor.
    let prog = unsafe { OwnedFd::from_raw_fd(prog) };
    let mut run = attr(&[prog.as_raw_fd() as u64]);
    bpf(10, &mut run).unwrap();
    bpf(1, &mut attr(&[data.as_raw_fd() as u64, ptr(&0u32), ptr_mut(&mut value), 0])).unwrap();
    let mut buf = [0; 128];
    buf.copy_from_slice(&value[..128]);
    Ok(((run[0] >> 32) as u32 as i32 as i64, buf))
}

/// A random format with its arguments.
fn random(rng: &mut Rng, text: &std::ffi::CStr) -> (String, Vec<u64>) {
    let (mut fmt, mut args) = (String::new(), Vec::new());
    for _ in 0..1 + rng.below(3) {
        fmt += ["", "a", " = ", "100%%", "\t["][rng.below(5) as usize];
        fmt.push('%');
        for _ in 0..rng.below(3) {
            fmt += ["0", "+", "-", " "][rng.below(4) as usize];
        }
        fmt += ["", "", "1", "5", "12", "20"][rng.below(6) as usize];
        let convs = [
            "d", "i", "u", "x", "X", "ld", "lld", "llx", "lu", "llX", "c", "pus", "px", "pI4",
            "pi6", "pI6", "lc", "llld", "q", "*d", ".2d",
        ];
        // The last ones are refused, which would leave little to compare.
        let n = if rng.below(8) == 0 { convs.len() } else { convs.len() - 5 };
        let conv = convs[rng.below(n as u64) as usize];
        fmt += conv;
        args.push(match conv {
            "c" => 33 + rng.below(90),
            "pus" => text.as_ptr() as u64,
            "pI4" | "pi6" | "pI6" => 0,
            _ => [0, 1, rng.below(1000), u64::MAX - rng.below(1000), rng.below(1 << 40), 1 << 63]
                [rng.below(6) as usize],
        });
        fmt += ["", "|", " ", ","][rng.below(4) as usize];
    }
    (fmt, args)
}

#[test]
fn random_formats() {
    if let Err(e) = theirs("x", &[], 64) {
        eprintln!("skipped: bpf(2) gives {}", name(e).unwrap_or("?"));
        return;
    }
    let (a, mut rng) = (arena(2), Rng(12345));
    let text = c"user text";
    let mut refused = 0;
    for _ in 0..1500 {
        let (fmt, args) = random(&mut rng, text);
        // Beyond the end of the buffer the kernel neither counts these nor moves on to the next argument.
        let prepared = ["pI", "pi", "pus"].iter().any(|p| fmt.contains(p));
        let size = if prepared { 128 } else { [64, 64, 20, 1][rng.below(4) as usize] };
        let mut buf = [0u8; 128];
        let terminated = format!("{fmt}\0");
        let r = call(
            &a,
            165,
            [
                ptr_mut(&mut buf),
                size as u64,
                terminated.as_ptr() as u64,
                args.as_ptr() as u64,
                8 * args.len() as u64,
            ],
        );
        match theirs(&fmt, &args, size) {
            Ok((len, out)) => {
                assert_eq!(
                    r,
                    len,
                    "{fmt:?} {args:x?} in {size}: {:?} {:?}",
                    String::from_utf8_lossy(&buf),
                    String::from_utf8_lossy(&out)
                );
                assert_eq!(
                    String::from_utf8_lossy(&buf),
                    String::from_utf8_lossy(&out),
                    "{fmt:?} {args:x?} in {size}"
                );
            }
            Err(e) => {
                assert_eq!((r, e), (-EINVAL as i64, EINVAL), "{fmt:?}");
                refused += 1;
            }
        }
    }
    assert!((20..1000).contains(&refused), "{refused} of 1500 refused");
}
