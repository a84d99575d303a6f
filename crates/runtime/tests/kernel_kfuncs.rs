//! Kfuncs of the kernel and ours give the same results for the same arguments.
//!
//! Needs bpf(2), hence root, and a kernel with the kfunc; skipped otherwise.

mod common;

use common::{Edge, Rng, arena, call_kfunc, ptr, ptr_mut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use stylet_btf::{Btf, Kind};
use stylet_runtime::host::Arena;
use stylet_runtime::sys::syscall;
use stylet_uapi::errno::name;

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

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: a new descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Bytes of the memory that programs work on.
const MEM: usize = 512;
/// Words of a program's context: arguments, then results.
const CTX: usize = 8;
/// `BPF_MAX_LOOPS`, in short tests.
const MANY: u64 = 8 << 20;

/// The kernel: its types, and a map with one value of [`MEM`] bytes.
struct Kernel {
    btf: Btf,
    data: OwnedFd,
}

impl Kernel {
    fn open(test: &str) -> Option<Kernel> {
        let data = match bpf(0, &mut attr(&[2 | 4 << 32, MEM as u64 | 1 << 32])) {
            Ok(fd) => owned(fd),
            Err(e) => {
                eprintln!("{test}: skipped: bpf(2) gives {}", name(e).unwrap_or("?"));
                return None;
            }
        };
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").ok()?;
        Some(Kernel { btf: Btf::parse(&bytes).expect("the kernel's types"), data })
    }

    /// The call of a kfunc; `None`: this kernel has none of that name.
    fn call(&self, name: &str) -> Option<u64> {
        let Some(id) = self.btf.find_by_name_kind(name, Kind::Func) else {
            eprintln!("{name}: skipped: this kernel has it not");
            return None;
        };
        Some(0x85 | 2 << 12 | u64::from(id) << 32)
    }

    /// `rN =` address of byte `off` of the memory.
    fn mem(&self, reg: u64, off: u64) -> [u64; 2] {
        [0x18 | reg << 8 | 2 << 12 | (self.data.as_raw_fd() as u64) << 32, off << 32]
    }

    fn load(&self, insns: &[u64]) -> OwnedFd {
        const SYSCALL: u64 = 31;
        const SLEEPABLE: u64 = 1 << 4;
        let mut log = vec![0u8; 65536];
        let words = [
            SYSCALL | (insns.len() as u64) << 32,
            insns.as_ptr() as u64,
            c"GPL".as_ptr() as u64,
            1 | (log.len() as u64) << 32,
            ptr_mut(&mut log[..]),
            SLEEPABLE << 32,
        ];
        match bpf(5, &mut attr(&words)) {
            Ok(fd) => owned(fd),
            Err(e) => panic!("{e}: {}", String::from_utf8_lossy(&log).trim_end_matches('\0')),
        }
    }

    /// One run, on this memory: its context and the memory afterwards.
    fn run(&self, prog: &OwnedFd, args: &[u64], mem: &mut [u8; MEM]) -> [u64; CTX] {
        let fd = self.data.as_raw_fd() as u64;
        bpf(2, &mut attr(&[fd, ptr(&0u32), ptr(mem), 0])).expect("update");
        let mut ctx = [0u64; CTX];
        ctx[..args.len()].copy_from_slice(args);
        let mut run = [0; 18];
        (run[0], run[5], run[6]) = (prog.as_raw_fd() as u64, size_of_val(&ctx) as u64, ptr(&ctx));
        bpf(10, &mut run).expect("runs");
        bpf(1, &mut attr(&[fd, ptr(&0u32), ptr_mut(mem), 0])).expect("lookup");
        ctx
    }
}

const EXIT: [u64; 2] = [0xb7, 0x95];

fn mov(reg: u64, imm: i32) -> u64 {
    0xb7 | reg << 8 | u64::from(imm as u32) << 32
}

fn mov_reg(dst: u64, src: u64) -> u64 {
    0xbf | dst << 8 | src << 12
}

fn add(reg: u64, imm: i32) -> u64 {
    0x07 | reg << 8 | u64::from(imm as u32) << 32
}

/// `dst = *(u64 *)(src + off)`
fn ldx(dst: u64, src: u64, off: i16) -> u64 {
    0x79 | dst << 8 | src << 12 | u64::from(off as u16) << 16
}

/// `*(u64 *)(dst + off) = src`
fn stx(dst: u64, src: u64, off: i16) -> u64 {
    0x7b | dst << 8 | src << 12 | u64::from(off as u16) << 16
}

/// Calls of functions that give an `int`: their 32 bits.
fn int(word: u64) -> i32 {
    word as i32
}

#[test]
fn strings() {
    let Some(kernel) = Kernel::open("strings") else { return };
    let (a, mut rng) = (arena(2), Rng(77));
    // With the number of strings and of numbers behind them.
    let functions = [
        ("bpf_strcmp", 2, 0),
        ("bpf_strcasecmp", 2, 0),
        ("bpf_strchr", 1, 1),
        ("bpf_strnchr", 1, 2),
        ("bpf_strchrnul", 1, 1),
        ("bpf_strrchr", 1, 1),
        ("bpf_strlen", 1, 0),
        ("bpf_strnlen", 1, 1),
        ("bpf_strspn", 2, 0),
        ("bpf_strcspn", 2, 0),
        ("bpf_strstr", 2, 0),
        ("bpf_strnstr", 2, 1),
    ];
    for (name, strings, numbers) in functions {
        let Some(call) = kernel.call(name) else { continue };
        let mut insns = vec![mov_reg(6, 1)];
        insns.extend(kernel.mem(1, 0));
        if strings == 2 {
            insns.extend(kernel.mem(2, 256));
        }
        insns.extend((0..numbers).map(|i| ldx(1 + strings + i, 6, 8 * i as i16)));
        insns.extend([call, stx(6, 0, 32)]);
        insns.extend(EXIT);
        let prog = kernel.load(&insns);
        for round in 0..300 {
            let mut mem = [0u8; MEM];
            let letters = b"abAB\xe9\xc9z";
            for start in [0, 256] {
                let len = rng.below(if start == 0 { 200 } else { 4 }) as usize;
                let kinds = 1 + rng.below(letters.len() as u64);
                mem[start..start + len].fill_with(|| letters[rng.below(kinds) as usize]);
            }
            if strings == 2 && rng.below(4) == 0 && (name.contains("cmp") || name.contains("spn")) {
                mem.copy_within(..200, 256);
                mem[256 + rng.below(200) as usize] = letters[rng.below(7) as usize];
            }
            let small = [0, 1, 5, 64, 65, 200, 255][rng.below(7) as usize];
            let letter = [u64::from(letters[rng.below(7) as usize]), 0, 0xffff_ffff_ffff_ffe9]
                [rng.below(3) as usize];
            let args = match (name, numbers) {
                ("bpf_strnchr", _) => vec![small, letter],
                ("bpf_strnlen" | "bpf_strnstr", _) => vec![small],
                (_, 1) => vec![letter],
                _ => vec![],
            };
            let mut ours = [0u64; 5];
            (ours[0], ours[1]) = (ptr(&mem[..]), ptr(&mem[256..]));
            ours[strings as usize..][..args.len()].copy_from_slice(&args);
            let r = call_kfunc(&mut a.run_ctx(), name, ours);
            let before = mem;
            let theirs = kernel.run(&prog, &args, &mut mem)[4];
            assert_eq!(mem, before);
            assert_eq!(
                r as i32,
                int(theirs),
                "{name} {args:x?} round {round}: {:?} {:?}",
                String::from_utf8_lossy(&mem[..210]),
                String::from_utf8_lossy(&mem[256..470])
            );
        }
    }
}

/// A program that makes a dynptr of the first 64 bytes and calls `name` with it and the words of the context.
fn on_dynptr(kernel: &Kernel, name: &str, null: bool) -> Option<OwnedFd> {
    let call = kernel.call(name)?;
    let size = kernel.call("bpf_dynptr_size")?;
    const FROM_MEM: u64 = 0x85 | 197 << 32;
    let mut insns = vec![mov_reg(6, 1)];
    insns.extend(kernel.mem(1, 0));
    // Unknown flags make it null.
    insns.extend([mov(2, 64), mov(3, i32::from(null)), mov_reg(4, 10), add(4, -16), FROM_MEM]);
    insns.extend([mov_reg(1, 10), add(1, -16)]);
    insns.extend((0..4).map(|i| ldx(2 + i, 6, 8 * i as i16)));
    insns.extend([call, stx(6, 0, 32), mov_reg(1, 10), add(1, -16), size, stx(6, 0, 40)]);
    insns.extend(EXIT);
    Some(kernel.load(&insns))
}

/// The same here.
fn ours_on_dynptr(
    a: &Arena,
    name: &str,
    null: bool,
    args: &[u64],
    mem: &mut [u8; MEM],
) -> [i32; 2] {
    let mut d = [0u64; 2];
    let at = ptr_mut(&mut d);
    common::call(a, 197, [ptr_mut(mem), 64, null.into(), at, 0]);
    let mut all = [at, 0, 0, 0, 0];
    all[1..][..args.len()].copy_from_slice(args);
    let mut rc = a.run_ctx();
    let r = call_kfunc(&mut rc, name, all);
    [r as i32, call_kfunc(&mut rc, "bpf_dynptr_size", [at, 0, 0, 0, 0]) as i32]
}

const NUMBERS: [u64; 9] = [0, 1, 10, 31, 32, 63, 64, 65, 1 << 24];

#[test]
fn dynptrs() {
    let Some(kernel) = Kernel::open("dynptrs") else { return };
    let (a, mut rng) = (arena(2), Rng(5));
    let functions = [
        ("bpf_dynptr_adjust", false),
        ("bpf_dynptr_size", false),
        ("bpf_dynptr_is_null", true),
        ("bpf_dynptr_is_rdonly", true),
        ("bpf_dynptr_memset", false),
    ];
    for (name, truth) in functions {
        for null in [false, true] {
            let Some(prog) = on_dynptr(&kernel, name, null) else { continue };
            for _ in 0..200 {
                let mut number = || NUMBERS[rng.below(9) as usize];
                let args = [number(), number(), number()];
                let mut theirs: [u8; MEM] = std::array::from_fn(|i| i as u8);
                let mut ours = theirs;
                let ctx = kernel.run(&prog, &args, &mut theirs);
                let mine = ours_on_dynptr(&a, name, null, &args, &mut ours);
                let mask = if truth { 1 } else { -1 };
                assert_eq!(mine, [int(ctx[4]) & mask, int(ctx[5])], "{name} null {null} {args:x?}");
                assert!(theirs == ours, "{name} null {null} {args:x?}");
            }
        }
    }
}

#[test]
fn strings_and_bytes_from_user_memory() {
    let Some(kernel) = Kernel::open("strings_and_bytes_from_user_memory") else { return };
    let (a, mut rng, edge) = (arena(2), Rng(9), Edge::new());
    let functions = [
        "bpf_copy_from_user_dynptr",
        "bpf_copy_from_user_str_dynptr",
        "bpf_probe_read_user_dynptr",
        "bpf_probe_read_user_str_dynptr",
    ];
    for name in functions {
        for null in [false, true] {
            let Some(prog) = on_dynptr(&kernel, name, null) else { continue };
            for _ in 0..200 {
                let (off, size) = (NUMBERS[rng.below(9) as usize], NUMBERS[rng.below(9) as usize]);
                let text: Vec<u8> =
                    (0..rng.below(80)).map(|_| b'a' + rng.below(26) as u8).collect();
                let ends = rng.below(2) == 0;
                let from = match rng.below(6) {
                    0 => 0,
                    1 => 0xffff_8000_0000_0000,
                    _ => edge.put(&[&text[..], if ends { b"\0" } else { b"" }].concat()),
                };
                let args = [off, size, from];
                let mut theirs = [0xaau8; MEM];
                let mut ours = theirs;
                let ctx = kernel.run(&prog, &args, &mut theirs);
                let mine = ours_on_dynptr(&a, name, null, &args, &mut ours);
                assert_eq!(
                    mine,
                    [int(ctx[4]), int(ctx[5])],
                    "{name} null {null} {args:x?} {text:?}"
                );
                // What a failed copy leaves is not promised.
                assert!(int(ctx[4]) < 0 || theirs == ours, "{name} {args:x?} {text:?}");
            }
        }
    }
}

#[test]
fn copy_from_user_str() {
    let Some(kernel) = Kernel::open("copy_from_user_str") else { return };
    let Some(call) = kernel.call("bpf_copy_from_user_str") else { return };
    let (a, mut rng, edge) = (arena(2), Rng(21), Edge::new());
    for size in [0, 1, 2, 16, 33, 64] {
        let mut insns = vec![mov_reg(6, 1)];
        insns.extend(kernel.mem(1, 0));
        insns.extend([mov(2, size), ldx(3, 6, 0), ldx(4, 6, 8), call, stx(6, 0, 32)]);
        insns.extend(EXIT);
        let prog = kernel.load(&insns);
        for _ in 0..100 {
            let text = vec![b'x'; rng.below(70) as usize];
            let end: &[u8] = if rng.below(2) == 0 { b"\0" } else { b"" };
            let from = if rng.below(8) == 0 { 0 } else { edge.put(&[&text[..], end].concat()) };
            let flags = rng.below(3);
            let (mut theirs, mut ours) = ([0xaau8; MEM], [0xaau8; MEM]);
            let r = int(kernel.run(&prog, &[from, flags], &mut theirs)[4]);
            let mine = call_kfunc(
                &mut a.run_ctx(),
                "bpf_copy_from_user_str",
                [ptr_mut(&mut ours), size as u64, from, flags, 0],
            );
            assert_eq!(mine as i32, r, "{} bytes, size {size}, flags {flags}", text.len());
            assert!(r < 0 && flags == 0 || theirs == ours, "{} bytes, size {size}", text.len());
        }
    }
}

/// A program that makes an iterator with two words of the context and goes through it: result of `new`, count, sum, last.
fn iterate(kernel: &Kernel, kind: &str) -> Option<OwnedFd> {
    let call = |what| kernel.call(&format!("bpf_iter_{kind}_{what}"));
    let it = [mov_reg(1, 10), add(1, -16)];
    let mut insns = vec![mov_reg(6, 1), mov(7, 0), mov(8, 0)];
    insns.extend(it);
    insns.extend([ldx(2, 6, 0), ldx(3, 6, 8), call("new")?, stx(6, 0, 32)]);
    insns.extend(it);
    // if r0 == 0 goto +5
    insns.extend([call("next")?, 0x15 | 5 << 16]);
    // r1 = *(s32 *)(r0 + 0); r7 += 1; r8 += r1; *(u64 *)(r6 + 56) = r1; goto -9
    insns.extend([0x81 | 1 << 8, add(7, 1), 0x0f | 8 << 8 | 1 << 12, stx(6, 1, 56)]);
    insns.push(0x05 | (-9i16 as u16 as u64) << 16);
    insns.extend(it);
    insns.extend([call("destroy")?, stx(6, 7, 40), stx(6, 8, 48)]);
    insns.extend(EXIT);
    Some(kernel.load(&insns))
}

/// The same here; nothing is gone through for more than a few thousand.
fn ours(a: &Arena, kind: &str, args: [u64; 2]) -> [i64; 4] {
    let mut state = [0u64; 2];
    let (at, mut rc) = (ptr_mut(&mut state), a.run_ctx());
    let mut call = |what: &str, args| call_kfunc(&mut rc, &format!("bpf_iter_{kind}_{what}"), args);
    let mut result = [i64::from(call("new", [at, args[0], args[1], 0, 0]) as i32), 0, 0, 0];
    loop {
        let next = call("next", [at, 0, 0, 0, 0]);
        if next == 0 {
            break;
        }
        // SAFETY: an address in `state`.
        let number = i64::from(unsafe { *(next as *const i32) });
        (result[1], result[2], result[3]) = (result[1] + 1, result[2] + number, number);
    }
    assert_eq!(call("next", [at, 0, 0, 0, 0]), 0, "again at the end");
    call("destroy", [at, 0, 0, 0, 0]);
    result
}

#[test]
fn iterators() {
    let Some(kernel) = Kernel::open("iterators") else { return };
    let a = arena(2);
    if let Some(prog) = iterate(&kernel, "num") {
        let (min, max) = (i32::MIN as u32 as u64, i32::MAX as u64);
        let cases = [
            [0, 10],
            [5, 5],
            [6, 5],
            [-3i64 as u64, 4],
            [max - 3, max],
            [max, max],
            [min, min + 5],
            [min, max],
            [0, MANY + 1],
            [0, 3000],
        ];
        for args in cases {
            let theirs = kernel.run(&prog, &args, &mut [0; MEM]);
            let theirs =
                [i64::from(int(theirs[4])), theirs[5] as i64, theirs[6] as i64, theirs[7] as i64];
            assert_eq!(ours(&a, "num", args), theirs, "{args:x?}");
        }
    }
    let Some(prog) = iterate(&kernel, "bits") else { return };
    let mut rng = Rng(31);
    for words in [0u64, 1, 2, 3, 7, 511, 512, 1 << 29] {
        for round in 0..8 {
            let bits: Vec<u64> = (0..words.min(512))
                .map(|_| rng.below(1 << 50) & rng.below(1 << 50) << round)
                .collect();
            // The kernel reads its own memory only: the bits are in the map for one, here for the other.
            let mut mem = [0u8; MEM];
            for (to, word) in mem.chunks_exact_mut(8).zip(&bits) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            if words as usize > MEM / 8 && words <= 511 {
                continue;
            }
            let from = if round == 7 { 0 } else { ptr(&bits[..]) };
            let theirs = run_bits(&kernel, &prog, from != 0, words, &mut mem);
            assert_eq!(ours(&a, "bits", [from, words]), theirs, "{words} words, round {round}");
        }
    }
    assert_eq!(ours(&a, "bits", [0xffff_8000_0000_0000, 3])[0], -14);
}

/// A run over the map's own value, whose address the program is told by its value in a register.
fn run_bits(
    kernel: &Kernel,
    prog: &OwnedFd,
    some: bool,
    words: u64,
    mem: &mut [u8; MEM],
) -> [i64; 4] {
    let address = if some { value_address(kernel) } else { 0 };
    let ctx = kernel.run(prog, &[address, words], mem);
    [i64::from(int(ctx[4])), ctx[5] as i64, ctx[6] as i64, ctx[7] as i64]
}

/// Where the kernel has the map's value.
fn value_address(kernel: &Kernel) -> u64 {
    let mut insns = vec![mov_reg(6, 1)];
    insns.extend(kernel.mem(1, 0));
    insns.push(stx(6, 1, 32));
    insns.extend(EXIT);
    kernel.run(&kernel.load(&insns), &[], &mut [0; MEM])[4]
}
