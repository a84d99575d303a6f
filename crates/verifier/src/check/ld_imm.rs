//! Two-slot loads (`check_ld_imm`, `resolve_pseudo_ldimm64`) and reserved fields that are checked
//! before the walk.

use stylet_catalog::Features;
use stylet_insn::{Insn, opcode as op};
use stylet_uapi::{MapType, errno};

use super::ptr_alu::MAX_VAR_OFF;
use crate::env::Verifier;
use crate::input::FuncInfo;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use stylet_btf::{FuncLinkage, Kind as BtfKind, Type};

impl Verifier<'_> {
    /// Every opcode exists and every two-slot load names something.
    pub(crate) fn resolve_pseudo_ldimm64(&mut self) -> Res<()> {
        let mut i = 0;
        while i < self.insns.len() {
            let insn = self.insns[i];
            let next = self.insns.get(i + 1).copied();
            self.check_encoding(insn, next).map_err(|e| e.at(i as u32))?;
            i += if insn.is_lddw() { 2 } else { 1 };
        }
        Ok(())
    }

    fn check_encoding(&self, insn: Insn, next: Option<Insn>) -> Res<()> {
        if insn.class() == op::LDX && (!matches!(insn.mode(), op::MEM | op::MEMSX) || insn.imm != 0)
        {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_LDX" }));
        }
        if insn.class() == op::LDX && insn.mode() == op::MEMSX && !self.cat.has(Features::CPU_V4) {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_LDX" }));
        }
        let atomic = insn.class() == op::STX && insn.mode() == op::ATOMIC;
        if atomic && insn.imm != 0 && !self.cat.has(Features::ATOMICS) {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_STX" }));
        }
        if insn.is_lddw() {
            let ok = next.is_some_and(|n| n.code == 0 && n.dst == 0 && n.src == 0 && n.off == 0);
            if !ok {
                return Err(Reject::inval(Kind::InvalidLdImm64));
            }
            return self.resolve_one(insn, next.unwrap_or_default());
        }
        if !is_known_opcode(insn) || !self.cat.has(opcode_needs(insn)) {
            return Err(Reject::inval(Kind::UnknownOpcode { code: insn.code }));
        }
        Ok(())
    }

    fn resolve_one(&self, insn: Insn, next: Insn) -> Res<()> {
        match insn.src {
            0 => Ok(()),
            op::PSEUDO_FUNC if self.cat.has(Features::CALLBACKS) => Ok(()),
            op::PSEUDO_MAP_IDX | op::PSEUDO_MAP_IDX_VALUE => {
                let Some(map) = self.input.maps.get(insn.imm as u32 as usize) else {
                    return Err(Reject::new(errno::EINVAL, Kind::UnknownMap { index: insn.imm }));
                };
                if insn.src == op::PSEUDO_MAP_IDX {
                    return if next.imm == 0 {
                        Ok(())
                    } else {
                        Err(Reject::inval(Kind::UnrecognizedLdImm64))
                    };
                }
                let off = next.imm as u32;
                if i64::from(off) >= MAX_VAR_OFF {
                    return Err(Reject::inval(Kind::DirectValueOffset { off }));
                }
                if map.map_type != MapType::ARRAY {
                    return Err(Reject::inval(Kind::NoDirectValueAccess));
                }
                let bad = Kind::InvalidDirectValue { value_size: map.value_size, off };
                if map.max_entries != 1 {
                    return Err(Reject::new(errno::ENOTSUPP, bad));
                }
                if off >= map.value_size {
                    return Err(Reject::inval(bad));
                }
                Ok(())
            }
            op::PSEUDO_BTF_ID => self.kernel_symbol(insn, next).map(drop),
            _ => Err(Reject::inval(Kind::UnrecognizedLdImm64)),
        }
    }

    /// The load itself.
    pub(crate) fn check_ld_imm(&mut self, insn: Insn) -> Res<()> {
        if insn.off != 0 {
            return Err(Reject::inval(Kind::ReservedFields { insn: "BPF_LD_IMM64" }));
        }
        self.check_dst(insn.dst)?;
        let next = self.insns[self.insn_idx as usize + 1];
        let reg = match insn.src {
            0 => RegState::known(u64::from(insn.imm as u32) | u64::from(next.imm as u32) << 32),
            op::PSEUDO_MAP_IDX => RegState {
                map: insn.imm as u32,
                ..RegState::pointer(RegType::ConstPtrToMap, RegFlags::NONE)
            },
            op::PSEUDO_MAP_IDX_VALUE => RegState {
                map: insn.imm as u32,
                off: next.imm,
                ..RegState::pointer(RegType::PtrToMapValue, RegFlags::NONE)
            },
            op::PSEUDO_FUNC => {
                let start = self.insn_idx.wrapping_add(insn.imm as u32).wrapping_add(1);
                let Some(subprog) = self.find_subprog(start) else {
                    return Err(Reject::bug("callback is no function"));
                };
                match self.subprog_linkage(subprog) {
                    None => return Err(Reject::inval(Kind::MissingFuncInfo)),
                    Some(FuncLinkage::Static) => {}
                    Some(_) => return Err(Reject::inval(Kind::CallbackNotStatic)),
                }
                RegState {
                    aux: subprog as u32,
                    ..RegState::pointer(RegType::PtrToFunc, RegFlags::NONE)
                }
            }
            op::PSEUDO_BTF_ID => self.kernel_symbol(insn, next)?,
            _ => return Err(Reject::inval(Kind::UnrecognizedLdImm64)),
        };
        *self.reg_mut(insn.dst.into()) = reg;
        Ok(())
    }

    /// A function or variable of the kernel (`__check_pseudo_btf_id`). The address of a function is there to be compared
    /// with null.
    fn kernel_symbol(&self, insn: Insn, next: Insn) -> Res<RegState> {
        let Some(btf) = self.cat.btf.as_ref() else {
            return Err(Reject::unsupported("kernel variables without the target's BTF"));
        };
        if next.imm != 0 {
            return Err(Reject::unsupported("variables of modules"));
        }
        let id = insn.imm as u32;
        let memory =
            |size| RegState { aux: size, ..RegState::pointer(RegType::PtrToMem, RegFlags::RDONLY) };
        let var = match btf.type_by_id(id) {
            Some(Type::Func(_)) => return Ok(memory(0)),
            Some(Type::Var(var)) => var,
            Some(_) => return Err(Reject::inval(Kind::KsymKind { id: insn.imm })),
            None => {
                return Err(Reject::new(errno::ENOENT, Kind::InvalidKsymId { id: insn.imm }));
            }
        };
        let section = btf.find_by_name_kind(".data..percpu", BtfKind::DataSec);
        let per_cpu = match section.and_then(|s| btf.type_by_id(s)) {
            Some(Type::DataSec(section)) => section.vars().any(|v| v.ty == id),
            _ => false,
        };
        let object =
            |flags| RegState { aux: var.ty, ..RegState::pointer(RegType::PtrToBtfId, flags) };
        if per_cpu {
            return Ok(object(RegFlags::PERCPU));
        }
        let kind = btf.kind(btf.skip_mods_and_typedefs(var.ty));
        if matches!(kind, Some(BtfKind::Struct | BtfKind::Union)) {
            return Ok(object(RegFlags::NONE));
        }
        match btf.resolve_size(var.ty) {
            Ok(size) => Ok(memory(size)),
            Err(_) => Err(Reject::unsupported("variables whose size is not known")),
        }
    }

    /// The BTF function of a function of the program.
    pub(crate) fn subprog_info(&self, subprog: usize) -> Option<&FuncInfo> {
        let start = self.subprogs[subprog].start;
        self.input.func_info.iter().find(|f| f.insn_idx == start)
    }

    /// Linkage of a function by its BTF.
    pub(crate) fn subprog_linkage(&self, subprog: usize) -> Option<FuncLinkage> {
        let info = self.subprog_info(subprog)?;
        match self.input.btf?.type_by_id(info.type_id)? {
            Type::Func(func) => Some(func.linkage),
            _ => None,
        }
    }

    /// Name of a function by its BTF, empty when there is none.
    pub(crate) fn subprog_name(&self, subprog: usize) -> &str {
        let name = self
            .subprog_info(subprog)
            .zip(self.input.btf)
            .map(|(info, btf)| btf.type_name(info.type_id));
        name.unwrap_or("")
    }
}

/// What an opcode needs besides the instruction set of 5.10.
fn opcode_needs(insn: Insn) -> Features {
    match (insn.class(), insn.op()) {
        (op::ALU64, op::END) | (op::JMP32, op::JA) => Features::CPU_V4,
        (op::JMP, op::JCOND) => Features::MAY_GOTO,
        _ => Features::empty(),
    }
}

/// Whether an opcode is in the instruction set (`bpf_opcode_in_insntable`).
fn is_known_opcode(insn: Insn) -> bool {
    let is_reg = insn.is_src_reg();
    match insn.class() {
        op::ALU | op::ALU64 => match insn.op() {
            op::NEG => !is_reg,
            op::END => insn.class() == op::ALU || !is_reg,
            other => other <= op::END,
        },
        op::JMP => match insn.op() {
            op::JA | op::CALL | op::EXIT | op::JCOND => !is_reg,
            other => other <= op::JSLE,
        },
        op::JMP32 => match insn.op() {
            op::JA => !is_reg,
            op::CALL | op::EXIT => false,
            other => other <= op::JSLE,
        },
        op::LDX => insn.mode() == op::MEM || (insn.mode() == op::MEMSX && insn.access_size() < 8),
        op::ST => insn.mode() == op::MEM,
        op::STX => matches!(insn.mode(), op::MEM | op::ATOMIC),
        _ => matches!(insn.mode(), op::ABS | op::IND) && insn.access_size() < 8,
    }
}
