//! Ranges within a piece of memory (`check_mem_region_access`, `check_map_access`,
//! `check_stack_access_within_bounds`).

use super::mem::Dir;
use super::ptr_alu::MAX_VAR_OFF;
use crate::env::Verifier;
use crate::fields::Field;
use crate::input::MapDef;
use crate::kind::{Region, RejectionKind as Kind};
use crate::regs::{RegFlags, RegState, RegType};
use crate::rejection::{Reject, Res};
use crate::state::REG_SIZE;
use stylet_insn::opcode::MAX_BPF_STACK;

/// The program may only read the map's values (`BPF_F_RDONLY_PROG`).
pub(crate) const F_RDONLY_PROG: u32 = 1 << 7;
/// The program may only write the map's values (`BPF_F_WRONLY_PROG`).
pub(crate) const F_WRONLY_PROG: u32 = 1 << 8;

/// Inner maps may have another number of entries than their template (`BPF_F_INNER_MAP`).
pub(crate) const F_INNER_MAP: u32 = 1 << 12;

/// The map's contents when nobody can change them (`bpf_map_is_rdonly`).
pub(crate) fn constant_contents(map: &MapDef) -> Option<&[u8]> {
    map.frozen.as_deref().filter(|_| map.map_flags & F_RDONLY_PROG != 0)
}

impl Verifier<'_> {
    /// The map that a register names.
    pub(crate) fn map_of(&self, reg: &RegState) -> &MapDef {
        self.maps[reg.map as usize]
    }

    /// Whether `size` bytes at `off` and the register's variable offset lie within `mem_size`.
    pub(crate) fn check_mem_region(
        &mut self,
        regno: u8,
        off: i32,
        size: u32,
        mem_size: u32,
        zero_ok: bool,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        let b = &reg.bounds;
        let low = i64::from(off).checked_add(b.smin).filter(|l| i32::try_from(*l).is_ok());
        if b.smin < 0 && low.is_none_or(|l| l < 0) {
            return Err(Reject::acces(Kind::MinValueNegativeIndex { reg: regno }));
        }
        // The kernel computes these offsets in an int.
        let min = b.smin.wrapping_add(off.into()) as i32;
        self.check_fixed_region(&reg, regno, min, size, mem_size, zero_ok, "min")?;
        if b.umax >= MAX_VAR_OFF as u64 {
            return Err(Reject::acces(Kind::UnboundedMemoryAccess { reg: regno }));
        }
        let max = (b.umax as i64).wrapping_add(off.into()) as i32;
        self.check_fixed_region(&reg, regno, max, size, mem_size, zero_ok, "max")
    }

    #[allow(clippy::too_many_arguments)]
    fn check_fixed_region(
        &self,
        reg: &RegState,
        regno: u8,
        off: i32,
        size: u32,
        mem_size: u32,
        zero_ok: bool,
        end: &'static str,
    ) -> Res<()> {
        let size_ok = size > 0 || zero_ok;
        if off >= 0 && size_ok && off as u64 + u64::from(size) <= u64::from(mem_size) {
            return Ok(());
        }
        let region = match reg.ty {
            RegType::PtrToMapKey => Region::MapKey,
            RegType::PtrToMapValue => Region::MapValue,
            _ => Region::Memory,
        };
        Err(Reject::acces(Kind::InvalidRegionAccess {
            region,
            mem_size,
            off,
            size: size as i32,
            reg: regno,
            end,
        }))
    }

    /// The map's flags allow the access (`check_map_access_type`).
    pub(crate) fn check_map_access_type(
        &self,
        reg: &RegState,
        off: i32,
        size: u32,
        dir: Dir,
    ) -> Res<()> {
        let map = self.map_of(reg);
        let value_size = map.value_size;
        let size = size as i32;
        match dir {
            Dir::Write if map.map_flags & F_RDONLY_PROG != 0 => {
                Err(Reject::acces(Kind::MapForbidden { what: "write into", value_size, off, size }))
            }
            Dir::Read if map.map_flags & F_WRONLY_PROG != 0 => {
                Err(Reject::acces(Kind::MapForbidden { what: "read from", value_size, off, size }))
            }
            _ => Ok(()),
        }
    }

    /// The bytes lie within a value of the map and touch no field that the kernel looks after; `direct`: a load or store
    /// of the program. Gives the kernel pointer that it moves.
    pub(crate) fn check_map_access(
        &mut self,
        regno: u8,
        off: i32,
        size: u32,
        zero_ok: bool,
        direct: bool,
    ) -> Res<Option<Field>> {
        let reg = *self.reg(regno.into());
        let value_size = self.map_of(&reg).value_size;
        self.check_mem_region(regno, off, size, value_size, zero_ok)?;
        let b = &reg.bounds;
        let low = b.smin.wrapping_add(off.into());
        let high = (b.umax as i64).wrapping_add(off.into()).wrapping_add(size.into());
        let touches = |f: &&Field| low < i64::from(f.off + f.size) && i64::from(f.off) < high;
        let mut kptr = None;
        for field in self.map_btf[reg.map as usize].record.fields.iter().filter(touches) {
            let name = field.kind.name();
            if !field.kind.is_kptr() {
                return Err(Reject::acces(Kind::FieldAccess { name }));
            }
            if !direct {
                return Err(Reject::acces(Kind::KptrByHelper { name }));
            }
            let Some(var) = b.const_value() else {
                return Err(Reject::acces(Kind::KptrVariableOffset { name }));
            };
            let at = (var as i64).wrapping_add(off.into());
            if at != i64::from(field.off) {
                let expected = field.off;
                return Err(Reject::acces(Kind::KptrMisaligned { name, expected, off: at as u64 }));
            }
            if size != 8 {
                return Err(Reject::acces(Kind::KptrSize { name }));
            }
            kptr = Some(*field);
        }
        Ok(kptr)
    }

    /// The bytes lie within the frame; the frame grows to hold them.
    pub(crate) fn check_stack_within_bounds(
        &mut self,
        regno: u8,
        off: i32,
        size: u32,
        dir: Dir,
    ) -> Res<()> {
        let reg = *self.reg(regno.into());
        let b = &reg.bounds;
        let verb = if dir == Dir::Read { " read from" } else { " write to" };
        let (min, max) = match b.const_value() {
            Some(value) => (value as i64, value as i64),
            None => {
                if b.smax >= MAX_VAR_OFF || b.smin <= -MAX_VAR_OFF {
                    return Err(Reject::acces(Kind::UnboundedStackOffset { verb, reg: regno }));
                }
                (b.smin, b.smax)
            }
        };
        let min = min.wrapping_add(off.into());
        let max = max.wrapping_add(off.into()).wrapping_add(size.into());
        let size = size as i32;
        if min < -i64::from(MAX_BPF_STACK) || min > -1 || max > 0 || size < 0 {
            let errno = if min < -i64::from(MAX_BPF_STACK) || min > -1 {
                stylet_uapi::errno::EACCES
            } else {
                stylet_uapi::errno::EINVAL
            };
            let kind = match b.const_value() {
                Some(_) => Kind::InvalidStackAccess { verb, reg: regno, off: min, size },
                None => {
                    Kind::InvalidVarStackAccess { verb, reg: regno, var_off: b.var_off, off, size }
                }
            };
            return Err(Reject::new(errno, kind));
        }
        self.grow_stack(reg.frameno(), (-min) as usize);
        Ok(())
    }

    fn grow_stack(&mut self, frame: usize, bytes: usize) {
        let slots = bytes.div_ceil(REG_SIZE);
        if self.cur.frames[frame].stack.len() >= slots {
            return;
        }
        let func = self.cur.frame_mut(frame);
        func.stack.resize(slots, Default::default());
        let subprog = &mut self.subprogs[func.subprogno as usize];
        subprog.stack_depth = subprog.stack_depth.max((slots * REG_SIZE) as u32);
    }

    /// A buffer whose size the attach checks: only a constant offset that is not negative
    /// (`check_buffer_access`).
    pub(crate) fn check_sized_buffer(
        &self,
        regno: u8,
        reg: &RegState,
        off: i32,
        size: u32,
        dir: Dir,
    ) -> Res<()> {
        let rdonly = reg.flags.has(RegFlags::RDONLY);
        if rdonly && dir == Dir::Write {
            return Err(Reject::acces(Kind::CannotWriteInto { reg: regno, ty: reg.type_name() }));
        }
        self.check_buffer_off(if rdonly { "rdonly" } else { "rdwr" }, regno, reg, off, size)
    }

    /// The part of it that all buffers share (`__check_buffer_access`).
    pub(crate) fn check_buffer_off(
        &self,
        what: &'static str,
        regno: u8,
        reg: &RegState,
        off: i32,
        size: u32,
    ) -> Res<()> {
        if off < 0 {
            return Err(Reject::acces(Kind::BufferNegativeOffset { reg: regno, what, off, size }));
        }
        if !reg.is_const() || reg.bounds.var_off.value != 0 {
            return Err(Reject::acces(Kind::BufferVariableOffset {
                reg: regno,
                off,
                var_off: reg.bounds.var_off,
            }));
        }
        Ok(())
    }
}
