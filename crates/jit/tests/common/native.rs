//! The compiler's side: helpers as machine code that spoils every register it may.

use super::*;
use std::arch::naked_asm;
use std::ffi::c_void;
use stylet_jit::{Code, ExecMem, HelperImpl, Options, Sym, compile};

/// Run context of these tests.
#[repr(C)]
struct RunCtx {
    cookie: u64,
    slot: u32,
    tail_calls: u32,
    magic: u64,
}

const MAGIC: u64 = 0x5259_1e7c_0ffe_e000;

/// Offsets in the data: the array's header, its values, the prog array's header and entries.
const ARRAY: usize = 0;
const VALUES: usize = 64;
const PROG_ARRAY: usize = 2048;
const PROG_ENTRIES: usize = 64;

extern "C" fn mix_inner(a: u64, b: u64, c: u64, d: u64, e: u64, run: *const RunCtx) -> u64 {
    // SAFETY: generated code passes the run context on, which lives as long as the run.
    let magic = unsafe { (*run).magic };
    if magic != MAGIC {
        return !0;
    }
    mix([a, b, c, d, e])
}

/// [`mix_inner`] behind a check of the stack's alignment; leaves junk in all registers that a call may change.
#[unsafe(naked)]
unsafe extern "C" fn mix_entry(a: u64, b: u64, c: u64, d: u64, e: u64, run: *const RunCtx) -> u64 {
    naked_asm!(
        "test rsp, 8",
        "jne 2f",
        "ud2",
        "2: test rsp, 7",
        "je 3f",
        "ud2",
        "3: sub rsp, 8",
        "call {inner}",
        "add rsp, 8",
        "mov rdi, -1",
        "mov rsi, -1",
        "mov rdx, -1",
        "mov rcx, -1",
        "mov r8, -1",
        "mov r9, -1",
        "mov r10, -1",
        "mov r11, -1",
        "ret",
        inner = sym mix_inner,
    )
}

type Callback = unsafe extern "C" fn(u64, u64, u64, u64, u64, *const RunCtx) -> u64;

unsafe extern "C" fn loop_entry(
    n: u64,
    func: u64,
    ctx: u64,
    _flags: u64,
    _: u64,
    run: *const RunCtx,
) -> u64 {
    // SAFETY: the program passes the entry of one of its callbacks.
    let func = unsafe { std::mem::transmute::<*const c_void, Callback>(func as *const c_void) };
    let mut calls = 0;
    while calls < n {
        calls += 1;
        // SAFETY: as above.
        if unsafe { func(calls - 1, ctx, 0, 0, 0, run) } != 0 {
            break;
        }
    }
    calls
}

fn helper(id: u32, _map: Option<u32>) -> HelperImpl {
    match id {
        HELPER_COOKIE => HelperImpl::LoadRunCtx64(std::mem::offset_of!(RunCtx, cookie) as i32),
        HELPER_SLOT => HelperImpl::LoadRunCtx32(std::mem::offset_of!(RunCtx, slot) as i32),
        HELPER_LOOKUP => HelperImpl::ArrayLookup {
            values_off: VALUES as i32,
            elem_size: ARRAY_ELEM,
            max_entries: ARRAY_ENTRIES,
        },
        HELPER_TAIL_CALL => HelperImpl::TailCall {
            values_off: PROG_ENTRIES as i32,
            max_entries_off: 0,
            count_off: std::mem::offset_of!(RunCtx, tail_calls) as i32,
        },
        _ => HelperImpl::Call,
    }
}

fn address(sym: Sym, data: u64) -> Option<u64> {
    match sym {
        Sym::Map(0) => Some(data + ARRAY as u64),
        Sym::Map(1) => Some(data + PROG_ARRAY as u64),
        Sym::MapValue(0) => Some(data + (ARRAY + VALUES) as u64),
        Sym::Helper(HELPER_MIX) | Sym::Kfunc(KFUNC_MIX) => Some(mix_entry as *const () as u64),
        Sym::Helper(HELPER_LOOP) => Some(loop_entry as *const () as u64),
        _ => None,
    }
}

pub fn run(case: &Case, cpu: CpuFeatures) -> Result<Outcome, String> {
    let opts = Options { helper: &helper, cpu };
    let progs = std::iter::once(&case.main).chain(&case.targets);
    let codes: Vec<Code> =
        progs.map(|p| compile(p, &opts)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let codes: Vec<&Code> = codes.iter().collect();
    let mem = ExecMem::new(&codes, 4096, &address).map_err(|e| e.to_string())?;
    let map = mem.data().wrapping_add(PROG_ARRAY);
    // SAFETY: the data is 4096 bytes long and aligned.
    unsafe { map.cast::<u32>().write(PROGS as u32) };
    for i in 0..case.targets.len() {
        let entry = mem.entry(i + 1).wrapping_sub(map as u64);
        // SAFETY: as above.
        unsafe { map.add(PROG_ENTRIES + 8 * i).cast::<u64>().write(entry) };
    }
    let mut ctx = case.ctx.clone();
    let mut run = RunCtx { cookie: COOKIE, slot: SLOT, tail_calls: 0, magic: MAGIC };
    let args = [ctx.as_mut_ptr() as u64, 0, 0, 0, 0];
    // SAFETY: the interpreter, which checks every access, has run the same program.
    let r0 = unsafe { run_checked(&mem, args, (&raw mut run).cast()) }?;
    let array = mem.data().wrapping_add(ARRAY + VALUES);
    // SAFETY: the array lies in the data.
    let array = unsafe { std::slice::from_raw_parts(array, (ARRAY_ENTRIES * ARRAY_ELEM) as usize) }
        .to_vec();
    Ok(Outcome { r0, ctx, array })
}

/// Runs code 0 and checks that it preserves what a function has to preserve.
unsafe fn run_checked(mem: &ExecMem, args: [u64; 5], run: *mut c_void) -> Result<u64, String> {
    let (r0, saved): (u64, u64);
    // SAFETY: by the caller; all registers that the code may change are declared.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "mov rbx, 0x11111111",
            "mov rbp, 0x22222222",
            "mov r12, 0x33333333",
            "mov r13, 0x44444444",
            "mov r14, 0x55555555",
            "mov r15, 0x66666666",
            "push rsp",
            "push rax",
            "call rax",
            "add rsp, 8",
            "pop r11",
            "sub r11, rsp",
            "sub rbx, 0x11111111",
            "sub rbp, 0x22222222",
            "sub r12, 0x33333333",
            "sub r13, 0x44444444",
            "sub r14, 0x55555555",
            "sub r15, 0x66666666",
            "or r11, rbx",
            "or r11, rbp",
            "or r11, r12",
            "or r11, r13",
            "or r11, r14",
            "or r11, r15",
            "pop rbp",
            "pop rbx",
            inout("rax") mem.entry(0) => r0,
            inout("rdi") args[0] => _,
            inout("rsi") args[1] => _,
            inout("rdx") args[2] => _,
            inout("rcx") args[3] => _,
            inout("r8") args[4] => _,
            inout("r9") run => _,
            out("r10") _,
            out("r11") saved,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("C"),
        );
    }
    if saved == 0 { Ok(r0) } else { Err("a preserved register changed".into()) }
}
