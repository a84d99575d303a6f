//! The call of one program.

use super::asm::{Asm, Label, Reg};
use super::frame::{AX, Frame, OFF_CTX, OFF_OVERRIDE, OFF_REGS};
use super::table::MAX_SESSIONS;
use stylet_runtime::abi::{NO_SLOT, RUN_CAN_OVERRIDE, RUN_OVERRIDE, RUN_RETURN, run_ctx};

/// A program with the addresses it has in one process.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Its entry.
    pub code: u64,
    /// First byte of its window.
    pub window: u64,
    /// `slot_enter` of its window's agent.
    pub slot_enter: u64,
    /// `slot_leave` of its window's agent.
    pub slot_leave: u64,
    /// See `ProgRef`.
    pub ctx_read: u32,
    /// See `ProgRef`.
    pub ctx_escapes: bool,
    /// See `ProgRef`.
    pub uses_run_ctx: bool,
    /// See `ProgRef`.
    pub has_calls: bool,
    /// See `ProgRef`.
    pub xmm_used: u16,
    /// See `ProgRef`.
    pub needs_slot: bool,
    /// See `ProgRef`.
    pub can_override: bool,
    /// See `ProgRef`.
    pub reads_cookie: bool,
    /// See `ProgRef`.
    pub reads_func_ip: bool,
    /// See `ProgRef`.
    pub cookie: u64,
    /// See `ProgRef`.
    pub prog: u32,
    /// Address of the probed function, 0 for a site inside.
    pub func_ip: u64,
    /// Number of the session among those of its site, below [`MAX_SESSIONS`]: the program runs at entry and return.
    pub session: Option<u8>,
}

/// When a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// At the function's return.
    pub at_return: bool,
    /// Offset in the frame of the words that a table entry keeps for sessions; 0 if there are none.
    pub sessions: i32,
}

/// Emits the run of one program. `returns` collects the addresses that its calls return to.
pub fn emit(asm: &mut Asm, prog: &Bound, when: When, returns: &mut Vec<u64>) {
    let overrides = prog.can_override && !when.at_return;
    let skip = asm.label();
    let session = prog.session.filter(|&n| usize::from(n) < MAX_SESSIONS);
    let wanted = session.map(|n| (1 << n, when.sessions, when.sessions + 8 + 8 * i32::from(n)));
    if let Some((bit, mask, _)) = wanted.filter(|_| when.at_return) {
        asm.test_imm32((Reg::Rsp, mask), bit);
        asm.jump_zero(skip);
    }
    if prog.uses_run_ctx || prog.needs_slot || overrides {
        fill_run_ctx(asm, prog, when.at_return, overrides);
        let cookie_at = (Reg::Rsp, OFF_CTX + run_ctx::SESSION_COOKIE);
        match wanted {
            Some((_, _, kept)) if when.at_return => {
                asm.load(Reg::Rax, (Reg::Rsp, kept));
                asm.store(cookie_at, Reg::Rax);
            }
            Some(_) => asm.store_imm(cookie_at, 0),
            None => {}
        }
    }
    if prog.needs_slot {
        enter_slot(asm, prog, skip, returns);
    }
    asm.lea(Reg::Rdi, (Reg::Rsp, OFF_REGS));
    asm.lea(Reg::R9, (Reg::Rsp, OFF_CTX));
    asm.call(prog.code);
    returns.push(asm.here());
    if let Some((bit, mask, cookie)) = wanted.filter(|_| !when.at_return) {
        want_return(asm, prog, bit, mask, cookie);
    }
    if overrides {
        let none = asm.label();
        asm.test_imm32((Reg::Rsp, OFF_CTX + run_ctx::FLAGS), RUN_OVERRIDE);
        asm.jump_zero(none);
        asm.load(Reg::Rax, (Reg::Rsp, OFF_CTX + run_ctx::OVERRIDE_RC));
        asm.store(Frame::reg(AX), Reg::Rax);
        asm.store_imm((Reg::Rsp, OFF_OVERRIDE), 1);
        asm.bind(none);
    }
    if prog.needs_slot {
        asm.lea(Reg::Rdi, (Reg::Rsp, OFF_CTX));
        asm.call(prog.slot_leave);
        returns.push(asm.here());
    }
    asm.bind(skip);
}

/// A session whose entry gave 0 runs at the return too, with the cookie that it has left
/// (`uprobe_multi_link_handler`, kernel/trace/bpf_trace.c).
fn want_return(asm: &mut Asm, prog: &Bound, bit: u32, mask: i32, cookie: i32) {
    let unwanted = asm.label();
    asm.bytes(&[0x83, 0xf8, 0x01]); // cmp eax, 1
    asm.jump_not_below(unwanted);
    asm.or_imm32((Reg::Rsp, mask), bit);
    if prog.uses_run_ctx {
        asm.load(Reg::Rax, (Reg::Rsp, OFF_CTX + run_ctx::SESSION_COOKIE));
        asm.store((Reg::Rsp, cookie), Reg::Rax);
    }
    asm.bind(unwanted);
}

fn enter_slot(asm: &mut Asm, prog: &Bound, skip: Label, returns: &mut Vec<u64>) {
    asm.lea(Reg::Rdi, (Reg::Rsp, OFF_CTX));
    asm.call(prog.slot_enter);
    returns.push(asm.here());
    // i32 below zero: none to be had, the run is skipped (and was counted).
    asm.bytes(&[0x85, 0xc0]); // test eax, eax
    asm.jump_negative(skip);
}

fn fill_run_ctx(asm: &mut Asm, prog: &Bound, at_return: bool, overrides: bool) {
    let field = |off: i32| (Reg::Rsp, OFF_CTX + off);
    asm.address(Reg::Rax, prog.window);
    asm.store(field(run_ctx::ARENA), Reg::Rax);
    asm.lea(Reg::Rax, (Reg::Rsp, OFF_REGS));
    asm.store(field(run_ctx::REGS), Reg::Rax);
    if prog.reads_cookie {
        store_const(asm, run_ctx::COOKIE, prog.cookie);
    }
    if prog.reads_func_ip {
        store_const(asm, run_ctx::FUNC_IP, prog.func_ip);
    }
    let flags =
        if at_return { RUN_RETURN } else { 0 } | if overrides { RUN_CAN_OVERRIDE } else { 0 };
    // Stores are what this costs: two fields at once.
    store_const(asm, run_ctx::SLOT, u64::from(NO_SLOT));
    store_const(asm, run_ctx::FLAGS, u64::from(prog.prog) << 32 | u64::from(flags));
    if overrides {
        asm.store_imm(field(run_ctx::OVERRIDE_RC), 0);
    }
}

const _: () = assert!(
    run_ctx::TAIL_CALLS == run_ctx::SLOT + 4
        && run_ctx::PROG == run_ctx::FLAGS + 4
        && run_ctx::SLOT % 8 == 0
        && run_ctx::FLAGS % 8 == 0
);

fn store_const(asm: &mut Asm, off: i32, value: u64) {
    let mem = (Reg::Rsp, OFF_CTX + off);
    match i32::try_from(value as i64) {
        Ok(small) => asm.store_imm(mem, small),
        Err(_) => {
            asm.set(Reg::Rax, value);
            asm.store(mem, Reg::Rax);
        }
    }
}
