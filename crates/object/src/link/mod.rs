//! Linking: a program followed by every function it uses, each once (`bpf_object__reloc_code`).

pub(crate) mod relo;

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashMap;
use stylet_btf::{Btf, Type};
use stylet_insn::{Insn, opcode};

use crate::elf::code_info::{CodeInfo, in_func};
use crate::elf::collect::{Collected, Func};
use crate::error::{Error, RelocFault};
use crate::link::relo::{Relo, ReloKind, find_func, relo_at};
use crate::spec::{CoreRelo, ExternRelo, FuncInfo, LineInfo, ProgSpec, Subprog};
use crate::spec::{ExternKind, ExternSpec};

/// Slots of a linked program (`BPF_COMPLEXITY_LIMIT_INSNS`, kernel/bpf/syscall.c refuses more).
const MAX_PROG_INSNS: u64 = 1_000_000;
/// Slots of all linked programs of an object, and what comes with them: each program has its own copy of the
/// functions it uses.
const MAX_TOTAL_INSNS: u64 = 8_000_000;
/// What is kept of a copied function besides its slots, in slots.
const COPY_COST: u64 = 16;

/// What linking needs to know of the object.
pub(crate) struct Linker<'a> {
    pub funcs: &'a [Func<'a>],
    pub text: Option<usize>,
    pub info: &'a CodeInfo<'a>,
    pub externs: &'a [ExternSpec],
    /// Index of the `.kconfig` map.
    pub kconfig: Option<u32>,
    /// Exception callbacks (function index) by program.
    pub exception_cbs: HashMap<usize, usize>,
    /// Slots linked so far.
    pub total: u64,
}

/// A program while it is being linked.
struct Linked {
    prog: ProgSpec,
    /// Where each function of the object starts in `prog.insns`.
    placed: HashMap<usize, u32>,
    has_func_info: bool,
    has_line_info: bool,
}

impl Linker<'_> {
    /// Links the entry-point function `main`; everything but the section's meaning is filled in.
    pub fn link(&mut self, main: usize) -> Result<ProgSpec, Error> {
        let mut linked = Linked {
            prog: ProgSpec { name: self.funcs[main].name.to_string(), ..ProgSpec::default() },
            placed: HashMap::new(),
            has_func_info: false,
            has_line_info: false,
        };
        self.link_from(&mut linked, main)?;
        if let Some(&callback) = self.exception_cbs.get(&main)
            && !linked.placed.contains_key(&callback)
        {
            self.link_from(&mut linked, callback)?;
        }
        Ok(linked.prog)
    }

    /// Appends `root` and, where they are first called, the functions it uses. Depth first, as libbpf's recursion
    /// goes, with a stack of our own: `(function, next slot)`.
    fn link_from(&mut self, linked: &mut Linked, root: usize) -> Result<(), Error> {
        self.append(linked, root)?;
        let mut stack = vec![(root, 0u32)];
        while let Some((func_idx, insn_idx)) = stack.pop() {
            let func = &self.funcs[func_idx];
            let base = linked.placed[&func_idx];
            for insn_idx in insn_idx..func.len() {
                let Some(callee) = self.callee(func, insn_idx)? else {
                    continue;
                };
                if !linked.placed.contains_key(&callee) {
                    self.append(linked, callee)?;
                    // The call itself is patched when its function is taken up again.
                    stack.push((func_idx, insn_idx));
                    stack.push((callee, 0));
                    break;
                }
                let at = base + insn_idx;
                linked.prog.insns[at as usize].imm =
                    (i64::from(linked.placed[&callee]) - i64::from(at) - 1) as i32;
            }
        }
        Ok(())
    }

    /// The function that a slot calls or takes the address of.
    fn callee(&self, func: &Func<'_>, insn_idx: u32) -> Result<Option<usize>, Error> {
        let insn = &func.insns[insn_idx as usize];
        let relo = relo_at(&func.relos, insn_idx);
        let is_addr = insn.is_lddw()
            && (insn.src == opcode::PSEUDO_FUNC
                || matches!(relo, Some(Relo { kind: ReloKind::FuncAddr { .. }, .. })));
        // dst and off as well: a call of a function through a register is none of ours.
        let is_call = insn.is_pseudo_call() && insn.dst == 0 && insn.off == 0;
        if !is_call && !is_addr {
            return Ok(None);
        }
        let fail = |fault| Error::Call { at: self.info.place(func, insn_idx), fault };
        let slot = match relo.map(|relo| relo.kind) {
            Some(ReloKind::Extern(_)) => return Ok(None),
            Some(ReloKind::Call { offset }) => (offset / 8) as i64 + i64::from(insn.imm) + 1,
            Some(ReloKind::FuncAddr { offset }) => {
                (offset as i64).wrapping_add(i64::from(insn.imm)) / 8
            }
            Some(_) => return Err(fail(RelocFault::NotFunc)),
            None if is_addr => return Err(fail(RelocFault::NotFunc)),
            None => i64::from(func.off) + i64::from(insn_idx) + i64::from(insn.imm) + 1,
        };
        let callee = self
            .text
            .zip(u64::try_from(slot).ok())
            .and_then(|(text, slot)| find_func(self.funcs, text, slot));
        callee.map(Some).ok_or_else(|| fail(RelocFault::NoFunc { slot }))
    }

    /// Appends a function's slots and what belongs to them; calls keep their original immediates.
    fn append(&mut self, linked: &mut Linked, func_idx: usize) -> Result<(), Error> {
        let func = &self.funcs[func_idx];
        let base = linked.prog.insns.len() as u64;
        let size = base + u64::from(func.len());
        self.total += self.cost(func);
        if size > MAX_PROG_INSNS {
            return Err(Error::Limit {
                what: "instructions of a program",
                value: size,
                max: MAX_PROG_INSNS,
            });
        }
        if self.total > MAX_TOTAL_INSNS {
            return Err(Error::Limit {
                what: "copies of functions in all programs",
                value: self.total,
                max: MAX_TOTAL_INSNS,
            });
        }
        let base = base as u32;
        let prog = &mut linked.prog;
        prog.insns.extend_from_slice(&func.insns);
        prog.funcs.push(Subprog {
            name: func.name.to_string(),
            section: func.section.to_string(),
            insn_idx: base,
            sec_insn_idx: func.off,
            len: func.len(),
        });
        prog.core_relos
            .extend(func.core_relos.iter().map(|r| CoreRelo { insn_idx: r.insn_idx + base, ..*r }));
        linked.placed.insert(func_idx, base);
        self.append_info(linked, func, base)?;
        for relo in &func.relos {
            self.apply(linked, func, relo, base)?;
        }
        Ok(())
    }

    /// What a copy of a function takes, in slots: hostile files have short functions with long names and many records.
    fn cost(&self, func: &Func<'_>) -> u64 {
        let records = self.info.sections.get(&func.sec_idx).map_or(0, |section| {
            in_func(&section.funcs, func, |r| r.insn_idx).len()
                + in_func(&section.lines, func, |r| r.insn_idx).len()
        });
        let names = (func.name.len() + func.section.len()) / Insn::SIZE;
        u64::from(func.len())
            + COPY_COST
            + (records + names + func.relos.len() + func.core_relos.len()) as u64
    }

    /// Line and function records. When the main function has none, none are kept; when another has none, that is an
    /// error (`reloc_prog_func_and_line_info`).
    fn append_info(&self, linked: &mut Linked, func: &Func<'_>, base: u32) -> Result<(), Error> {
        let is_main = base == 0;
        let empty = Default::default();
        let section = self.info.sections.get(&func.sec_idx).unwrap_or(&empty);
        let funcs = in_func(&section.funcs, func, |record| record.insn_idx);
        let lines = in_func(&section.lines, func, |record| record.insn_idx);
        let fail =
            |info| Error::Call { at: self.info.place(func, 0), fault: RelocFault::NoInfo { info } };
        if is_main {
            linked.has_func_info = !funcs.is_empty();
            linked.has_line_info = !lines.is_empty();
        }
        if linked.has_func_info {
            if funcs.is_empty() {
                return Err(fail("function information"));
            }
            let moved = |r: &FuncInfo| FuncInfo { insn_idx: r.insn_idx - func.off + base, ..*r };
            linked.prog.func_info.extend(funcs.iter().map(moved));
        }
        if linked.has_line_info {
            if lines.is_empty() {
                return Err(fail("line information"));
            }
            let moved = |r: &LineInfo| LineInfo { insn_idx: r.insn_idx - func.off + base, ..*r };
            linked.prog.line_info.extend(lines.iter().map(moved));
        }
        Ok(())
    }

    /// Applies a relocation that names a map or an extern (`bpf_object__relocate_data`).
    fn apply(
        &self,
        linked: &mut Linked,
        func: &Func<'_>,
        relo: &Relo,
        base: u32,
    ) -> Result<(), Error> {
        let at = (base + relo.insn_idx) as usize;
        let insns = &mut linked.prog.insns;
        match relo.kind {
            ReloKind::Map(map) => {
                insns[at].src = opcode::PSEUDO_MAP_IDX;
                insns[at].imm = map as i32;
            }
            ReloKind::Data { map, offset } => {
                insns[at + 1].imm = insns[at].imm.wrapping_add(offset as i32);
                insns[at].src = opcode::PSEUDO_MAP_IDX_VALUE;
                insns[at].imm = map as i32;
            }
            ReloKind::Extern(idx) => return self.apply_extern(linked, func, relo, base, idx),
            ReloKind::FuncAddr { .. } => insns[at].src = opcode::PSEUDO_FUNC,
            ReloKind::Call { .. } => {}
        }
        Ok(())
    }

    fn apply_extern(
        &self,
        linked: &mut Linked,
        func: &Func<'_>,
        relo: &Relo,
        base: u32,
        idx: u32,
    ) -> Result<(), Error> {
        let at = (base + relo.insn_idx) as usize;
        let is_call = !linked.prog.insns[at].is_lddw();
        let refuse = |what| {
            let fault = RelocFault::ExternUse { what };
            let symbol = self.externs[idx as usize].name.clone();
            Err(Error::Reloc { at: self.info.place(func, relo.insn_idx), symbol, fault })
        };
        match self.externs[idx as usize].kind {
            ExternKind::Kconfig(_) if is_call => return refuse("kconfig"),
            ExternKind::KsymVar { .. } | ExternKind::KsymTypeless if is_call => {
                return refuse("ksym variable");
            }
            ExternKind::Kconfig(var) => {
                let insns = &mut linked.prog.insns;
                insns[at].src = opcode::PSEUDO_MAP_IDX_VALUE;
                insns[at].imm = self.kconfig.unwrap_or_default() as i32;
                insns[at + 1].imm = var.offset as i32;
            }
            _ => {
                if is_call {
                    linked.prog.insns[at].src = opcode::PSEUDO_KFUNC_CALL;
                }
                linked.prog.extern_relos.push(ExternRelo { insn_idx: at as u32, extern_idx: idx });
            }
        }
        Ok(())
    }
}

/// Records of [`CodeInfo`] that belong to functions move into them, counted from their start.
pub(crate) fn assign_core_relos(funcs: &mut [Func<'_>], info: &CodeInfo<'_>) {
    for func in funcs {
        let Some(section) = info.sections.get(&func.sec_idx) else {
            continue;
        };
        let relos = in_func(&section.core_relos, func, |relo| relo.insn_idx);
        let moved = |relo: &CoreRelo| CoreRelo { insn_idx: relo.insn_idx - func.off, ..*relo };
        func.core_relos = relos.iter().map(moved).collect::<Vec<_>>();
    }
}

/// The exception callback of each program that names one: `btf_decl_tag("exception_callback:func")` on the program
/// (`bpf_prog_assign_exc_cb`). A program with several keeps none; the verifier refuses it.
pub(crate) fn exception_callbacks(
    collected: &Collected<'_>,
    btf: &Btf,
) -> Result<HashMap<usize, usize>, Error> {
    let mut callbacks: HashMap<&str, Option<&str>> = HashMap::new();
    for (_, ty) in btf.types() {
        let Type::DeclTag(tag) = ty else { continue };
        let Some(callback) = btf.name(tag.name_off).strip_prefix("exception_callback:") else {
            continue;
        };
        if tag.component.is_none() {
            let prog = callbacks.entry(btf.type_name(tag.ty));
            prog.and_modify(|callback| *callback = None).or_insert(Some(callback));
        }
    }
    let mut found = HashMap::new();
    for (idx, func) in collected.funcs.iter().enumerate() {
        let Some(&Some(name)) =
            callbacks.get(func.name).filter(|_| Some(func.sec_idx) != collected.text)
        else {
            continue;
        };
        let is_callback = |func: &Func<'_>| {
            Some(func.sec_idx) == collected.text && func.name == name && func.global
        };
        let callback = collected.funcs.iter().position(is_callback).ok_or_else(|| Error::Func {
            section: func.section.to_string(),
            func: func.name.to_string(),
            offset: u64::from(func.off) * 8,
            size: u64::from(func.len()) * 8,
            reason: "its exception callback is not a global function of .text",
        })?;
        found.insert(idx, callback);
    }
    Ok(found)
}
