//! The trampolines of one site.

use super::asm::{Asm, Label, Reg};
use super::frame::{Frame, IP, OFF_OVERRIDE, Place};
use super::run::{Bound, When, emit};
use super::table;
use crate::Result;
use crate::site::{Plan, Relocated};

/// What a site's trampolines are made from.
pub struct BlockSpec<'a> {
    /// Address the block will stand at.
    pub at: u64,
    /// The displaced instructions.
    pub plan: &'a Plan,
    /// Programs of the site itself, in order of their run.
    pub entry: &'a [Bound],
    /// Programs of the function's return.
    pub ret: &'a [Bound],
    /// The site may be anywhere in the function.
    pub inside: bool,
    /// Address of the region's [`table::code`].
    pub routines: u64,
    /// Address of the region's table.
    pub table: u64,
}

/// A finished block.
#[derive(Clone, Debug)]
pub struct Block {
    /// First byte, where the site's jump goes.
    pub at: u64,
    /// The bytes.
    pub code: Vec<u8>,
    /// What a replaced return address is, if there is a return part.
    pub ret_at: Option<u64>,
    /// Places of the displaced instructions: (original, here).
    pub moved: Vec<(u64, u64)>,
    /// Return addresses of the calls made; behind each one on a stack is a frame's marker.
    pub returns: Vec<u64>,
}

/// Builds the block for a site.
pub fn build(spec: &BlockSpec) -> Result<Block> {
    let mut asm = Asm::new(spec.at);
    let mut returns = Vec::new();
    let body = asm.label();
    let ret_at = emit_entry(&mut asm, spec, body, &mut returns);
    asm.bind(body);
    let Relocated { code, moved } = spec.plan.relocate(asm.here())?;
    asm.bytes(&code);
    asm.jump(spec.plan.resume());
    Ok(Block { at: spec.at, code: asm.finish(), ret_at, moved, returns })
}

/// The entry part, and the return part if there is one. `body` is the displaced instructions.
fn emit_entry(asm: &mut Asm, spec: &BlockSpec, body: Label, returns: &mut Vec<u64>) -> Option<u64> {
    let place = if spec.inside { Place::Inside } else { Place::Entry };
    let frame = Frame::new(place, spec.entry);
    frame.enter(asm);
    frame.fill(asm, Some(spec.plan.site));
    let when = When { at_return: false, sessions: frame.session_words() };
    for prog in spec.entry {
        emit(asm, prog, when, returns);
    }
    if spec.ret.is_empty() {
        emit_override(asm, &frame);
        frame.leave(asm);
        return None;
    }
    let (back, plain, unwanted) = (asm.label(), asm.label(), asm.label());
    if spec.ret.iter().all(|p| p.session.is_some()) {
        asm.bytes(&[0x31, 0xc0]); // xor eax, eax
        asm.test_imm32((Reg::Rsp, frame.session_words()), u32::MAX);
        asm.jump_zero(unwanted);
    }
    asm.lea(Reg::Rdi, frame.slot());
    asm.address(Reg::Rsi, spec.table);
    asm.label_address(Reg::Rdx, back);
    asm.call(spec.routines);
    returns.push(asm.here());
    if frame.sessions {
        keep_session_words(asm, &frame, spec.ret, unwanted);
    }
    asm.bind(unwanted);
    emit_override(asm, &frame);
    asm.bytes(&[0x85, 0xc0]); // test eax, eax
    asm.jump_zero(plain);
    frame.leave(asm);
    // The call puts our return address into the slot. So each return meets the one that the processor predicts.
    asm.lea(Reg::Rsp, (Reg::Rsp, 8));
    asm.call_label(body);
    asm.bind(back);
    let ret_at = asm.here();
    emit_return(asm, spec, returns);
    asm.bind(plain);
    frame.leave(asm);
    Some(ret_at)
}

/// Returns to the caller at once if a program has said so. Keeps `eax`.
fn emit_override(asm: &mut Asm, frame: &Frame) {
    if frame.overrides {
        let run = asm.label();
        asm.bytes(&[0x83, 0x7c, 0x24, OFF_OVERRIDE as u8, 0]); // cmp dword [rsp + OFF_OVERRIDE], 0
        asm.jump_zero(run);
        frame.leave(asm);
        asm.bytes(&[0xc3]); // ret
        asm.bind(run);
    }
}

/// Copies the session words that are in use from the frame to the entry whose key is at `rcx`, unless `eax` is 0.
fn keep_session_words(asm: &mut Asm, frame: &Frame, ret: &[Bound], none: Label) {
    asm.bytes(&[0x85, 0xc0]); // test eax, eax
    asm.jump_zero(none);
    asm.bytes(&[0x48, 0x29, 0xf1]); // sub rcx, rsi
    asm.bytes(&[0x48, 0x8d, 0x8c, 0xce]); // lea rcx, [rsi + 8*rcx + SESSIONS_OF_KEY]
    asm.bytes(&table::SESSIONS_OF_KEY.to_le_bytes());
    let cookies = ret.iter().filter_map(|p| p.session).map(|n| 8 + 8 * i32::from(n));
    for word in cookies.chain([0]) {
        asm.load(Reg::Rdx, (Reg::Rsp, frame.session_words() + word));
        asm.store((Reg::Rcx, word), Reg::Rdx);
    }
}

fn emit_return(asm: &mut Asm, spec: &BlockSpec, returns: &mut Vec<u64>) {
    let frame = Frame::new(Place::Return, spec.ret);
    frame.enter(asm);
    asm.lea(Reg::Rdi, frame.slot());
    asm.address(Reg::Rsi, spec.table);
    if frame.sessions {
        asm.lea(Reg::Rdx, (Reg::Rsp, frame.session_words()));
    }
    let routine = if frame.sessions { table::take_offset() } else { table::leave_offset() };
    asm.call(spec.routines + routine);
    returns.push(asm.here());
    asm.store(frame.slot(), Reg::Rax);
    asm.store(Frame::reg(IP), Reg::Rax);
    frame.fill(asm, None);
    let when = When { at_return: true, sessions: frame.session_words() };
    for prog in spec.ret {
        emit(asm, prog, when, returns);
    }
    frame.leave(asm);
    asm.bytes(&[0xc3]); // ret
}
