//! The few x86-64 instructions trampolines are made of.

use std::collections::BTreeMap;

/// A general register by its number in the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reg {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

/// A memory operand: base register and displacement in bytes.
pub type Mem = (Reg, i32);

/// A place in the code that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(usize);

/// Code for a known address.
#[derive(Debug)]
pub struct Asm {
    /// Address of the first byte.
    base: u64,
    code: Vec<u8>,
    labels: Vec<Option<usize>>,
    fixups: Vec<(usize, Label)>,
    /// 64-bit words after the code, each once, and the four-byte fields that refer to them.
    pool: BTreeMap<u64, Vec<usize>>,
}

impl Asm {
    /// Code that will stand at `base`.
    pub fn new(base: u64) -> Asm {
        Asm {
            base,
            code: Vec::new(),
            labels: Vec::new(),
            fixups: Vec::new(),
            pool: BTreeMap::new(),
        }
    }

    /// Address of the next byte.
    pub fn here(&self) -> u64 {
        self.base + self.code.len() as u64
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// A new label.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    fn rex_op(&mut self, wide: bool, op: &[u8], reg: u8, mem: Mem) {
        let (base, disp) = (mem.0 as u8, mem.1);
        let rex = 0x40 | u8::from(wide) << 3 | (reg >> 3) << 2 | base >> 3;
        if rex != 0x40 {
            self.code.push(rex);
        }
        self.code.extend_from_slice(op);
        let short = i8::try_from(disp).is_ok();
        self.code.push(if short { 0x40 } else { 0x80 } | (reg & 7) << 3 | base & 7);
        if base & 7 == 4 {
            self.code.push(0x24);
        }
        if short {
            self.code.push(disp as u8);
        } else {
            self.bytes(&disp.to_le_bytes());
        }
    }

    /// `mov [mem], reg`
    pub fn store(&mut self, mem: Mem, reg: Reg) {
        self.rex_op(true, &[0x89], reg as u8, mem);
    }

    /// `mov reg, [mem]`
    pub fn load(&mut self, reg: Reg, mem: Mem) {
        self.rex_op(true, &[0x8b], reg as u8, mem);
    }

    /// `lea reg, [mem]`; changes no flags.
    pub fn lea(&mut self, reg: Reg, mem: Mem) {
        self.rex_op(true, &[0x8d], reg as u8, mem);
    }

    /// `mov qword [mem], imm` (sign-extended)
    pub fn store_imm(&mut self, mem: Mem, imm: i32) {
        self.rex_op(true, &[0xc7], 0, mem);
        self.bytes(&imm.to_le_bytes());
    }

    /// `mov dword [mem], imm`
    pub fn store_imm32(&mut self, mem: Mem, imm: u32) {
        self.rex_op(false, &[0xc7], 0, mem);
        self.bytes(&imm.to_le_bytes());
    }

    /// `test dword [mem], imm`
    pub fn test_imm32(&mut self, mem: Mem, imm: u32) {
        self.rex_op(false, &[0xf7], 0, mem);
        self.bytes(&imm.to_le_bytes());
    }

    /// `or dword [mem], imm`
    pub fn or_imm32(&mut self, mem: Mem, imm: u32) {
        self.rex_op(false, &[0x81], 1, mem);
        self.bytes(&imm.to_le_bytes());
    }

    /// `movups [mem], xmmN`
    pub fn store_xmm(&mut self, mem: Mem, xmm: u8) {
        self.rex_op(false, &[0x0f, 0x11], xmm, mem);
    }

    /// `movups xmmN, [mem]`
    pub fn load_xmm(&mut self, xmm: u8, mem: Mem) {
        self.rex_op(false, &[0x0f, 0x10], xmm, mem);
    }

    /// `mov dst, src`
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        let (d, s) = (dst as u8, src as u8);
        self.bytes(&[0x48 | (s >> 3) << 2 | d >> 3, 0x89, 0xc0 | (s & 7) << 3 | d & 7]);
    }

    /// Loads a constant, in the shortest way; changes no flags.
    pub fn set(&mut self, reg: Reg, value: u64) {
        let r = reg as u8;
        if let Ok(v) = u32::try_from(value) {
            if r >= 8 {
                self.code.push(0x41);
            }
            self.code.push(0xb8 | r & 7);
            self.bytes(&v.to_le_bytes());
        } else {
            self.bytes(&[0x48 | r >> 3, 0xb8 | r & 7]);
            self.bytes(&value.to_le_bytes());
        }
    }

    /// Loads an address, RIP-relative when within reach.
    pub fn address(&mut self, reg: Reg, target: u64) {
        match reach(self.here() + 7, target) {
            Some(rel) => {
                let r = reg as u8;
                self.bytes(&[0x48 | (r >> 3) << 2, 0x8d, 0x05 | (r & 7) << 3]);
                self.bytes(&rel.to_le_bytes());
            }
            None => self.set(reg, target),
        }
    }

    /// `lea reg, [rip + label]`
    pub fn label_address(&mut self, reg: Reg, label: Label) {
        let r = reg as u8;
        self.bytes(&[0x48 | (r >> 3) << 2, 0x8d, 0x05 | (r & 7) << 3]);
        self.fix(label);
    }

    /// `call label`
    pub fn call_label(&mut self, label: Label) {
        self.bytes(&[0xe8]);
        self.fix(label);
    }

    /// Near call where the target is within reach, else through a 64-bit word behind the code.
    pub fn call(&mut self, target: u64) {
        self.transfer(&[0xe8], &[0xff, 0x15], target);
    }

    /// Near jump where the target is within reach, else through a 64-bit word behind the code.
    pub fn jump(&mut self, target: u64) {
        self.transfer(&[0xe9], &[0xff, 0x25], target);
    }

    fn transfer(&mut self, near: &[u8], far: &[u8], target: u64) {
        match reach(self.here() + near.len() as u64 + 4, target) {
            Some(rel) => {
                self.bytes(near);
                self.bytes(&rel.to_le_bytes());
            }
            None => {
                self.bytes(far);
                self.pool.entry(target).or_default().push(self.code.len());
                self.bytes(&[0; 4]);
            }
        }
    }

    /// `jz label`
    pub fn jump_zero(&mut self, label: Label) {
        self.bytes(&[0x0f, 0x84]);
        self.fix(label);
    }

    /// `jae label`
    pub fn jump_not_below(&mut self, label: Label) {
        self.bytes(&[0x0f, 0x83]);
        self.fix(label);
    }

    /// `js label`
    pub fn jump_negative(&mut self, label: Label) {
        self.bytes(&[0x0f, 0x88]);
        self.fix(label);
    }

    fn fix(&mut self, label: Label) {
        self.fixups.push((self.code.len(), label));
        self.bytes(&[0; 4]);
    }

    /// The finished bytes. Labels that were never bound point to the end.
    pub fn finish(mut self) -> Vec<u8> {
        for (at, label) in std::mem::take(&mut self.fixups) {
            let target = self.labels[label.0].unwrap_or(self.code.len());
            self.patch(at, target);
        }
        for (word, fields) in std::mem::take(&mut self.pool) {
            while !self.code.len().is_multiple_of(8) {
                self.code.push(0xcc);
            }
            let target = self.code.len();
            self.bytes(&word.to_le_bytes());
            for at in fields {
                self.patch(at, target);
            }
        }
        self.code
    }

    fn patch(&mut self, at: usize, target: usize) {
        let rel = (target as i64 - (at as i64 + 4)) as i32;
        self.code[at..at + 4].copy_from_slice(&rel.to_le_bytes());
    }
}

/// The 32-bit displacement from `next` (the end of the instruction) to `target`.
pub fn reach(next: u64, target: u64) -> Option<i32> {
    i32::try_from(target.wrapping_sub(next) as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, Formatter, GasFormatter};

    fn text(build: impl FnOnce(&mut Asm)) -> Vec<String> {
        let mut asm = Asm::new(0x1000);
        build(&mut asm);
        let code = asm.finish();
        let mut formatter = GasFormatter::new();
        Decoder::with_ip(64, &code, 0x1000, 0)
            .iter()
            .map(|insn| {
                let mut out = String::new();
                formatter.format(&insn, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn encodings_are_what_they_say() {
        let lines = text(|a| {
            a.store((Reg::Rsp, 8), Reg::R11);
            a.load(Reg::Rdi, (Reg::R12, 0x1234));
            a.lea(Reg::R9, (Reg::Rbp, -8));
            a.store_imm((Reg::Rsp, 0), -1);
            a.store_imm32((Reg::R13, 4), 7);
            a.test_imm32((Reg::Rsp, 200), 2);
            a.or_imm32((Reg::Rsp, 200), 2);
            a.store_xmm((Reg::Rsp, 16), 9);
            a.load_xmm(1, (Reg::Rsp, 16));
            a.mov(Reg::R8, Reg::Rbp);
            a.set(Reg::R10, 5);
            a.set(Reg::Rax, 0x1_0000_0000);
            a.address(Reg::Rdx, 0x1000);
            a.call(0x1000);
        });
        let expect = [
            "mov %r11,8(%rsp)",
            "mov 0x1234(%r12),%rdi",
            "lea -8(%rbp),%r9",
            "movq $0xFFFFFFFFFFFFFFFF,(%rsp)",
            "movl $7,4(%r13)",
            "testl $2,0xC8(%rsp)",
            "orl $2,0xC8(%rsp)",
            "movups %xmm9,0x10(%rsp)",
            "movups 0x10(%rsp),%xmm1",
            "mov %rbp,%r8",
            "mov $5,%r10d",
            "movabs $0x100000000,%rax",
            "lea 0x1000,%rdx",
            "call 0x0000000000001000",
        ];
        for (line, want) in lines.iter().zip(expect) {
            assert_eq!(line.replace("(%rip)", ""), want);
        }
        assert_eq!(lines.len(), expect.len());
    }

    #[test]
    fn far_targets_go_through_the_pool() {
        let mut asm = Asm::new(0x1000);
        asm.call(0x7000_0000_0000);
        asm.jump(0x7000_0000_0000);
        let code = asm.finish();
        assert_eq!(code.len(), 24);
        assert_eq!(code[16..], 0x7000_0000_0000u64.to_le_bytes());
        assert_eq!(code[2..6], 10i32.to_le_bytes());
    }
}
