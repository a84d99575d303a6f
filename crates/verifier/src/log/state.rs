//! Registers and stack slots as the kernel's log prints them (`print_verifier_state`, kernel/bpf/log.c).

use core::fmt::{self, Write};

use crate::bounds::print::write_snum;
use crate::env::Verifier;
use crate::regs::{ADD_CONST, IterState, NO_MAP, RegFlags, RegState, RegType, StackObject};
use crate::state::{FuncState, REG_SIZE, SlotType, StackSlot};

/// A frame: all of it, or some of its registers and slots.
pub(super) struct FrameText<'a, 'p> {
    verifier: &'a Verifier<'p>,
    frame: usize,
    regs: u16,
    slots: u64,
}

impl<'a, 'p> FrameText<'a, 'p> {
    /// The whole frame.
    pub fn all(verifier: &'a Verifier<'p>, frame: usize) -> FrameText<'a, 'p> {
        FrameText { verifier, frame, regs: u16::MAX, slots: u64::MAX }
    }

    /// These registers and slots of the running frame.
    pub fn changed(verifier: &'a Verifier<'p>, regs: u16, slots: u64) -> FrameText<'a, 'p> {
        FrameText { verifier, frame: verifier.cur.curframe(), regs, slots }
    }

    fn func(&self) -> &'a FuncState {
        &self.verifier.cur.frames[self.frame]
    }

    /// Name of a type of the target.
    fn target_name(&self, id: u32) -> &'a str {
        self.verifier.cat.btf.as_ref().map_or("", |btf| btf.type_name(id))
    }

    /// Name of the type of an object.
    fn object_name(&self, reg: &RegState) -> &'a str {
        match self.verifier.input.btf {
            Some(btf) if reg.flags.has(RegFlags::ALLOC) => btf.type_name(reg.aux),
            _ => self.target_name(reg.aux),
        }
    }

    fn slot(&self, f: &mut fmt::Formatter<'_>, spi: usize, slot: &StackSlot) -> fmt::Result {
        let at = (spi + 1) * REG_SIZE;
        let letters = slot.types.iter().map(|ty| letter(*ty));
        match (slot.types[REG_SIZE - 1], slot.spilled.object) {
            (SlotType::Spill, _) => {
                write!(f, " fp-{at}=")?;
                // what stands above the spilled part of a register
                letters.take_while(|c| *c != 'r').try_for_each(|c| f.write_char(c))?;
                self.reg(f, &slot.spilled)
            }
            (SlotType::Dynptr, StackObject::Dynptr { ty, first }) => {
                if !first {
                    return Ok(());
                }
                write!(f, " fp-{at}=dynptr_{ty}(")?;
                let mut sep = "";
                number(f, &mut sep, "id", slot.spilled.id)?;
                number(f, &mut sep, "ref_id", slot.spilled.ref_obj_id)?;
                // the kernel prints 1 here, whatever the dynptr
                number(f, &mut sep, "dynptr_id", 1)?;
                f.write_char(')')
            }
            (SlotType::Iter, StackObject::Iter { state, depth }) => {
                if slot.spilled.ref_obj_id == 0 {
                    return Ok(());
                }
                let name = self.target_name(slot.spilled.aux);
                let name = name.strip_prefix("bpf_iter_").unwrap_or(name);
                let id = slot.spilled.ref_obj_id;
                let state = if state == IterState::Active { "active" } else { "drained" };
                write!(f, " fp-{at}=iter_{name}(ref_id={id},state={state},depth={depth})")
            }
            _ => {
                write!(f, " fp-{at}=")?;
                letters.into_iter().try_for_each(|c| f.write_char(c))
            }
        }
    }

    fn reg(&self, f: &mut fmt::Formatter<'_>, reg: &RegState) -> fmt::Result {
        if reg.is_scalar() && reg.precise {
            f.write_char('P')?;
        }
        if let Some(value) = reg.const_value() {
            return write_snum(f, value as i64);
        }
        write!(f, "{}", reg.type_name())?;
        if reg.ty == RegType::PtrToStack {
            if reg.frameno() != self.frame {
                write!(f, "[{}]", reg.frameno())?;
            }
            if let Some(value) = reg.bounds.const_value() {
                return write_snum(f, (value as i64).wrapping_add(reg.off.into()));
            }
        }
        if reg.ty == RegType::PtrToBtfId {
            f.write_str(self.object_name(reg))?;
        }
        f.write_char('(')?;
        self.inside(f, reg)?;
        f.write_char(')')
    }

    /// What stands between the parentheses.
    fn inside(&self, f: &mut fmt::Formatter<'_>, reg: &RegState) -> fmt::Result {
        let mut sep = "";
        number(f, &mut sep, "id", reg.id & !ADD_CONST)?;
        if reg.id & ADD_CONST != 0 {
            write!(f, "{:+}", reg.off)?;
        }
        number(f, &mut sep, "ref_obj_id", reg.ref_obj_id)?;
        let names_map = matches!(
            reg.ty,
            RegType::ConstPtrToMap | RegType::PtrToMapValue | RegType::PtrToMapKey
        );
        if names_map
            && reg.map != NO_MAP
            && let Some(map) = self.verifier.maps.get(reg.map as usize)
        {
            if !map.name.is_empty() {
                write!(f, "{sep}map={}", kernel_name(&map.name))?;
                sep = ",";
            }
            write!(f, "{sep}ks={},vs={}", map.key_size, map.value_size)?;
            sep = ",";
        }
        if !reg.is_scalar() && reg.off != 0 {
            write!(f, "{sep}off=")?;
            write_snum(f, reg.off.into())?;
            sep = ",";
        }
        if reg.is_pkt_pointer() {
            write!(f, "{sep}r={}", reg.range())?;
            sep = ",";
        }
        if reg.ty == RegType::PtrToMem {
            write!(f, "{sep}sz={}", reg.aux)?;
            sep = ",";
        }
        match reg.bounds.const_value() {
            Some(0) => Ok(()),
            Some(value) => {
                write!(f, "{sep}imm=")?;
                write_snum(f, value as i64)
            }
            None => {
                reg.bounds.write_ranges(f, &mut sep)?;
                if reg.bounds.var_off.is_unknown() {
                    return Ok(());
                }
                write!(f, "{sep}var_off={}", reg.bounds.var_off)
            }
        }
    }
}

impl fmt::Display for FrameText<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let func = self.func();
        if func.frameno > 0 {
            write!(f, " frame{}:", func.frameno)?;
        }
        for (n, reg) in func.regs.iter().enumerate() {
            if reg.ty != RegType::NotInit && self.regs & 1 << n != 0 {
                write!(f, " R{n}=")?;
                self.reg(f, reg)?;
            }
        }
        for (spi, slot) in func.stack.iter().enumerate() {
            let wanted = self.slots & 1 << spi.min(63) != 0;
            if wanted && slot.types.iter().any(|ty| *ty != SlotType::Invalid) {
                self.slot(f, spi, slot)?;
            }
        }
        let mut refs = self.verifier.cur.refs.iter().map(|r| r.id).filter(|id| *id != 0);
        if let Some(first) = refs.next() {
            write!(f, " refs={first}")?;
            refs.try_for_each(|id| write!(f, ",{id}"))?;
        }
        if func.in_callback() {
            f.write_str(" cb")?;
        }
        Ok(())
    }
}

/// `name=value` unless it is 0.
fn number(f: &mut dyn Write, sep: &mut &str, name: &str, value: u32) -> fmt::Result {
    if value == 0 {
        return Ok(());
    }
    write!(f, "{sep}{name}={value}")?;
    *sep = ",";
    Ok(())
}

/// What the kernel keeps of a map's name (`BPF_OBJ_NAME_LEN`).
fn kernel_name(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

/// `slot_type_char`
fn letter(ty: SlotType) -> char {
    match ty {
        SlotType::Invalid => '?',
        SlotType::Spill => 'r',
        SlotType::Misc => 'm',
        SlotType::Zero => '0',
        SlotType::Dynptr => 'd',
        SlotType::Iter => 'i',
        SlotType::IrqFlag => 'f',
    }
}
