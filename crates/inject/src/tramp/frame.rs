//! The stack frame of a trampoline: `rbp` points to the saved `rbp`, `rsp` to the following, 16-aligned.

use super::asm::{Asm, Mem, Reg};
use super::run::Bound;
use super::table::SESSION_WORDS;
use stylet_runtime::abi::run_ctx;
use stylet_uapi::PtRegs;

/// First word of a frame while programs run, then zero: tells a live frame from one left behind on a stack.
pub const MARKER: i32 = -0x5354_594c;

/// Offset of the marker.
pub const OFF_MARKER: i32 = 0;
/// Offset of the word that is not zero when a program has overridden the function.
pub const OFF_OVERRIDE: i32 = 8;
/// Offset of the run context.
pub const OFF_CTX: i32 = 16;
/// Offset of the registers.
pub const OFF_REGS: i32 = OFF_CTX + run_ctx::SIZE;
/// Offset of the saved vector registers.
const OFF_XMM: i32 = (OFF_REGS + PtRegs::SIZE as i32 + 15) & !15;

/// Bytes below the stack pointer that a leaf function may use (System V ABI).
const RED_ZONE: i32 = 128;

/// Registers a called function may change, with their index in `pt_regs`.
const CALLER_SAVED: [(Reg, i32); 9] = [
    (Reg::Rax, 10),
    (Reg::R11, 6),
    (Reg::R10, 7),
    (Reg::R9, 8),
    (Reg::R8, 9),
    (Reg::Rcx, 11),
    (Reg::Rdx, 12),
    (Reg::Rsi, 13),
    (Reg::Rdi, 14),
];

/// Registers a called function keeps.
const CALLEE_SAVED: [(Reg, i32); 5] =
    [(Reg::R15, 0), (Reg::R14, 1), (Reg::R13, 2), (Reg::R12, 3), (Reg::Rbx, 5)];

const BP: i32 = 4;
/// Index of `ax`.
pub const AX: i32 = 10;
const ORIG_AX: i32 = 15;
/// Index of `ip`.
pub const IP: i32 = 16;
const CS: i32 = 17;
/// Index of `flags`.
pub const FLAGS: i32 = 18;
const SP: i32 = 19;
const SS: i32 = 20;

/// `__USER_CS` and `__USER_DS` of arch/x86/include/asm/segment.h.
const USER_CS: i32 = 0x33;
const USER_DS: i32 = 0x2b;

/// Where in the function the frame is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its first instruction: flags are dead, below `rsp` is nothing.
    Entry,
    /// Anywhere: flags and the red zone are in use.
    Inside,
    /// After its return: `rsp` is above the slot of the return address.
    Return,
}

/// What of the frame is needed.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    place: Place,
    /// `pt_regs` words that a program reads, by index.
    words: u32,
    /// Vector registers to save.
    xmm: u16,
    /// A program may override the function.
    pub overrides: bool,
    /// A program is a session.
    pub sessions: bool,
}

impl Frame {
    /// For these programs.
    pub fn new(place: Place, progs: &[Bound]) -> Frame {
        let mut frame = Frame { place, words: 0, xmm: 0, overrides: false, sessions: false };
        for prog in progs {
            frame.words |= if prog.ctx_escapes { u32::MAX } else { prog.ctx_read };
            frame.xmm |= if prog.has_calls || prog.needs_slot { prog.xmm_used } else { 0 };
            frame.overrides |= prog.can_override;
            frame.sessions |= prog.session.is_some();
        }
        if place == Place::Entry && frame.reads(FLAGS) {
            frame.place = Place::Inside;
        }
        frame
    }

    fn reads(&self, word: i32) -> bool {
        self.words & 1 << word != 0
    }

    fn size(&self) -> i32 {
        self.session_words() + if self.sessions { 8 * SESSION_WORDS as i32 } else { 0 }
    }

    /// Offset of the copy of a table entry's session words, if there are sessions.
    pub fn session_words(&self) -> i32 {
        OFF_XMM + 16 * self.xmm.count_ones() as i32
    }

    /// `pt_regs` word `index`.
    pub fn reg(index: i32) -> Mem {
        (Reg::Rsp, OFF_REGS + 8 * index)
    }

    /// Where the function's return address is, at its entry and after its return.
    pub fn slot(&self) -> Mem {
        (Reg::Rbp, if self.place == Place::Inside { 16 + RED_ZONE } else { 8 })
    }

    /// The stack pointer as the kernel would show it.
    fn sp(&self) -> Mem {
        match self.place {
            Place::Entry => (Reg::Rbp, 8),
            Place::Inside => (Reg::Rbp, 16 + RED_ZONE),
            Place::Return => (Reg::Rbp, 16),
        }
    }

    /// Makes the frame and saves what calls may change.
    pub fn enter(&self, asm: &mut Asm) {
        match self.place {
            Place::Entry => {}
            Place::Inside => {
                asm.lea(Reg::Rsp, (Reg::Rsp, -RED_ZONE));
                asm.bytes(&[0x9c]); // pushfq
            }
            // Cover the slot: it takes the return address again.
            Place::Return => asm.lea(Reg::Rsp, (Reg::Rsp, -8)),
        }
        asm.bytes(&[0x55]); // push rbp
        asm.mov(Reg::Rbp, Reg::Rsp);
        asm.lea(Reg::Rsp, (Reg::Rsp, -self.size()));
        asm.bytes(&[0x48, 0x83, 0xe4, 0xf0]); // and rsp, -16
        if self.place == Place::Inside {
            asm.bytes(&[0xfc]); // cld
        }
        for (reg, index) in CALLER_SAVED {
            asm.store(Self::reg(index), reg);
        }
        for (i, xmm) in bits(self.xmm).enumerate() {
            asm.store_xmm((Reg::Rsp, OFF_XMM + 16 * i as i32), xmm);
        }
        asm.store_imm((Reg::Rsp, OFF_MARKER), MARKER);
        if self.overrides {
            asm.store_imm((Reg::Rsp, OFF_OVERRIDE), 0);
        }
        if self.sessions {
            asm.store_imm((Reg::Rsp, self.session_words()), 0);
        }
    }

    /// Fills the words of `pt_regs` that programs read and saving has not filled. `ip`: what the programs see, unless the
    /// caller stores it itself. Changes `rax`.
    pub fn fill(&self, asm: &mut Asm, ip: Option<u64>) {
        for (reg, index) in CALLEE_SAVED {
            if self.reads(index) {
                asm.store(Self::reg(index), reg);
            }
        }
        if self.reads(BP) {
            asm.load(Reg::Rax, (Reg::Rbp, 0));
            asm.store(Self::reg(BP), Reg::Rax);
        }
        if let Some(ip) = ip.filter(|_| self.reads(IP)) {
            asm.set(Reg::Rax, ip);
            asm.store(Self::reg(IP), Reg::Rax);
        }
        if self.reads(SP) {
            asm.lea(Reg::Rax, self.sp());
            asm.store(Self::reg(SP), Reg::Rax);
        }
        if self.reads(FLAGS) {
            if self.place == Place::Inside {
                asm.load(Reg::Rax, (Reg::Rbp, 8));
            } else {
                asm.bytes(&[0x9c, 0x58]); // pushfq; pop rax
            }
            asm.store(Self::reg(FLAGS), Reg::Rax);
        }
        for (index, value) in [(ORIG_AX, -1), (CS, USER_CS), (SS, USER_DS)] {
            if self.reads(index) {
                asm.store_imm(Self::reg(index), value);
            }
        }
    }

    /// Gives everything back; `rsp` is then what it was before [`Frame::enter`], except after a return: there it points to
    /// the slot.
    pub fn leave(&self, asm: &mut Asm) {
        asm.store_imm((Reg::Rsp, OFF_MARKER), 0);
        for (i, xmm) in bits(self.xmm).enumerate() {
            asm.load_xmm(xmm, (Reg::Rsp, OFF_XMM + 16 * i as i32));
        }
        for (reg, index) in CALLER_SAVED {
            asm.load(reg, Self::reg(index));
        }
        asm.bytes(&[0xc9]); // leave
        if self.place == Place::Inside {
            asm.bytes(&[0x9d]); // popfq
            asm.lea(Reg::Rsp, (Reg::Rsp, RED_ZONE));
        }
    }
}

fn bits(mask: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |i| mask & 1 << i != 0)
}
