//! Loads and stores (`check_mem_access`, `check_load_mem`, `check_store_reg`).

use stylet_insn::{Insn, opcode as op};
use stylet_uapi::MapType;

use super::packet::check_flow_keys_access;
use super::region::constant_contents;
use crate::env::Verifier;
use crate::kind::RejectionKind as Kind;
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::tnum::Tnum;
use crate::verified::MemKind;

/// Direction of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dir {
    Read,
    Write,
}

/// Where a loaded value goes, or where a stored one comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// A register.
    Reg(u8),
    /// The immediate of an ST.
    Imm(i32),
    /// Nothing that the walk follows: helpers, atomics.
    None,
}

/// One access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// Register that holds the pointer.
    pub regno: u8,
    /// The instruction's offset.
    pub off: i32,
    pub size: u32,
    pub dir: Dir,
    pub value: Value,
    /// Atomics: aligned even where the machine does not ask for it.
    pub strict: bool,
    /// A sign-extending load.
    pub sign: bool,
}

/// Type of the pointer that an instruction met first.
pub(crate) type PtrClass = (RegType, RegFlags);

/// Pointers for which the instruction is rewritten: it cannot serve another type as well
/// (`reg_type_mismatch_ok`).
fn needs_own_insn(class: PtrClass) -> bool {
    let own = class.0 == RegType::PtrToBtfId && class.1.has(RegFlags::ALLOC);
    !own && matches!(
        class.0,
        RegType::PtrToCtx
            | RegType::PtrToBtfId
            | RegType::PtrToSocket
            | RegType::PtrToSockCommon
            | RegType::PtrToTcpSock
            | RegType::PtrToXdpSock
    )
}

impl Verifier<'_> {
    /// A load into a register.
    pub(crate) fn check_load(&mut self, insn: Insn, strict: bool, sign: bool) -> Res<()> {
        self.check_src(insn.src)?;
        self.check_dst(insn.dst)?;
        let class = self.ptr_class(insn.src);
        let access = Access {
            regno: insn.src,
            off: insn.off.into(),
            size: insn.access_size(),
            dir: Dir::Read,
            value: Value::Reg(insn.dst),
            strict,
            sign,
        };
        self.check_mem_access(access)?;
        // An atomic load is no probe.
        self.save_ptr_class(class, !strict)
    }

    /// A store of a register or immediate.
    pub(crate) fn check_store(&mut self, insn: Insn, strict: bool) -> Res<()> {
        let imm = insn.class() == op::ST;
        if !imm {
            self.check_src(insn.src)?;
        }
        self.check_src(insn.dst)?;
        let class = self.ptr_class(insn.dst);
        let access = Access {
            regno: insn.dst,
            off: insn.off.into(),
            size: insn.access_size(),
            dir: Dir::Write,
            value: if imm { Value::Imm(insn.imm) } else { Value::Reg(insn.src) },
            strict,
            sign: false,
        };
        self.check_mem_access(access)?;
        self.save_ptr_class(class, false)
    }

    pub(crate) fn ptr_class(&self, regno: u8) -> PtrClass {
        let reg = self.reg(regno.into());
        (reg.ty, reg.flags)
    }

    /// The instruction met another type on another path (`save_aux_ptr_type`). Loads of objects and of memory may share
    /// one, which then is a probe, when `probe_ok`.
    pub(crate) fn save_ptr_class(&mut self, class: PtrClass, probe_ok: bool) -> Res<()> {
        let slot = &mut self.aux[self.insn_idx as usize].ptr_type;
        let probed = |c: PtrClass| matches!(c.0, RegType::PtrToMem | RegType::PtrToBtfId);
        match *slot {
            None => *slot = Some(class),
            Some(prev) if prev != class && (needs_own_insn(prev) || needs_own_insn(class)) => {
                if !(probe_ok && probed(prev) && probed(class)) {
                    return Err(Reject::inval(Kind::DifferentPointers));
                }
                let ty = if prev.0 == class.0 { prev.0 } else { RegType::PtrToMem };
                let kept = RegFlags::UNTRUSTED.with(RegFlags::RDONLY).0;
                *slot = Some((ty, RegFlags((prev.1.0 | class.1.0) & kept)));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Notes what the instruction addresses, for code generation.
    pub(crate) fn note_mem(&mut self, kind: MemKind) {
        let mem = &mut self.facts.insns[self.insn_idx as usize].mem;
        *mem = match (*mem, kind) {
            (MemKind::None, kind) => kind,
            (old, kind) if old == kind => old,
            _ => MemKind::Checked,
        };
    }

    /// One access through the pointer in `a.regno`.
    pub(crate) fn check_mem_access(&mut self, a: Access) -> Res<()> {
        let reg = *self.reg(a.regno.into());
        check_alignment(&reg, &a)?;
        let off = a.off.wrapping_add(reg.off);
        let type_known = !reg.maybe_null();
        match reg.ty {
            RegType::PtrToMapKey if type_known => {
                if a.dir == Dir::Write {
                    return Err(Reject::acces(Kind::WriteToMapKey { reg: a.regno }));
                }
                self.check_mem_region(a.regno, off, a.size, self.map_of(&reg).key_size, false)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            RegType::PtrToMapValue if type_known => {
                self.check_map_access_type(&reg, off, a.size, a.dir)?;
                let kptr = self.check_map_access(a.regno, off, a.size, false, true)?;
                self.note_mem(MemKind::Checked);
                match kptr {
                    Some(field) => self.check_map_kptr_access(field, &a)?,
                    None => self.load_map_value(&reg, off, &a)?,
                }
            }
            RegType::PtrToMem => self.check_plain_mem(&reg, off, &a)?,
            RegType::PtrToCtx if type_known => self.check_ctx_mem(&reg, off, &a)?,
            RegType::PtrToStack if type_known => {
                self.check_stack_within_bounds(a.regno, off, a.size, a.dir)?;
                self.note_mem(MemKind::Stack);
                match a.dir {
                    Dir::Read => self.check_stack_read(&reg, off, &a)?,
                    Dir::Write => self.check_stack_write(&reg, off, &a)?,
                }
            }
            RegType::PtrToTpBuffer if type_known => {
                self.check_buffer_off("tracepoint", a.regno, &reg, off, a.size)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            RegType::PtrToBuf if type_known => {
                self.check_sized_buffer(a.regno, &reg, off, a.size, a.dir)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            RegType::PtrToBtfId if type_known => {
                self.check_btf_access(&reg, off, &a)?;
            }
            RegType::PtrToPacket | RegType::PtrToPacketMeta if type_known => {
                if a.dir == Dir::Write && !self.may_access_packet(Dir::Write, None) {
                    return Err(Reject::acces(Kind::CannotWriteIntoPacket));
                }
                self.check_packet_access(a.regno, off, a.size, false)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            RegType::PtrToFlowKeys if type_known => {
                check_flow_keys_access(off, a.size)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            _ if type_known && reg.sock_kind().is_some() => {
                self.check_sock_access(&reg, off, &a)?;
                self.note_mem(MemKind::Checked);
                self.load_unknown(&a);
            }
            RegType::ConstPtrToMap if type_known => {
                self.check_map_ptr_access(&reg, off, &a)?;
            }
            _ => {
                return Err(Reject::acces(Kind::InvalidMemAccess {
                    reg: a.regno,
                    ty: reg.type_name(),
                }));
            }
        }
        self.narrow_loaded(&a);
        Ok(())
    }

    fn check_plain_mem(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        if reg.maybe_null() {
            return Err(Reject::acces(Kind::InvalidMemAccess {
                reg: a.regno,
                ty: reg.type_name(),
            }));
        }
        let rdonly = reg.flags.has(RegFlags::RDONLY);
        if a.dir == Dir::Write && rdonly {
            return Err(Reject::acces(Kind::CannotWriteInto { reg: a.regno, ty: reg.type_name() }));
        }
        // Such memory is read with a probe: a fault gives zeros.
        if !(rdonly && reg.flags.has(RegFlags::UNTRUSTED)) {
            self.check_mem_region(a.regno, off, a.size, reg.aux, false)?;
        }
        self.note_mem(MemKind::Checked);
        self.load_unknown(a);
        Ok(())
    }

    fn load_unknown(&mut self, a: &Access) {
        if let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) {
            *self.reg_mut(dst.into()) = RegState::unknown();
        }
    }

    /// A load from a frozen read-only map is a constant.
    fn load_map_value(&mut self, reg: &RegState, off: i32, a: &Access) -> Res<()> {
        let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) else { return Ok(()) };
        let map = self.map_of(reg);
        let frozen =
            constant_contents(map).filter(|_| map.map_type == MapType::ARRAY && reg.is_const());
        let Some(contents) = frozen else {
            self.load_unknown(a);
            return Ok(());
        };
        if map.max_entries != 1 {
            return Err(Reject::unsupported("constants of a frozen map with several entries"));
        }
        let at = i64::from(off).wrapping_add(reg.bounds.var_off.value as i64);
        let bytes = usize::try_from(at).ok().and_then(|at| contents.get(at..at + a.size as usize));
        let Some(bytes) = bytes else {
            return Err(Reject::bug("frozen map is shorter than its value"));
        };
        let mut raw = [0u8; 8];
        raw[..bytes.len()].copy_from_slice(bytes);
        let mut value = u64::from_le_bytes(raw);
        if a.sign {
            let drop = 64 - a.size * 8;
            value = ((value << drop) as i64 >> drop) as u64;
        }
        *self.reg_mut(dst.into()) = RegState::known(value);
        Ok(())
    }

    /// What a load of less than eight bytes says of its value.
    fn narrow_loaded(&mut self, a: &Access) {
        let (Dir::Read, Value::Reg(dst)) = (a.dir, a.value) else { return };
        let reg = self.reg_mut(dst.into());
        if a.size >= 8 || !reg.is_scalar() {
            return;
        }
        if a.sign {
            reg.bounds.sext(a.size);
        } else {
            reg.bounds.coerce_to_size(a.size);
        }
    }
}

/// Stack accesses and atomics are aligned; x86-64 asks for no more (`check_ptr_alignment`).
pub(crate) fn check_alignment(reg: &RegState, a: &Access) -> Res<()> {
    let desc = match reg.ty {
        RegType::PtrToStack => "stack ",
        RegType::PtrToMapValue => "value ",
        RegType::PtrToMapKey => "key ",
        RegType::PtrToCtx => "context ",
        _ => "",
    };
    let strict = a.strict || reg.ty == RegType::PtrToStack;
    if !strict || a.size == 1 {
        return Ok(());
    }
    let at = reg.bounds.var_off.add(Tnum::known(i64::from(reg.off.wrapping_add(a.off)) as u64));
    if !at.is_aligned(a.size.into()) {
        return Err(Reject::acces(Kind::Misaligned {
            what: desc,
            var_off: reg.bounds.var_off,
            reg_off: reg.off,
            off: a.off,
            size: a.size,
        }));
    }
    Ok(())
}

impl Access {
    /// One byte that a helper writes.
    pub(crate) fn helper_byte(regno: u8, off: i32) -> Access {
        Access {
            regno,
            off,
            size: 1,
            dir: Dir::Write,
            value: Value::None,
            strict: false,
            sign: false,
        }
    }
}
