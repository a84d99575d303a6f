//! Instructions and machine code of a program of the kernel.

use crate::args::InspectArgs;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use stylet::Error;
use stylet::kernel::{DumpWish, FuncRecord, KernelSymbols, LineRecord, ProgDump, ProgEntry};
use stylet_btf::Btf;
use stylet_insn::Insn;

/// Opcodes and pseudo kinds that a dump shows in a way of its own (`bpf_insn_prepare_dump`, kernel/bpf/syscall.c).
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const LDDW: u8 = 0x18;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;

/// A program's code with what is needed to read it.
pub struct Dump<'a> {
    dump: ProgDump,
    btf: Option<&'a Btf>,
    symbols: KernelSymbols,
}

/// A place in a program, for its source line and its function.
struct Place {
    /// `file:line:column`.
    place: String,
    text: String,
}

impl<'a> Dump<'a> {
    /// Asks the kernel for what `args` wants.
    pub fn read(
        prog: &ProgEntry,
        fd: OwnedFd,
        btf: Option<&'a Btf>,
        args: &InspectArgs,
    ) -> Result<Dump<'a>, Error> {
        let wish = DumpWish { xlated: args.disasm, jited: args.jited, lines: true };
        let dump = stylet::kernel::dump(fd, wish)?;
        let hidden = |what| Err(Error::NotShown { prog: prog.id, what });
        if args.disasm && dump.xlated.is_empty() {
            return hidden("instructions");
        }
        if args.jited && dump.jited.is_empty() && prog.bytes_jited != 0 {
            return hidden("machine code");
        }
        let symbols = if args.disasm { KernelSymbols::read() } else { KernelSymbols::default() };
        Ok(Dump { dump, btf, symbols })
    }

    /// As the kernel and bpftool print it, with C lines.
    pub fn xlated_text(&self) -> String {
        let mut out = String::new();
        for (slot, insn, text) in self.slots() {
            if let Some(func) = self.func(slot) {
                let _ = writeln!(out, "{func}:");
            }
            if let Some(Place { place, text }) = self.line(slot) {
                let _ = writeln!(out, "; {text} @ {place}");
            }
            let _ = writeln!(out, "{slot:>5}: ({:02x}) {text}", insn.code);
        }
        out
    }

    /// As `bpftool -j prog dump xlated`.
    pub fn xlated_json(&self) -> Value {
        self.slots()
            .into_iter()
            .map(|(slot, insn, text)| {
                let mut one = json!({"pc": slot, "disasm": format!("({:02x}) {text}", insn.code)});
                if let Some(func) = self.func(slot) {
                    one["proto"] = func.into();
                }
                if let Some(Place { place, text }) = self.line(slot) {
                    one["src"] = text.into();
                    one["line"] = place.into();
                }
                one
            })
            .collect()
    }

    /// The machine code of each function, with C lines; addresses are offsets in the function.
    pub fn jited_text(&self) -> String {
        let mut out = String::new();
        for (name, start, code) in self.functions() {
            let _ = writeln!(out, "{name}:");
            for line in super::x86::disasm(code) {
                if let Some(Place { place, text }) = self.jited_line(start + line.offset) {
                    let _ = writeln!(out, "; {text} @ {place}");
                }
                let _ = writeln!(out, "{:>5x}: {}", line.offset, line.text);
            }
        }
        out
    }

    /// As `bpftool -j prog dump jited`.
    pub fn jited_json(&self) -> Value {
        let functions = self.functions().into_iter();
        functions
            .map(|(name, start, code)| {
                let insns = super::x86::disasm(code).into_iter().map(|line| {
                    let mut one = json!({"pc": format!("{:#x}", line.offset), "insn": line.text});
                    if let Some(Place { place, text }) = self.jited_line(start + line.offset) {
                        one["src"] = text.into();
                        one["line"] = place.into();
                    }
                    one
                });
                json!({"name": name, "insns": insns.collect::<Vec<_>>()})
            })
            .collect()
    }

    /// Slots that begin an instruction, with their text.
    fn slots(&self) -> Vec<(usize, Insn, String)> {
        let insns: Vec<Insn> = self.dump.xlated.iter().map(|b| Insn::from_bytes(*b)).collect();
        let mut all = Vec::new();
        let mut slot = 0;
        while let Some(insn) = insns.get(slot) {
            let next = insns.get(slot + 1);
            all.push((slot, *insn, self.text(insn, next)));
            slot += if insn.is_lddw() { 2 } else { 1 };
        }
        all
    }

    fn text(&self, insn: &Insn, next: Option<&Insn>) -> String {
        match (insn.code, insn.src) {
            // The address, relative to that of __bpf_call_base.
            (CALL, 0) => {
                let base = self.symbols.address("__bpf_call_base");
                let target = base.map(|b| b.wrapping_add_signed(i64::from(insn.imm)));
                match target.and_then(|t| self.symbols.at(t)) {
                    Some((name, _)) => format!("call {name}"),
                    None if insn.imm == 0 => "call (hidden: kptr_restrict)".to_owned(),
                    None => format!("call helper#{}", insn.imm),
                }
            }
            // `imm` is the number of the function in compiled programs, `off` the way there.
            (CALL, PSEUDO_CALL) => match usize::try_from(insn.imm) {
                Ok(n) if n < self.dump.ksyms.len().max(self.dump.funcs.len()) => {
                    format!("call pc{:+}#{}", insn.off, self.func_name(n))
                }
                _ => format!("call pc{:+}", insn.off),
            },
            (LDDW, PSEUDO_MAP_FD) => format!("r{} = map[id:{}]", insn.dst, insn.imm),
            (LDDW, PSEUDO_MAP_VALUE) => {
                let off = next.map_or(0, |n| n.imm);
                format!("r{} = map[id:{}][0]+{off}", insn.dst, insn.imm)
            }
            _ => stylet_insn::disasm(insn, next).to_string(),
        }
    }

    /// `int called(struct pt_regs *ctx)` where a function begins.
    fn func(&self, slot: usize) -> Option<String> {
        let record = self.dump.funcs.iter().find(|f| f.insn_off as usize == slot)?;
        let btf = self.btf?;
        let name = btf.type_name(record.type_id);
        match btf.type_by_id(record.type_id)? {
            stylet_btf::Type::Func(func) => Some(btf.decl_string(func.ty, name)),
            _ => Some(name.to_owned()),
        }
    }

    fn func_name(&self, index: usize) -> String {
        let record: Option<&FuncRecord> = self.dump.funcs.get(index);
        let name = record.zip(self.btf).map(|(f, btf)| btf.type_name(f.type_id).to_owned());
        name.unwrap_or_else(|| format!("func{index}"))
    }

    fn line(&self, slot: usize) -> Option<Place> {
        self.place(self.dump.lines.iter().find(|l| l.insn_off as usize == slot)?)
    }

    fn jited_line(&self, address: u64) -> Option<Place> {
        let index = self.dump.jited_lines.iter().position(|&a| a == address)?;
        self.place(self.dump.lines.get(index)?)
    }

    fn place(&self, line: &LineRecord) -> Option<Place> {
        let btf = self.btf?;
        let text = btf.name(line.line_off).trim().to_owned();
        let (number, column) = (line.line_col >> 10, line.line_col & 0x3ff);
        let place = format!("{}:{number}:{column}", btf.name(line.file_name_off));
        (!text.is_empty()).then_some(Place { place, text })
    }

    /// Name, address (0 when it is hidden) and code of each function.
    fn functions(&self) -> Vec<(String, u64, &[u8])> {
        let whole = [self.dump.jited.len() as u32];
        let lens = if self.dump.func_lens.is_empty() { &whole[..] } else { &self.dump.func_lens };
        let mut rest = &self.dump.jited[..];
        let mut all = Vec::new();
        for (index, &len) in lens.iter().enumerate() {
            let (code, after) = rest.split_at((len as usize).min(rest.len()));
            rest = after;
            let start = self.dump.ksyms.get(index).copied().unwrap_or(0);
            all.push((self.func_name(index), start, code));
        }
        all
    }
}
