//! The growing code, its labels and jumps, and the choice of short jumps.

use crate::emit::Cond;
use crate::{Code, Error, Reloc, Sym};

/// A place in the code that jumps may name before it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(u32);

/// A place in the code: bytes before it that are no jumps, and jumps before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pos {
    off: u32,
    jumps: u32,
}

#[derive(Clone, Copy, Debug)]
enum JumpKind {
    Jmp,
    Jcc(Cond),
    Call,
    /// Only the four bytes of a displacement; the rest of the instruction is in the buffer.
    Rel32,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    at: u32,
    kind: JumpKind,
    target: Label,
    size: u8,
}

/// Passes that look for jumps to shorten. Each result is valid, so a few are enough.
const PASSES: usize = 3;

/// Code under construction. Jumps are kept apart from the other bytes until [`Asm::finish`] knows their sizes.
#[derive(Default)]
pub(crate) struct Asm {
    pub(crate) buf: Vec<u8>,
    jumps: Vec<Jump>,
    labels: Vec<Option<Pos>>,
    relocs: Vec<(Pos, Sym, i32)>,
    fixups: Vec<(Pos, Label)>,
}

impl Asm {
    /// A label without a place.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// Puts the label here.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = Some(self.pos());
    }

    /// Here.
    pub fn pos(&self) -> Pos {
        Pos { off: self.buf.len() as u32, jumps: self.jumps.len() as u32 }
    }

    fn jump(&mut self, kind: JumpKind, target: Label, size: u8) {
        self.jumps.push(Jump { at: self.buf.len() as u32, kind, target, size });
    }

    /// `jmp target`, nothing when the target is the next instruction.
    pub fn jmp(&mut self, target: Label) {
        self.jump(JumpKind::Jmp, target, 5);
    }

    /// `jcc target`.
    pub fn jcc(&mut self, cond: Cond, target: Label) {
        self.jump(JumpKind::Jcc(cond), target, 6);
    }

    /// `call target`.
    pub fn call_label(&mut self, target: Label) {
        self.jump(JumpKind::Call, target, 5);
    }

    /// Displacement of `target` from the end of these four bytes.
    pub fn rel32_label(&mut self, target: Label) {
        self.jump(JumpKind::Rel32, target, 4);
    }

    /// Four bytes that a relocation fills.
    pub fn rel32_sym(&mut self, sym: Sym, addend: i32) {
        self.relocs.push((self.pos(), sym, addend));
        self.buf.extend([0; 4]);
    }

    /// The instruction at `at` may fault and then goes on at `to`.
    pub fn fixup(&mut self, at: Pos, to: Label) {
        self.fixups.push((at, to));
    }

    /// Chooses the sizes of jumps and puts all together. `slots` are the labels of the BPF slots.
    pub fn finish(mut self, slots: &[Label]) -> Result<Code, Error> {
        let bytes = self.buf.len() as u64 + 6 * self.jumps.len() as u64;
        if bytes > i32::MAX as u64 {
            return Err(Error::TooLarge { bytes });
        }
        let mut shift = self.shifts();
        for _ in 0..PASSES {
            if !self.shorten(&shift) {
                break;
            }
            shift = self.shifts();
        }
        let at = |p: Pos| p.off + shift[p.jumps as usize];
        let place = |l: Label| self.labels[l.0 as usize].map(at).unwrap_or_default();
        let mut code = Code {
            text: self.text(&shift),
            relocs: self
                .relocs
                .iter()
                .map(|&(p, sym, addend)| Reloc { at: at(p), sym, addend })
                .collect(),
            fixups: self.fixups.iter().map(|&(p, l)| (at(p), place(l))).collect(),
            ..Code::default()
        };
        let mut next = code.text.len() as u32;
        code.insn_offsets = vec![0; slots.len()];
        for (i, &slot) in slots.iter().enumerate().rev() {
            next = self.labels[slot.0 as usize].map_or(next, at);
            code.insn_offsets[i] = next;
        }
        Ok(code)
    }

    /// For each jump, and the end, the bytes of all jumps before it.
    fn shifts(&self) -> Vec<u32> {
        let mut sum = 0;
        let mut shifts = Vec::with_capacity(self.jumps.len() + 1);
        shifts.push(0);
        for jump in &self.jumps {
            sum += u32::from(jump.size);
            shifts.push(sum);
        }
        shifts
    }

    fn disp(&self, i: usize, shift: &[u32]) -> i64 {
        let jump = &self.jumps[i];
        let end = i64::from(jump.at + shift[i + 1]);
        let target = self.labels[jump.target.0 as usize].map(|p| p.off + shift[p.jumps as usize]);
        target.map_or(0, |t| i64::from(t) - end)
    }

    /// Shortens what fits. Distances never grow when jumps shrink, so a jump once short stays valid.
    fn shorten(&mut self, shift: &[u32]) -> bool {
        let mut changed = false;
        for i in 0..self.jumps.len() {
            let disp = self.disp(i, shift);
            let size = match self.jumps[i].kind {
                JumpKind::Jmp | JumpKind::Jcc(_) if disp == 0 => 0,
                JumpKind::Jmp | JumpKind::Jcc(_) if i8::try_from(disp).is_ok() => 2,
                _ => continue,
            };
            if size < self.jumps[i].size {
                self.jumps[i].size = size;
                changed = true;
            }
        }
        changed
    }

    fn text(&self, shift: &[u32]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.buf.len() + 6 * self.jumps.len());
        let mut from = 0;
        for (i, jump) in self.jumps.iter().enumerate() {
            text.extend_from_slice(&self.buf[from..jump.at as usize]);
            from = jump.at as usize;
            let disp = self.disp(i, shift);
            match (jump.kind, jump.size) {
                (_, 0) => {}
                (JumpKind::Jmp, 2) => text.extend([0xeb, disp as u8]),
                (JumpKind::Jcc(cond), 2) => text.extend([0x70 | cond as u8, disp as u8]),
                (JumpKind::Jmp, _) => text.push(0xe9),
                (JumpKind::Jcc(cond), _) => text.extend([0x0f, 0x80 | cond as u8]),
                (JumpKind::Call, _) => text.push(0xe8),
                (JumpKind::Rel32, _) => {}
            }
            if jump.size > 2 {
                text.extend_from_slice(&(disp as i32).to_le_bytes());
            }
        }
        text.extend_from_slice(&self.buf[from..]);
        text
    }
}
