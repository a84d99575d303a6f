//! Fitting an object to a target: CO-RE, kconfig values, kernel variables and functions.

mod kconfig;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use stylet_btf::core_relo::{Relocator, types_are_compat};
use stylet_btf::{Btf, Kind, ReloKind, Type, TypeId, ext};
use stylet_insn::{Insn, opcode};

use crate::elf::code_info::source_line;
use crate::error::{Error, ExternFault, Place};
use crate::spec::MapKind;
use crate::spec::{ExternKind, ExternSpec};
use crate::spec::{ProgSpec, Spec};

/// `imm` of the helper call that replaces the call of a weak kfunc that the target does not have, plus the index of
/// its extern (`POISON_CALL_KFUNC_BASE`).
pub const POISON_CALL_KFUNC_BASE: i32 = 2_002_000_000;

/// What an object is fitted to. [`Target::default`] offers nothing.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Types of the kernel, or of the user backend.
    pub btf: Option<&'a Btf>,
    /// Types for CO-RE alone, instead of `btf` and the modules' (`btf_custom_path` of libbpf).
    pub core_btf: Option<&'a Btf>,
    /// Types of kernel modules, on top of `btf`.
    pub modules: &'a [Module<'a>],
    /// `LINUX_KERNEL_VERSION`, as `KERNEL_VERSION(a, b, c)`.
    pub kernel_version: u32,
    /// `LINUX_HAS_BPF_COOKIE`
    pub has_bpf_cookie: bool,
    /// `LINUX_HAS_SYSCALL_WRAPPER`
    pub has_syscall_wrapper: bool,
    /// Value of a `CONFIG_*` name as `.config` has it behind `=` (`y`, `"text"`, `42`).
    pub kconfig: &'a dyn Fn(&str) -> Option<String>,
    /// Address of a kernel symbol (kallsyms).
    pub ksym: &'a dyn Fn(&str) -> Option<u64>,
}

/// Types of a kernel module.
#[derive(Clone, Copy)]
pub struct Module<'a> {
    /// Its types, split BTF.
    pub btf: &'a Btf,
    /// File descriptor of its BTF, where the kernel backend has one.
    pub fd: i32,
}

impl Default for Target<'_> {
    fn default() -> Self {
        Target {
            btf: None,
            core_btf: None,
            modules: &[],
            kernel_version: 0,
            has_bpf_cookie: false,
            has_syscall_wrapper: false,
            kconfig: &|_| None,
            ksym: &|_| None,
        }
    }
}

/// What the target has for a ksym extern.
#[derive(Clone, Copy)]
enum Resolved {
    /// Missing, and weak.
    Missing,
    /// BTF id, and the module (index into `Target::modules`) it is of.
    Btf { id: TypeId, module: Option<usize> },
    /// Address.
    Address(u64),
    /// In the `.kconfig` map, which linking has taken care of.
    Kconfig,
}

impl Spec {
    /// Fits the object to a target; the result needs nothing more from anyone.
    ///
    /// Kconfig values are written into the `.kconfig` map, and the instructions of every program with `autoload` are
    /// relocated (`bpf_object__resolve_externs`, `bpf_object__relocate`). Other programs stay as they are: set
    /// `autoload` before. As in libbpf every strong extern must be there, whether or not a program uses it.
    ///
    /// # Errors
    /// [`Error::Extern`] for a strong extern that is missing or of another type; [`Error::Core`] where libbpf refuses
    /// a CO-RE relocation. What the target does not have is no error there: the instruction is poisoned, and the
    /// verifier refuses it if it can be reached.
    pub fn relocate(&self, target: &Target<'_>) -> Result<Spec, Error> {
        let mut spec = self.clone();
        let mut resolved = Vec::with_capacity(self.externs.len());
        let kconfig = spec.maps.iter_mut().find(|map| map.kind == MapKind::Kconfig);
        let mut contents = kconfig.map(|map| &mut map.contents);
        for ext in &self.externs {
            let found = match ext.kind {
                ExternKind::Kconfig(var) => match contents.as_deref_mut() {
                    Some(contents) => {
                        kconfig::fill(ext, &var, target, contents).map(|()| Resolved::Kconfig)
                    }
                    None => Ok(Resolved::Kconfig),
                },
                _ => self.resolve_ksym(ext, target),
            };
            resolved.push(found.map_err(|fault| Error::Extern { name: ext.name.clone(), fault })?);
        }
        let targets: Vec<&Btf> = match target.core_btf {
            Some(btf) => alloc::vec![btf],
            None => {
                let modules = target.modules.iter().map(|module| module.btf);
                target.btf.into_iter().chain(modules).collect()
            }
        };
        let mut relocator = self.btf.as_ref().map(|local| Relocator::new(local, &targets));
        for prog in spec.progs.iter_mut().filter(|prog| prog.autoload) {
            if let (Some(relocator), Some(local)) = (&mut relocator, &self.btf) {
                relocate_core(prog, relocator, local, target)?;
            }
            for relo in core::mem::take(&mut prog.extern_relos) {
                let idx = relo.extern_idx as usize;
                if let Some(&found) = resolved.get(idx) {
                    patch(&mut prog.insns, relo.insn_idx as usize, idx, found, target);
                }
            }
        }
        Ok(spec)
    }

    fn resolve_ksym(&self, ext: &ExternSpec, target: &Target<'_>) -> Result<Resolved, ExternFault> {
        let local = self.btf.as_ref().ok_or(ExternFault::NoBtfId)?;
        let (kind, local_id) = match ext.kind {
            ExternKind::KsymVar { type_id } => (Kind::Var, type_id),
            ExternKind::KsymFunc { proto_id } => (Kind::Func, proto_id),
            _ => {
                return match (target.ksym)(&ext.name) {
                    Some(address) => Ok(Resolved::Address(address)),
                    None if ext.weak => Ok(Resolved::Missing),
                    None => Err(ExternFault::NoAddress),
                };
            }
        };
        // Only kfuncs are looked up without their `___flavor`.
        let name = match kind {
            Kind::Func => stylet_btf::essential_name(&ext.name),
            _ => &ext.name,
        };
        let Some((btf, id, module)) = find(target, name, kind) else {
            return match target.btf {
                _ if ext.weak => Ok(Resolved::Missing),
                Some(_) => Err(ExternFault::NotInBtf),
                None => Err(ExternFault::NoTargetBtf),
            };
        };
        let target_id = match btf.type_by_id(id) {
            Some(Type::Var(var)) => btf.skip_mods_and_typedefs(var.ty),
            Some(Type::Func(func)) => func.ty,
            _ => 0,
        };
        if types_are_compat(local, local_id, btf, target_id).unwrap_or(false) {
            return Ok(Resolved::Btf { id, module });
        }
        if ext.weak && kind == Kind::Func {
            return Ok(Resolved::Missing);
        }
        Err(ExternFault::Incompatible { local: local_id, target: target_id })
    }
}

/// `find_ksym_btf_id`: the kernel's types first, then each module's own.
fn find<'a>(
    target: &Target<'a>,
    name: &str,
    kind: Kind,
) -> Option<(&'a Btf, TypeId, Option<usize>)> {
    let btf = target.btf?;
    if let Some(id) = btf.find_by_name_kind(name, kind) {
        return Some((btf, id, None));
    }
    target.modules.iter().enumerate().find_map(|(idx, module)| {
        let own = |id: &TypeId| *id >= module.btf.start_id() && module.btf.kind(*id) == Some(kind);
        let id = module.btf.find_by_name(name).find(own)?;
        Some((module.btf, id, Some(idx)))
    })
}

/// Applies a program's CO-RE relocations one by one: the linked program counts slots as a section of its own.
fn relocate_core(
    prog: &mut ProgSpec,
    relocator: &mut Relocator<'_>,
    local: &Btf,
    target: &Target<'_>,
) -> Result<(), Error> {
    let relos = core::mem::take(&mut prog.core_relos);
    if target.btf.or(target.core_btf).is_none()
        && let Some(relo) = relos.iter().find(|relo| relo.kind != ReloKind::TypeIdLocal)
    {
        return Err(Error::NoTargetBtf { at: place(prog, relo.insn_idx, local) });
    }
    let in_bytes: Vec<ext::CoreRelo> = relos
        .iter()
        .map(|relo| ext::CoreRelo {
            insn_off: relo.insn_idx * Insn::SIZE as u32,
            type_id: relo.type_id,
            access_str_off: relo.access_str_off,
            kind: relo.kind,
        })
        .collect();
    match relocator.relocate(&mut prog.insns, 0, &in_bytes) {
        Ok(report) => {
            prog.core_outcomes = report.outcomes;
            Ok(())
        }
        Err(source) => {
            let failed = match source {
                stylet_btf::Error::Relo { index, .. } => relos.get(index),
                _ => None,
            };
            let insn_idx = failed.map_or(0, |relo| relo.insn_idx);
            Err(Error::Core { at: place(prog, insn_idx, local), source })
        }
    }
}

/// A slot of a linked program, for messages.
fn place(prog: &ProgSpec, insn_idx: u32, btf: &Btf) -> Box<Place> {
    let line = prog.line_at(insn_idx).and_then(|line| source_line(btf, line));
    Box::new(match prog.func_at(insn_idx) {
        Some(func) => Place {
            section: func.section.clone(),
            func: func.name.clone(),
            insn_idx: insn_idx - func.insn_idx,
            line,
        },
        None => Place { section: prog.section.clone(), func: prog.name.clone(), insn_idx, line },
    })
}

/// `bpf_object__relocate_data`, for externs.
fn patch(insns: &mut [Insn], at: usize, idx: usize, found: Resolved, target: &Target<'_>) {
    let Some(insn) = insns.get_mut(at) else { return };
    if !insn.is_lddw() {
        *insn = match found {
            Resolved::Btf { id, module } => Insn {
                src: opcode::PSEUDO_KFUNC_CALL,
                imm: id as i32,
                // Index 0 of the loader's array of descriptors is not a module's.
                off: module.map_or(0, |module| i16::try_from(module + 1).unwrap_or(i16::MAX)),
                ..*insn
            },
            _ => Insn::new(
                opcode::JMP | opcode::CALL,
                0,
                0,
                0,
                POISON_CALL_KFUNC_BASE.wrapping_add(idx as i32),
            ),
        };
        return;
    }
    let (src, low, high) = match found {
        Resolved::Btf { id, module } => {
            let fd =
                module.and_then(|module| target.modules.get(module)).map_or(0, |module| module.fd);
            (Some(opcode::PSEUDO_BTF_ID), id as i32, fd)
        }
        Resolved::Address(address) => (None, address as i32, (address >> 32) as i32),
        Resolved::Missing | Resolved::Kconfig => (None, 0, 0),
    };
    insn.src = src.unwrap_or(insn.src);
    insn.imm = low;
    if let Some(second) = insns.get_mut(at + 1) {
        second.imm = high;
    }
}
