//! Decides whether a site's first bytes can become a jump.

use crate::{Error, Result, Unpatchable};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use std::ops::Range;

/// Bytes of `jmp rel32`.
pub const JUMP: usize = 5;
/// Longest x86 instruction.
pub const MAX_INSN: usize = 15;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// What is known about a site.
pub struct PlanInput<'a> {
    /// The probed address.
    pub site: u64,
    /// Code around it as it is in memory.
    pub code: &'a [u8],
    /// Address of `code`.
    pub code_at: u64,
    /// Bounds of the function the site is in, if known.
    pub func: Option<Range<u64>>,
    /// A symbol that starts in the bytes behind the site, if any.
    pub next_symbol: Option<(String, u64)>,
    /// The site is the function's first instruction.
    pub is_entry: bool,
}

/// A site that can be patched.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The probed address: what programs see as `ip`.
    pub site: u64,
    /// Where the jump is written (behind an `endbr64`, which indirect branches must meet first).
    pub patch_at: u64,
    /// The bytes it replaces.
    pub original: [u8; JUMP],
    /// The instructions that are run elsewhere.
    pub displaced: Vec<Instruction>,
}

impl Plan {
    /// Examines a site.
    pub fn new(input: &PlanInput) -> Result<Plan> {
        let err = |why| Error::Unpatchable { site: input.site, why };
        let bytes = input.at(input.site, MAX_INSN);
        if bytes.first() == Some(&0xcc) {
            return Err(err(Unpatchable::Patched { what: "int3" }));
        }
        let patch_at = if bytes.starts_with(&ENDBR64) {
            input.site + ENDBR64.len() as u64
        } else {
            input.site
        };
        let displaced = displaced(input, patch_at).map_err(err)?;
        let original = input
            .at(patch_at, JUMP)
            .try_into()
            .map_err(|_| err(Unpatchable::Invalid { at: patch_at }))?;
        let plan = Plan { site: input.site, patch_at, original, displaced };
        plan.check_branches(input).map_err(err)?;
        Ok(plan)
    }

    /// First address behind the displaced instructions.
    pub fn resume(&self) -> u64 {
        self.displaced.last().map_or(self.patch_at, Instruction::next_ip)
    }

    /// The addresses that no branch may go to: inside the jump.
    pub fn inside(&self) -> Range<u64> {
        self.patch_at + 1..self.patch_at + JUMP as u64
    }

    fn check_branches(&self, input: &PlanInput) -> std::result::Result<(), Unpatchable> {
        let func = input.func.clone().unwrap_or(self.patch_at..self.patch_at + 256);
        if let Some((name, at)) =
            input.next_symbol.as_ref().filter(|(_, at)| self.inside().contains(at))
        {
            return Err(Unpatchable::SymbolInside { name: name.clone(), at: *at });
        }
        let whole_jump = self.displaced.first().is_some_and(|i| i.len() >= JUMP);

        for insn in decode(input.between(&func), func.start) {
            if insn.is_invalid() {
                continue;
            }
            if insn.ip() < input.site && insn.next_ip() > input.site {
                return Err(Unpatchable::MidInstruction { at: insn.ip() });
            }
            let inside_self = insn.ip() >= self.patch_at && insn.ip() < self.resume();
            let target = insn.near_branch_target();
            if self.inside().contains(&target) && is_near_branch(&insn) {
                return Err(Unpatchable::BranchInside { from: insn.ip(), to: target, len: JUMP });
            }
            // A switch's case label may follow the site; a function's first bytes are none.
            let table = insn.flow_control() == FlowControl::IndirectBranch && !inside_self;
            if table && !input.is_entry && !whole_jump && !is_tail_jump(&insn) {
                return Err(Unpatchable::IndirectBranch { from: insn.ip() });
            }
        }
        Ok(())
    }
}

impl PlanInput<'_> {
    /// At most `len` bytes at an address.
    fn at(&self, addr: u64, len: usize) -> &[u8] {
        let from = addr.wrapping_sub(self.code_at) as usize;
        let rest = self.code.get(from..).unwrap_or_default();
        &rest[..len.min(rest.len())]
    }

    fn between(&self, range: &Range<u64>) -> &[u8] {
        self.at(range.start, (range.end - range.start) as usize)
    }
}

fn decode(code: &[u8], at: u64) -> impl Iterator<Item = Instruction> {
    let mut decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
}

fn is_near_branch(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|i| {
        matches!(
            insn.op_kind(i),
            OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16
        )
    })
}

/// `jmp [rip + x]` leads to another function (a PLT entry, a pointer), not into a table of this one.
fn is_tail_jump(insn: &Instruction) -> bool {
    insn.is_ip_rel_memory_operand()
}

/// The instructions that cover the jump.
fn displaced(input: &PlanInput, at: u64) -> std::result::Result<Vec<Instruction>, Unpatchable> {
    let end = at + JUMP as u64;
    let mut out: Vec<Instruction> = Vec::new();
    let mut next = at;
    while next < end {
        if let Some(last) = out.last().filter(|i| ends_flow(i)) {
            // What follows is not this code any more: only padding may be overwritten.
            check_padding(input, last.next_ip(), end)?;
            break;
        }
        let insn = decode(input.at(next, MAX_INSN), next).next().unwrap_or_default();
        if insn.is_invalid() {
            return Err(Unpatchable::Invalid { at: next });
        }
        if input.func.as_ref().is_some_and(|f| next >= f.end) {
            return Err(Unpatchable::TooShort { have: (next - at) as usize, need: JUMP });
        }
        if insn.flow_control() == FlowControl::Interrupt && insn.mnemonic() == Mnemonic::Int3 {
            return Err(Unpatchable::Patched { what: "int3" });
        }
        let is_call = matches!(insn.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        // `syscall` counts as a call in iced-x86; the kernel's return into the middle is handled when threads are moved.
        if is_call && insn.code() != Code::Syscall && insn.next_ip() < end {
            return Err(Unpatchable::CallInside { at: next });
        }
        next = insn.next_ip();
        out.push(insn);
    }
    Ok(out)
}

/// Whether control never goes to the next instruction.
fn ends_flow(insn: &Instruction) -> bool {
    matches!(
        insn.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    )
}

/// Whether only padding is between the end of the instructions and that of the jump: forms of `nop`, `int3`, or zeros behind
/// the function's end.
fn check_padding(input: &PlanInput, from: u64, to: u64) -> std::result::Result<(), Unpatchable> {
    let mut at = from;
    while at < to {
        let insn = decode(input.at(at, MAX_INSN), at).next().unwrap_or_default();
        let behind = input.func.as_ref().is_some_and(|f| at >= f.end);
        if behind && input.at(at, 1) == [0] {
            at += 1;
        } else if matches!(insn.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) && !insn.is_invalid() {
            at = insn.next_ip();
        } else {
            let have = (from - (to - JUMP as u64)) as usize;
            return Err(Unpatchable::TooShort { have, need: JUMP });
        }
    }
    Ok(())
}

/// The bytes of a jump from `at` to `to`.
pub fn jump_bytes(at: u64, to: u64) -> Option<[u8; JUMP]> {
    let rel = crate::tramp::asm::reach(at + JUMP as u64, to)?.to_le_bytes();
    Some([0xe9, rel[0], rel[1], rel[2], rel[3]])
}
